"""The lab's own client against a server that breaks every promise, and what it writes down of it."""

import asyncio
import json
import signal
import ssl
import subprocess
import sys
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab.faithful.__main__ import Client, Order
from tests.lab.faithful.journal import read

ROOT = Path(__file__).parents[2]
NAME = "smtp.example"


class Server:
    """Takes mail, except that each session meets the next of `quirks`: what it does, at which command."""

    def __init__(self, context, wrapped, quirks=()):
        self.context, self.wrapped, self.quirks = context, wrapped, deque(quirks)
        self.taken, self.sessions, self.words = [], 0, []
        self.quirked = asyncio.Event()

    async def __aenter__(self):
        wrap = {"ssl": self.context} if self.wrapped else {}
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0, **wrap)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _session(self, reader, writer):
        at, quirk = self.quirks.popleft() if self.quirks else ("", "")
        self.sessions += 1
        try:
            await self._talk(reader, writer, at, quirk)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    async def _talk(self, reader, writer, at, quirk):
        command = "greeting"
        while True:
            if command.startswith(at) and at:
                self.quirked.set()
                if quirk == "cut":
                    return
                if quirk == "silence":
                    await asyncio.sleep(60)
                writer.write(f"{quirk}\r\n".encode())
            elif not await self._answer(command, reader, writer):
                return
            line = await reader.readline()
            if not line:
                return
            command = line.decode().strip()
            self.words.append(command)
            if command == "DATA" and at == "dot":  # the quirk comes instead of the answer to the dot
                writer.write(b"354 go on\r\n")
                self.taken.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                command = "dot"

    async def _answer(self, command, reader, writer):
        say = {"greeting": "220 hello", "QUIT": "221 bye", "STARTTLS": "220 go on"}.get(
            command, "250 2.0.0 Ok"
        )
        if command.startswith("EHLO"):
            say = "250-hello\r\n250 AUTH PLAIN"
        elif command.startswith("AUTH"):
            say = "235 welcome"
        elif command == "DATA":
            writer.write(b"354 go on\r\n")
            self.taken.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            say = f"250 2.0.0 Ok: queued as Q{len(self.taken)}"
        writer.write(f"{say}\r\n".encode())
        if command == "STARTTLS":
            await writer.start_tls(self.context)
        return command != "QUIT"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A self-signed certificate of NAME: the server's context, and the file that a client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file


@pytest.fixture
def meet(authority, tmp_path):
    """Returns a function: let a client meet a server with quirks; returns the server and the histories."""
    context, file = authority

    def run(*quirks, tls="starttls", addresses=("127.0.0.1",), name=NAME, patience=0.5, **more):
        journal = tmp_path / "journal"
        server = Server(context, tls == "wrapped", quirks)

        async def both():
            async with server:
                await Client(Order.of(order(server, journal))).run()

        def order(server, journal):
            target = {
                "addresses": list(addresses),
                "port": server.port,
                "tls": tls,
                "name": name,
                "ca": str(file),
                "login": "shop",
                "password": "secret",
                "patience": patience,
            }
            mail = {"sender": "a@shop.example", "recipient": "b@mailbox.example"}
            waits = {"count": 1, "connections": 1, "first_wait": 0.01, "longest_wait": 0.02, "give_up": 5}
            return {"target": target, "run": "r", "journal": str(journal), **mail, **waits, **more}

        asyncio.run(both())
        with journal.open() as lines:
            return server, read(lines)

    return run


def outcomes(history):
    return [(a.outcome, a.stage, a.code) for a in history.attempts]


@pytest.mark.parametrize("tls", ["starttls", "wrapped"])
def test_a_message_is_handed_in_with_its_id_and_the_answer_is_kept(meet, tls):
    server, found = meet(tls=tls, count=3, per_session=2)
    assert [h.accepted.queue for h in found.values()] == ["Q1", "Q2", "Q3"]
    assert [f"\r\nX-Transaction: {key}\r\n" in text for key, text in zip(found, server.taken, strict=True)]
    assert "Subject: r-00000\r\nMessage-ID: <r-00000@shop.example>\r\n" in server.taken[0]
    assert "\r\n... nothing" in server.taken[0]  # a line with two dots, stuffed (RFC 5321 4.5.2)
    assert server.sessions == 2
    assert server.words.count("QUIT") == 2


@pytest.mark.parametrize(
    ("at", "quirk", "outcome"),
    [
        ("greeting", "554 no service", ("deferred", "greeting", 554)),
        ("greeting", "421 too busy", ("deferred", "greeting", 421)),
        ("greeting", "cut", ("lost", "greeting", 0)),
        ("greeting", "silence", ("lost", "greeting", 0)),
        ("greeting", "hello, friend", ("lost", "greeting", 0)),
        ("STARTTLS", "454 no entropy", ("deferred", "starttls", 454)),
        ("STARTTLS", "220 go on, in clear", ("lost", "tls", 0)),
        ("AUTH", "454 no answer from the directory", ("deferred", "auth", 454)),
        ("AUTH", "535 not yours", ("deferred", "auth", 535)),
        ("MAIL", "452 no space", ("deferred", "envelope", 452)),
        ("RCPT", "451 later", ("deferred", "envelope", 451)),
        ("RCPT", "cut", ("lost", "rcpt", 0)),
        ("DATA", "451 later", ("deferred", "envelope", 451)),
        ("DATA", "250 surely", ("lost", "data", 0)),
        ("DATA", "cut", ("lost", "data", 0)),
        ("dot", "451 not now", ("deferred", "content", 451)),
        ("dot", "cut", ("unknown", "content", 0)),
        ("dot", "silence", ("unknown", "content", 0)),
        ("dot", "354 what", ("unknown", "content", 0)),
    ],
)
def test_whatever_fails_is_written_down_and_tried_again(meet, at, quirk, outcome):
    server, found = meet((at, quirk))
    assert outcomes(found["r-00000"]) == [outcome, ("accepted", "content", 250)]
    assert server.sessions == 2
    # A message that was answered for is never sent again, and only a cut answer makes two of one.
    assert len(server.taken) == (2 if at == "dot" else 1)


def test_what_is_refused_is_not_tried_again(meet):
    server, found = meet(("RCPT", "550 5.1.1 nobody"), count=2)
    assert outcomes(found["r-00000"]) == [("refused", "envelope", 550)]
    assert found["r-00001"].accepted
    assert len(server.taken) == 1


def test_the_next_address_is_tried_at_once_when_one_gives_no_session(meet):
    # Nothing listens on the first; RFC 5321 5.1: in order, until a delivery attempt succeeds.
    server, found = meet(addresses=("127.0.0.1", "127.0.0.2", "::1"), count=3, per_session=1)
    assert [outcomes(h) for h in found.values()] == [[("accepted", "content", 250)]] * 3
    assert {h.accepted.to for h in found.values()} == {"127.0.0.1"}
    assert server.sessions == 3


def test_a_password_is_not_told_to_a_server_that_is_another(meet):
    server, found = meet(name="other.example", give_up=0)
    assert outcomes(found["r-00000"]) == [("lost", "tls", 0)]
    assert found["r-00000"].given_up
    assert not [word for word in server.words if word.startswith("AUTH")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_client_told_to_stop_ends_what_it_began_and_a_killed_one_forgets_nothing(
    authority, tmp_path, number
):
    context, _ = authority
    server = Server(context, wrapped=True, quirks=[("", ""), ("dot", "silence")])
    journal = tmp_path / "journal"

    async def act():
        async with server:
            target = {"addresses": ["127.0.0.1"], "port": server.port, "tls": "wrapped", "name": NAME}
            order = {
                "target": {**target, "login": "shop", "password": "secret", "patience": 1},
                "run": "r",
                "journal": str(journal),
                "connections": 1,
                "per_session": 1,
                "first_wait": 0.01,
                "sender": "a@shop.example",
                "recipient": "b@mailbox.example",
            }
            argv = [sys.executable, "-m", "tests.lab.faithful"]
            pipe = subprocess.PIPE
            client = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdin=pipe, stdout=pipe)
            client.stdin.write(json.dumps(order).encode())
            client.stdin.close()
            await server.quirked.wait()  # the second one is sent and not answered for
            client.send_signal(number)
            said, status = await client.stdout.read(), await client.wait()
        return said, status

    said, status = asyncio.run(asyncio.wait_for(act(), 30))
    with journal.open() as lines:
        found = read(lines)
    assert list(found) == ["r-00000", "r-00001"]
    assert found["r-00000"].accepted
    assert found["r-00001"].unknown == 1
    if number == signal.SIGTERM:
        assert status == 0
        assert found["r-00001"].accepted
        assert json.loads(said)["accepted"] == 2

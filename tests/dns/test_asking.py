"""Web and mail servers cannot hold a checker for longer than it gives them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from maildns.asking import dial as dialling
from maildns.asking.dial import UnreachedError
from maildns.asking.https import fetch
from maildns.asking.starttls import served_chain
from tests.dns.tlsworld import Web, authority, leaf, web_server

NAME = "mta-sts.brightpost.example"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(dialling, "WHOLE", 0.5)


@contextmanager
def dripping(first: bytes, then: bytes) -> Iterator[Callable[[str, int], socket.socket]]:
    """A server that always has a little more to say; how to dial it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line, suppress(OSError):
                line.sendall(first)
                while True:
                    line.sendall(then)
                    time.sleep(0.05)

        thread = threading.Thread(target=serve)
        thread.start()
        yield lambda *_: socket.create_connection(server.getsockname(), 5)
        thread.join(5)
        assert not thread.is_alive(), "the connection is still open"


def test_a_mail_server_that_never_ends_its_greeting_is_left():
    with (
        dripping(b"", b"220-wait\r\n") as dial,
        pytest.raises(UnreachedError, match=r"port 25 takes longer than 0\.5 s"),
    ):
        served_chain("mx.brightpost.example", "192.0.2.1", "me.example", dial)


def test_a_web_server_that_never_ends_its_handshake_is_left():
    # A TLS record of some size, octet by octet.
    with (
        dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x03") as dial,
        pytest.raises(UnreachedError, match=r"port 443 takes longer than 0\.5 s"),
    ):
        fetch(NAME, "192.0.2.1", "/", ssl.create_default_context(), dial)


def test_a_document_that_never_ends_is_no_document(tmp_path, monkeypatch):
    ca = authority("Test CA")
    web = Web(leaf(NAME, ca).context(tmp_path), b"version: STSv1\n")

    def drip(*_: object) -> None:
        time.sleep(1)

    with web_server(web):
        context = ssl.create_default_context(cadata=ca.pem)

        def dial(*_: object) -> socket.socket:
            return socket.create_connection(("127.0.0.1", web.port), 5)

        assert fetch(NAME, "192.0.2.1", "/", context, dial).content == web.document
        monkeypatch.setattr("http.client.HTTPResponse.read", lambda *_: drip() or b"version: STSv1\n")
        with pytest.raises(UnreachedError, match="takes longer"):
            fetch(NAME, "192.0.2.1", "/", context, dial)

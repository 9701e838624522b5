"""Pins that the cheap question about a machine's key only ever confirms what restic once said of the same.

The store is an HTTPS server of the test, and restic a program that notes that it was asked.
"""

import base64
import json
import os
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PROGRAM = Path(__file__).parents[2] / "templates" / "backup"
KEEPERS, OURS, ANOTHER = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1 with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "store.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


class Store(BaseHTTPRequestHandler):
    """What rest-server says of the repository of out1."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.met.append(self.headers["Authorization"])
        content = self.server.content.get(self.path)
        if self.headers["Authorization"] != f"Basic {base64.b64encode(b'out1:enters').decode()}":
            self.answer(401, b"")
        elif content is None:
            self.answer(404, b"")
        else:
            self.answer(200, content)

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        return


@pytest.fixture
def store(certificate):
    """The store, with a repository that the keeper's and the machine's password open."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.met = []
    server.content = {"/out1/config": b"sealed", "/out1/keys/": json.dumps([OURS, KEEPERS]).encode()}
    server.content |= {f"/out1/keys/{name}": name.encode() for name in (OURS, KEEPERS)}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Machine:
    """A machine in a folder."""

    def __init__(self, folder, port, authority):
        self.folder = folder
        (folder / "restic").write_text('#!/bin/sh\necho "$@" >>"$HERE/asked"\ncat "$HERE/says" >&2\n')
        (folder / "restic").chmod(0o755)
        self.restic_says("")
        self.location, self.password = folder / "repository", folder / "password"
        self.location.write_text(f"rest:https://out1:enters@127.0.0.1:{port}/out1/\n")
        self.password.write_text("opens\n")
        environment = {
            "HERE": str(folder),
            "RESTIC_REPOSITORY_FILE": str(self.location),
            "RESTIC_PASSWORD_FILE": str(self.password),
        }
        data = {"machine": "out1", "sources": [], "options": ["--cacert", str(authority)]}
        data |= {"environment": environment, "limit_upload": None, "patience": 60}
        data |= {name: str(folder / name) for name in ("home", "cache", "metrics")}
        (folder / "backup.json").write_text(json.dumps(data))

    def restic_says(self, fatal):
        (self.folder / "says").write_text(fatal)
        program = (self.folder / "restic").read_text().split("exit")[0]
        (self.folder / "restic").write_text(f"{program}exit {bool(fatal):d}\n")

    def fence(self, *arguments):
        """Ask; returns the exit status, what was said, and whether restic was asked."""
        (self.folder / "asked").unlink(missing_ok=True)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "mailwright_backup",
                "--config",
                self.folder / "backup.json",
                "fence",
                *arguments,
            ],
            env=os.environ | {"PYTHONPATH": str(PROGRAM), "PATH": f"{self.folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr, (self.folder / "asked").exists()


@pytest.fixture
def machine(tmp_path, store, certificate):
    """One whose repository restic has opened."""
    made = Machine(tmp_path, store.server_port, certificate)
    assert made.fence("--remember") == (0, "", True)
    return made


def test_restic_is_not_asked_again_while_nothing_has_changed(machine):
    assert machine.fence() == (0, "", False)
    assert machine.fence("--remember") == (0, "", False)


def test_what_opens_the_repository_is_remembered_for_root_alone_and_not_in_words(machine):
    (file,) = (machine.folder / "home").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not {"opens", "enters"} & set(file.read_text().split())
    assert len(file.read_text()) == 65


def test_who_only_looks_writes_nothing(tmp_path, store, certificate):
    made = Machine(tmp_path, store.server_port, certificate)
    assert made.fence() == made.fence() == (0, "", True)
    assert not (tmp_path / "home").exists()


REFUSAL = "Fatal: wrong password or no key found"


@pytest.mark.parametrize(
    "change",
    [
        {"/out1/keys/": json.dumps([ANOTHER, KEEPERS]).encode(), f"/out1/keys/{ANOTHER}": b"another"},
        {"/out1/keys/": json.dumps([KEEPERS]).encode()},
        {"/out1/keys/": b"[]"},
        {f"/out1/keys/{OURS}": b"of the same name"},
        {f"/out1/keys/{OURS}": None},
        {"/out1/config": b"of another repository"},
        {"/out1/config": None},
        {"/out1/keys/": b"7"},
        {"/out1/keys/": b'["../config"]'},
        {"/out1/keys/": b"<html>"},
        {"/out1/config": b"x" * (1 << 17)},
    ],
    ids=[
        "another key in the place of its own",
        "its key is gone",
        "no key at all",
        "other content of its key",
        "its key is listed but not there",
        "another config",
        "no config",
        "a number",
        "a name that leads elsewhere",
        "a page of a proxy",
        "an answer without an end",
    ],
)
def test_of_anything_else_restic_is_the_judge(machine, store, change):
    before = dict(store.content)
    store.content |= change
    machine.restic_says(REFUSAL)
    assert machine.fence() == (3, f"the store refuses this machine: {REFUSAL[7:]}\n", True)
    store.content = before
    assert machine.fence() == (0, "", False), "the same as before opens as before"


@pytest.mark.parametrize("file", ["password", "location"])
def test_other_credentials_are_restics_to_try(machine, file):
    changed = getattr(machine, file)
    changed.write_text(changed.read_text().replace("opens", "tries").replace("enters", "knocks"))
    machine.restic_says(REFUSAL)
    assert machine.fence("--remember")[::2] == (3, True)
    assert machine.fence("--remember")[::2] == (3, True), "a refusal is not remembered as an opening"


def test_a_store_that_nobody_answers_for_is_restics_to_judge(machine, store):
    store.shutdown()
    store.server_close()
    machine.restic_says("Fatal: dial tcp: connection refused")
    status, said, asked = machine.fence()
    assert (status, "nobody can tell" in said, asked) == (0, True, True)


def test_a_store_that_proves_itself_by_a_certificate_of_somebody_else_gets_no_password(tmp_path, store):
    (tmp_path / "others.pem").write_bytes(Path(ssl.get_default_verify_paths().openssl_cafile).read_bytes())
    made = Machine(tmp_path, store.server_port, tmp_path / "others.pem")
    assert made.fence("--remember")[::2] == (0, True)
    assert store.met == []
    assert not (tmp_path / "home").exists()


def test_a_disk_that_takes_nothing_has_restic_asked_each_time(tmp_path, store, certificate):
    made = Machine(tmp_path, store.server_port, certificate)
    (tmp_path / "home").write_text("no folder")
    assert made.fence("--remember") == made.fence("--remember") == (0, "", True)

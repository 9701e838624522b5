"""knotd on loopback: a target of the provider contract, plain and DNSSEC-signed."""

from __future__ import annotations

import base64
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from maildns.rfc2136 import Rfc2136
from tests.dns.target import Lines, Target

KEY = base64.b64encode(secrets.token_bytes(32)).decode()
READ_KEY = base64.b64encode(secrets.token_bytes(32)).decode()

APEX = """
@ 3600 IN SOA ns.{zone} hostmaster.{zone} 1 3600 900 604800 300
@ 3600 IN NS ns.{zone}
ns 3600 IN A 127.0.0.1
"""

FLEET_ZONES = ("brightpost.example.", "parcelnote.example.", "100.51.198.in-addr.arpa.")
"""For the tests of whole fleets, which leave them as they found them."""

KNOT = """
server:
    rundir: {dir}
    listen: 127.0.0.1@{port}
    tcp-workers: 2
    udp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: {dir}
key:
  - id: all.
    algorithm: hmac-sha256
    secret: {key}
  - id: reader.
    algorithm: hmac-sha256
    secret: {read_key}
acl:
  - id: all
    key: all.
    action: [transfer, update]
  - id: reader
    key: reader.
    action: transfer
policy:
  - id: lab
    algorithm: ecdsap256sha256
    nsec3: on
template:
  - id: default
    storage: {dir}
    zonefile-sync: -1
    journal-content: all
    zonefile-load: difference-no-serial
    acl: [all, reader]
zone:
"""


@dataclass
class Knot:
    """A knotd of our own. Zones are made from `APEX`; signed ones get NSEC3."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    key: str = KEY
    read_key: str = READ_KEY
    fleet_zones: tuple[str, ...] = FLEET_ZONES

    def target(self, zone: str) -> Target:
        add = partial(dynamic_update, "add", zone, self.port)
        delete = partial(dynamic_update, "delete", zone, self.port)
        return Target(zone, self.provider(), add, delete, spine=frozenset({zone, f"ns.{zone}"}))

    def empty(self, zone: str) -> None:
        """Leave the apex NS and its host."""
        update = dns.update.UpdateMessage(zone, keyring=dns.tsigkeyring.from_text({"all.": KEY}))
        for each in self.provider().fetch(zone).rrsets:
            if each.type != "NS" and each.name != f"ns.{zone}":
                update.delete(each.name, each.type)
        answer = dns.query.tcp(update, "127.0.0.1", port=self.port, timeout=5)
        assert answer.rcode() == dns.rcode.NOERROR

    def provider(self, **changed: object) -> Rfc2136:
        options = {"server": "127.0.0.1", "port": self.port, "key_name": "all.", "key": KEY, "timeout": 5.0}
        return Rfc2136(**(options | changed))  # type: ignore[arg-type]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_it_answers(port: int, process: subprocess.Popen[bytes], zone: str) -> None:
    query = dns.message.make_query(zone, "SOA")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if dns.query.udp(query, "127.0.0.1", port=port, timeout=0.2).answer:
                return
        except (dns.exception.Timeout, OSError):
            continue
    pytest.fail("knotd does not answer")


ZONES = {"plain": 40, "signed": 40}
"""Zones are used up by tests: each takes a fresh one of its kind."""


@pytest.fixture(scope="session", name="knot")
def knot_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    if shutil.which("knotd") is None:
        pytest.fail("knotd is not installed: apt-get install knot")
    directory = tmp_path_factory.mktemp("knot")
    port = free_port()
    names = [f"{kind}{n}.example." for kind, count in ZONES.items() for n in range(count)] + [*FLEET_ZONES]
    config = KNOT.format(dir=directory, port=port, key=KEY, read_key=READ_KEY)
    for name in names:
        (directory / f"{name}zone").write_text(APEX.format(zone=name))
        config += f"  - domain: {name}\n    file: {name}zone\n"
        config += "    dnssec-signing: on\n    dnssec-policy: lab\n" if name.startswith("signed") else ""
    (directory / "knot.conf").write_text(config)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(["knotd", "-c", directory / "knot.conf"], stdout=log, stderr=log)
        try:
            _until_it_answers(port, process, names[-1])
            yield Knot(directory, port, process)
        finally:
            process.terminate()
            process.wait(timeout=20)


def dynamic_update(how: str, zone: str, port: int, lines: Lines) -> None:
    """Somebody else's signed update (RFC 2136), composed apart from the code under test."""
    update = dns.update.UpdateMessage(zone, keyring=dns.tsigkeyring.from_text({"all.": KEY}))
    for line in lines:
        name, ttl, type_, value = line.split(maxsplit=3)
        if how == "add":
            update.add(name, int(ttl), type_, value)
        else:
            update.delete(name, type_, value)
    answer = dns.query.tcp(update, "127.0.0.1", port=port, timeout=5)
    assert answer.rcode() == dns.rcode.NOERROR


@pytest.fixture
def knot_target(knot: Knot) -> Target:
    return knot.target(_fresh("plain"))


@pytest.fixture
def knot_signed_target(knot: Knot) -> Target:
    return knot.target(_fresh("signed"))


_used: dict[str, int] = {}


def _fresh(kind: str) -> str:
    _used[kind] = _used.get(kind, 0) + 1
    return f"{kind}{_used[kind]}.example."

"""What the name servers on loopback have in common: a key, an apex, ports, and somebody else's updates."""

from __future__ import annotations

import base64
import contextlib
import secrets
import shutil
import socket
import subprocess
import time
from collections import Counter
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

from maildns.providers.rfc2136 import Rfc2136
from tests.dns.target import Lines, Target

KEY = base64.b64encode(secrets.token_bytes(32)).decode()
READ_KEY = base64.b64encode(secrets.token_bytes(32)).decode()

APEX = """
@ 3600 IN SOA ns.{zone} hostmaster.{zone} 1 3600 900 604800 300
@ 3600 IN NS ns.{zone}
ns 3600 IN A 127.0.0.1
"""

KNOT = """
server:
    rundir: {dir}
    listen: {address}@{port}
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
{more}
template:
  - id: default
    storage: {dir}
    zonefile-sync: -1
    journal-content: all
    zonefile-load: difference-no-serial
    acl: [{acl}]
zone:
"""
"""knot.conf up to its zones. `more` goes on with keys; `acl` names the access rules that all zones have."""

ZONES = {"plain": 40, "signed": 40}
"""Zones are used up by tests: each takes a fresh one of its kind."""


@dataclass
class NameServer:
    """A name server of our own that takes updates with the key `all.` and is read with `reader.` too."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    key: str = KEY
    read_key: str = READ_KEY

    def target(self, zone: str) -> Target:
        add = partial(dynamic_update, "add", zone, self.port)
        delete = partial(dynamic_update, "delete", zone, self.port)
        return Target(zone, self.provider(), add, delete, spine=frozenset({zone, f"ns.{zone}"}))

    def fresh_target(self, kind: str) -> Target:
        """A zone that no test has had yet."""
        _used[self.port, kind] += 1
        return self.target(f"{kind}{_used[self.port, kind]}.example.")

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


_used: Counter[tuple[int, str]] = Counter()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_zones(directory: Path, *more: str) -> list[str]:
    """The zones' files, each as `NAMEzone`."""
    names = [f"{kind}{n}.example." for kind, count in ZONES.items() for n in range(count)] + [*more]
    for name in names:
        (directory / f"{name}zone").write_text(APEX.format(zone=name))
    return names


@contextlib.contextmanager
def running(
    argv: list[str], directory: Path, port: int, *zones: str, address: str = "127.0.0.1"
) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, from the moment in which it answers for all of `zones`."""
    if shutil.which(argv[0]) is None:
        pytest.fail(f"{argv[0]} is not installed: `make daemons`")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory)
    try:
        for zone in zones:
            _until_it_answers(address, port, process, zone)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def _until_it_answers(address: str, port: int, process: subprocess.Popen[bytes], zone: str) -> None:
    query = dns.message.make_query(zone, "SOA")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if dns.query.udp(query, address, port=port, timeout=0.2).answer:
                return
        except (dns.exception.Timeout, OSError):
            continue
    pytest.fail(f"{process.args} does not answer at {address} for {zone}")


def dynamic_update(how: str, zone: str, port: int, lines: Lines, address: str = "127.0.0.1") -> None:
    """Somebody else's signed update (RFC 2136), composed apart from the code under test.

    `how`: add, delete or replace.
    """
    update = dns.update.UpdateMessage(zone, keyring=dns.tsigkeyring.from_text({"all.": KEY}))
    for line in lines:
        name, ttl, type_, value = line.split(maxsplit=3)
        if how == "delete":
            update.delete(name, type_, value)
        else:
            getattr(update, how)(name, int(ttl), type_, value)
    answer = dns.query.tcp(update, address, port=port, timeout=5)
    assert answer.rcode() == dns.rcode.NOERROR

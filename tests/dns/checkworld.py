"""A small world on loopback that a test can break: a parent zone, a primary, a secondary, all of them knot.

Everything listens at one free port: the parent at 127.0.0.3, the primary at 127.0.0.1, the secondary
at 127.0.0.2.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.update
from dns.rdatatype import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from tests.dns.server import KEY, KNOT, dynamic_update, running

PRIMARY, SECONDARY, PARENT = "127.0.0.1", "127.0.0.2", "127.0.0.3"

SIGNED, PLAIN, REVERSE = "brightpost.example.", "parcelnote.example.", "100.51.198.in-addr.arpa."
PARENTS = ("example.", "198.in-addr.arpa.")
LISTS = ("addresses.lists.example.", "names.lists.example.")

MORE = """
remote:
  - id: primary
    address: {primary}@{port}
    key: all.
  - id: secondary
    address: {secondary}@{port}
    key: all.
acl:
  - id: all
    key: all.
    action: [transfer, update, notify]
policy:
  - id: nsec3
    algorithm: ecdsap256sha256
    nsec3: on
  - id: nsec
    algorithm: ecdsap256sha256
""".strip("\n")

CHILD = """
@ 3600 IN SOA ns1.{zone} hostmaster.{zone} 1 3600 900 604800 300
@ 3600 IN NS ns1.{zone}
@ 3600 IN NS ns2.{zone}
ns1 3600 IN A 127.0.0.1
ns2 3600 IN A 127.0.0.2
"""

TOP = """
@ 3600 IN SOA ns.{zone} hostmaster.{zone} 1 3600 900 604800 300
@ 3600 IN NS ns.{zone}
ns 3600 IN A 127.0.0.3
"""

DELEGATION = """
{zone} 3600 IN NS ns1.{zone}
{zone} 3600 IN NS ns2.{zone}
ns1.{zone} 3600 IN A 127.0.0.1
ns2.{zone} 3600 IN A 127.0.0.2
"""


@dataclass(frozen=True)
class Knotd:
    """One knotd."""

    directory: Path
    address: str
    port: int

    def control(self, *words: str) -> None:
        """Say something to it: knotc(8)."""
        command = ["knotc", "-c", self.directory / "knot.conf", "-b", *words]
        subprocess.run(command, check=True, capture_output=True)

    def update(self, zone: str, *lines: str, how: str = "add") -> None:
        """Add, delete or replace records: `NAME TTL TYPE VALUE`."""
        dynamic_update(how, zone, self.port, lines, self.address)

    def records(self, name: str, type_: str) -> list[str]:
        """A set as lines for `update`; of a zone that is delegated, what the parent holds."""
        answer = self.ask(name, type_)
        wanted, owner = dns.rdatatype.from_text(type_), dns.name.from_text(name)
        return [
            f"{name} {rrset.ttl} {type_} {rdata}"
            for rrset in (*answer.answer, *answer.authority, *answer.additional)
            if (rrset.name, rrset.rdtype) == (owner, wanted)
            for rdata in rrset
        ]

    def serial(self, zone: str) -> int:
        return int(self.ask(zone, "SOA").answer[0][0].serial)

    def ask(self, name: str, type_: str) -> dns.message.Message:
        query = dns.message.make_query(name, type_, want_dnssec=True)
        return dns.query.tcp(query, self.address, port=self.port, timeout=5)


@dataclass(frozen=True)
class CheckWorld:
    """The three servers, and what chains their zones."""

    port: int
    primary: Knotd
    secondary: Knotd
    parent: Knotd
    anchors: str
    """Of `example.`, in zone file format."""
    ds: str
    """The record that chains the signed zone to its parent."""

    @contextmanager
    def holding(self, zone: str, *lines: str) -> Iterator[None]:
        """Records that are there for a while."""
        self.update(zone, *lines)
        try:
            yield
        finally:
            self.update(zone, *lines, how="delete")

    @contextmanager
    def lacking(self, zone: str, *lines: str) -> Iterator[None]:
        """Records that are away for a while."""
        self.update(zone, *lines, how="delete")
        try:
            yield
        finally:
            self.update(zone, *lines)

    @contextmanager
    def instead(self, zone: str, line: str, other: str) -> Iterator[None]:
        """One record in the place of another for a while."""
        with self.holding(zone, other), self.lacking(zone, line):
            yield

    def update(self, zone: str, *lines: str, how: str = "add") -> None:
        """Change a zone where it is at home, and wait until its secondary follows."""
        ours = zone in (SIGNED, PLAIN, REVERSE)
        (self.primary if ours else self.parent).update(zone, *lines, how=how)
        if ours:
            self.settle(zone)

    def settle(self, zone: str) -> None:
        """Wait until the secondary has what the primary has."""
        deadline = time.monotonic() + 20
        while self.primary.serial(zone) != self.secondary.serial(zone):
            assert time.monotonic() < deadline, f"{zone} does not reach the secondary"
            self.secondary.control("zone-refresh", zone)
            time.sleep(0.02)


@contextmanager
def check_world(directory: Path) -> Iterator[CheckWorld]:
    """Start it; the signed zone is chained to its parent."""
    port = _common_port()
    zones = (SIGNED, PLAIN, REVERSE)
    with ExitStack() as stack:
        parent = stack.enter_context(_knotd(directory / "parent", PARENT, port, _parent_zones()))
        primary = stack.enter_context(
            _knotd(directory / "primary", PRIMARY, port, {z: (CHILD, _child_options(z)) for z in zones})
        )
        secondary = stack.enter_context(
            _knotd(directory / "secondary", SECONDARY, port, {z: ("", ["master: primary"]) for z in zones})
        )
        ds = ds_of(primary, SIGNED)
        parent.update("example.", ds)
        yield CheckWorld(port, primary, secondary, parent, ds_of(parent, "example."), ds)


def ds_of(server: Knotd, zone: str) -> str:
    """The DS record of the key that signs a zone's keys."""
    keys = (rdata for rrset in server.ask(zone, "DNSKEY").answer for rdata in rrset)
    key = next(key for key in keys if key.rdtype == DNSKEY and key.flags & Flag.SEP)
    return f"{zone} 3600 DS {dns.dnssec.make_ds(zone, key, 'SHA256')}"


def _child_options(zone: str) -> list[str]:
    signing = ["dnssec-signing: on", "dnssec-policy: nsec3"] if zone == SIGNED else []
    return ["notify: secondary", *signing]


def _parent_zones() -> dict[str, tuple[str, list[str]]]:
    signing = ["dnssec-signing: on", "dnssec-policy: nsec"]
    delegations = "".join(DELEGATION.format(zone=zone) for zone in (SIGNED, PLAIN))
    return {
        "example.": (TOP + delegations, signing),
        "198.in-addr.arpa.": (TOP + DELEGATION.format(zone=REVERSE), []),
        **{zone: (TOP, []) for zone in LISTS},
    }


@contextmanager
def _knotd(
    directory: Path, address: str, port: int, zones: dict[str, tuple[str, list[str]]]
) -> Iterator[Knotd]:
    directory.mkdir(parents=True)
    more = MORE.format(primary=PRIMARY, secondary=SECONDARY, port=port)
    config = KNOT.format(dir=directory, address=address, port=port, key=KEY, more=more, acl="all")
    for zone, (content, options) in zones.items():
        if content:
            (directory / f"{zone}zone").write_text(content.format(zone=zone))
        lines = [f"domain: {zone}", f"file: {zone}zone", *options]
        config += "  - " + "\n    ".join(lines) + "\n"
    file = directory / "knot.conf"
    file.write_text(config)
    with running(["knotd", "-c", str(file)], directory, port, *zones, address=address):
        yield Knotd(directory, address, port)


def _common_port() -> int:
    """A port that is free at all three addresses."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind((PRIMARY, 0))
            port = int(first.getsockname()[1])
            try:
                for address in (SECONDARY, PARENT):
                    stack.enter_context(socket.socket()).bind((address, port))
            except OSError:
                continue
            return port

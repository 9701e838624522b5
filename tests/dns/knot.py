"""knotd on loopback: a target of the provider contract, plain and DNSSEC-signed with NSEC3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.dns.server import KEY, READ_KEY, NameServer, free_port, running, write_zones
from tests.dns.target import Target

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
class Knot(NameServer):
    """A knotd of our own."""

    fleet_zones: tuple[str, ...] = FLEET_ZONES


@pytest.fixture(scope="session", name="knot")
def knot_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    directory = tmp_path_factory.mktemp("knot")
    port = free_port()
    config = KNOT.format(dir=directory, port=port, key=KEY, read_key=READ_KEY)
    names = write_zones(directory, *FLEET_ZONES)
    for name in names:
        config += f"  - domain: {name}\n    file: {name}zone\n"
        config += "    dnssec-signing: on\n    dnssec-policy: lab\n" if name.startswith("signed") else ""
    file = directory / "knot.conf"
    file.write_text(config)
    with running(["knotd", "-c", str(file)], directory, port, names[-1]) as process:
        yield Knot(directory, port, process)


@pytest.fixture
def knot_target(knot: Knot) -> Target:
    return knot.fresh_target("plain")


@pytest.fixture
def knot_signed_target(knot: Knot) -> Target:
    return knot.fresh_target("signed")

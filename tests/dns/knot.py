"""knotd on loopback: a target of the provider contract, plain and DNSSEC-signed with NSEC3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dns.server import KEY, KNOT, READ_KEY, NameServer, free_port, running, write_zones
from tests.dns.target import Target

FLEET_ZONES = ("brightpost.example.", "parcelnote.example.", "100.51.198.in-addr.arpa.")
"""For the tests of whole fleets, which leave them as they found them."""

MORE = f"""
  - id: reader.
    algorithm: hmac-sha256
    secret: {READ_KEY}
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
""".strip("\n")


def knot_config(directory: Path, port: int) -> str:
    """knot.conf up to its zones, which take updates with `all.` and may be signed."""
    return KNOT.format(dir=directory, address="127.0.0.1", port=port, key=KEY, more=MORE, acl="all, reader")


@dataclass
class Knot(NameServer):
    """A knotd of our own."""

    fleet_zones: tuple[str, ...] = FLEET_ZONES


@pytest.fixture(scope="session", name="knot")
def knot_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    directory = tmp_path_factory.mktemp("knot")
    port = free_port()
    config = knot_config(directory, port)
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

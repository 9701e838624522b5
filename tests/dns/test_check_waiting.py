"""After an apply a signed zone's servers must prove what they answer, and deny what is gone."""

from __future__ import annotations

import pytest

from maildns.asking.authority import Server, wait_until_served
from maildns.asking.proof import ZoneProof
from maildns.provider import Change
from maildns.records import rrset
from tests.dns.checkworld import PLAIN, PRIMARY, SECONDARY, SIGNED, check_world

LINE = f"new.{SIGNED} 300 A 192.0.2.1"
SET = rrset(f"new.{SIGNED}", "A", 300, ["192.0.2.1"])


@pytest.fixture(scope="module", name="world")
def world_fixture(tmp_path_factory):
    with check_world(tmp_path_factory.mktemp("waiting")) as world:
        yield world


@pytest.fixture(name="servers")
def servers_fixture(world):
    return [Server(f"ns{n}.{SIGNED}", a, world.port) for n, a in ((1, PRIMARY), (2, SECONDARY))]


def test_what_a_signed_zone_gains_is_proved_and_what_it_loses_is_denied(world, servers):
    proof = ZoneProof(SIGNED)
    with world.holding(SIGNED, LINE):
        assert wait_until_served(dict.fromkeys(servers, (Change(None, SET, ""),)), 5, proof=proof) == ()
    assert wait_until_served(dict.fromkeys(servers, (Change(SET, None, ""),)), 5, proof=proof) == ()


def test_a_server_that_serves_what_nobody_signed_is_waited_for(world, servers):
    secondary = world.secondary
    secondary.control("zone-begin", SIGNED)
    secondary.control("zone-set", SIGNED, *LINE.split())
    secondary.control("zone-commit", SIGNED)
    try:
        change = [Change(None, SET, "")]
        assert wait_until_served({servers[1]: change}, 0) == ()  # taken at its word
        (missing,) = wait_until_served({servers[1]: change}, 0, proof=ZoneProof(SIGNED))
        assert (missing.server, "has no signature" in missing.why) == (servers[1], True), missing.why
    finally:
        secondary.control("zone-retransfer", SIGNED)
        world.settle(SIGNED)


def test_expired_signatures_are_no_proof(servers):
    ns = rrset(SIGNED, "NS", 3600, [f"ns{n}.{SIGNED}" for n in (1, 2)])
    late = ZoneProof(SIGNED, clock=lambda: 4e9)
    (missing,) = wait_until_served({servers[0]: [Change(None, ns, "")]}, 0, proof=late)
    assert "expired" in missing.why


def test_an_unsigned_zone_needs_no_proof_unless_an_anchor_says_that_it_is_signed(world):
    server = Server(f"ns1.{PLAIN}", PRIMARY, world.port)
    change = [Change(None, rrset(PLAIN, "NS", 3600, [f"ns{n}.{PLAIN}" for n in (1, 2)]), "")]
    assert wait_until_served({server: change}, 0, proof=ZoneProof(PLAIN)) == ()
    (missing,) = wait_until_served({server: change}, 0, proof=ZoneProof(PLAIN, anchored=True))
    assert "which a trust anchor says is signed" in missing.why


def test_a_signer_may_take_a_moment(servers):
    """BIND signs behind the update."""
    said = iter(["not signed yet", "not signed yet", None])
    change = [Change(None, rrset(SIGNED, "NS", 3600, [f"ns{n}.{SIGNED}" for n in (1, 2)]), "")]
    paused = []
    missing = wait_until_served(
        {servers[0]: change}, 60, proof=lambda *_: next(said), clock=lambda: 0.0, pause=paused.append
    )
    assert (missing, len(paused)) == ((), 2)

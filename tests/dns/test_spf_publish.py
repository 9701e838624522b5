"""A flattened SPF policy is published on a real knot, redone, and left alone when something is amiss."""

from __future__ import annotations

import json

import pytest

from maildns.policy.spf import is_spf
from tests.dns.test_publish import fleet as published_fleet
from tests.dns.test_publish import values

__all__ = ["published_fleet"]

ZONE = "brightpost.example."
THERE = "parcelnote.example."
FLATTENED = "name: brightpost.example\n    spf: { include: [spf.parcelnote.example], flatten: true }"


@pytest.fixture(name="flat")
def flat_fixture(fleet):
    fleet.change("name: brightpost.example\n", FLATTENED + "\n")
    return fleet


fleet = published_fleet


class Elsewhere:
    """The policy of somebody else, whose zone is on the same server."""

    def __init__(self, target) -> None:
        self._target = target
        self._now: str | None = None

    def says(self, *terms: str) -> None:
        if self._now:
            self._target.foreign_delete(self._now)
        texts = " ".join(f'"{term} "' for term in terms)
        self._now = f'spf.{THERE} 300 TXT "v=spf1 " {texts} "-all"'
        self._target.foreign(self._now)


@pytest.fixture
def elsewhere(knot):
    return Elsewhere(knot.target(THERE))


def spf(knot, name: str = ZONE) -> str:
    (text,) = filter(is_spf, values(knot, ZONE, name, "TXT"))
    return text


OWN = "ip4:198.51.100.21 ip6:2001:db8:100::21"


def test_an_include_is_published_as_what_it_stands_for_and_redone_when_that_changes(flat, knot, elsewhere):
    elsewhere.says("ip4:203.0.113.0/26", "ip4:203.0.113.64/26")
    assert flat.dns("apply")[0] == 0
    assert spf(knot) == "v=spf1 ip4:198.51.100.21 ip4:203.0.113.0/25 ip6:2001:db8:100::21 -all"
    assert flat.dns("plan")[0] == 0
    elsewhere.says("ip4:203.0.113.0/25", "ip4:192.0.2.0/28")
    status, out = flat.dns("plan", "--only", "brightpost.example")
    assert status == 2
    assert "flattened: spf.parcelnote.example" in out
    assert flat.dns("apply", "--only", "brightpost.example")[0] == 0
    assert "ip4:192.0.2.0/28" in spf(knot)


def test_what_fits_no_record_is_spread_over_several_and_folded_again(flat, knot, elsewhere):
    elsewhere.says(*(f"ip4:203.0.{n}.0/25" for n in range(40)))
    assert flat.dns("apply")[0] == 0
    includes = f"include:_spf1.{ZONE[:-1]} include:_spf2.{ZONE[:-1]}"
    assert spf(knot) == f"v=spf1 {OWN} {includes} -all"
    assert "ip4:203.0.39.0/25" in spf(knot, f"_spf2.{ZONE}")
    elsewhere.says(*(f"ip4:203.0.{n}.0/25" for n in range(30)))
    assert flat.dns("apply")[0] == 0
    assert "ip4:203.0.39.0/25" not in spf(knot, f"_spf2.{ZONE}")


def test_losing_more_than_a_third_stops_and_nothing_is_changed(flat, knot, elsewhere):
    elsewhere.says("ip4:203.0.113.0/25")
    assert flat.dns("apply")[0] == 0
    before = spf(knot)
    elsewhere.says("ip4:203.0.113.0/26")
    status, out = flat.dns("apply")
    assert (status, out.count("\n")) == (1, 1)
    assert "SPF would lose 50% of its addresses; nothing is changed" in out
    assert spf(knot) == before
    assert flat.dns("apply", "--allow", f"spf-loss={ZONE}")[0] == 0
    assert "ip4:203.0.113.0/26" in spf(knot)


def test_an_include_that_is_an_error_stops_and_nothing_is_changed(flat, knot, elsewhere):
    elsewhere.says("ip4:203.0.113.0/25")
    assert flat.dns("apply")[0] == 0
    before = spf(knot)
    elsewhere.says("ip4:203.0.113.0/25", "nonsense")
    status, out = flat.dns("apply")
    assert (status, out.count("\n")) == (1, 1)
    assert "spf.parcelnote.example. cannot be flattened: spf.parcelnote.example: not a mechanism" in out
    assert spf(knot) == before


def test_no_answer_stops_and_nothing_is_changed(flat, elsewhere):
    elsewhere.says("ip4:203.0.113.0/25")
    assert flat.dns("apply")[0] == 0
    flat.change("include: [spf.parcelnote.example]", "include: [spf.nobody.example]")
    status, out = flat.dns("plan")  # knot refuses what it does not hold: no answer, not "no such name"
    assert (status, out.count("\n")) == (1, 1)
    assert "spf.nobody.example. cannot be flattened" in out
    assert "nothing is changed" in out
    assert flat.dns("plan", "--only", "parcelnote.example")[0] == 0  # others are none of its business


def test_what_addresses_cannot_say_stays_an_include_and_the_plan_says_why(flat, knot, elsewhere):
    elsewhere.says("exists:%{i}.parcelnote.example")
    status, out = flat.dns("plan", "--json")
    assert status == 2
    told = [c["reason"] for z in json.loads(out)["zones"] for c in z["changes"] if c["name"] == ZONE]
    assert any("spf.parcelnote.example stays: " in reason for reason in told)
    assert flat.dns("apply")[0] == 0
    assert spf(knot) == f"v=spf1 {OWN} include:spf.parcelnote.example -all"

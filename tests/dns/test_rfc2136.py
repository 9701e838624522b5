"""What is peculiar to dynamic updates: keys, refusals, and servers that are not there."""

from __future__ import annotations

import pytest

from maildns.plan import plan_zone
from maildns.provider import Change, ConflictError, ProviderError
from maildns.records import rrset


@pytest.fixture
def zone(knot):
    name = "plain0.example."  # read only, or given back as it was
    yield name
    knot.empty(name)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key_name": "stranger."}, "the key stranger. is not accepted"),
        ({"key": "d3Jvbmc="}, "the secret of the key all. is wrong"),
        ({"algorithm": "hmac-sha512"}, "all."),
        ({"key": "???"}, "not base64"),
        ({"port": 1}, "ConnectionRefusedError"),
    ],
)
def test_a_zone_that_cannot_be_read_is_one_line(knot, zone, changed, said):
    provider = knot.provider(**changed)
    with pytest.raises(ProviderError, match=said) as error:
        provider.fetch(zone)
    assert "\n" not in str(error.value)
    assert provider.key not in str(error.value)
    assert provider.key not in repr(provider)


def test_a_zone_that_the_server_does_not_hold(knot):
    with pytest.raises(ProviderError, match=r"reading nosuch.example\. at 127.0.0.1"):
        knot.provider().fetch("nosuch.example.")


def test_a_key_that_may_read_but_not_write(knot, zone):
    reader = knot.provider(key_name="reader.", key=knot.read_key)
    plan = plan_zone(reader.fetch(zone), [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])], "us")
    with pytest.raises(ProviderError, match=r"the key reader\. is not accepted"):
        reader.apply(zone, plan.changes, plan.etag)


def test_a_set_that_is_not_what_was_planned_from_is_a_conflict(knot, zone):
    provider = knot.provider()
    stale = rrset(f"ns.{zone}", "A", 3600, ["192.0.2.99"])
    with pytest.raises(ConflictError, match=r"ns\.plain0\.example\. A was changed"):
        provider.apply(zone, [Change(stale, None, "")], provider.fetch(zone).etag)


def test_what_the_signer_makes_is_not_the_zones_content(knot):
    types = {r.type for r in knot.provider().fetch("signed0.example.").rrsets}
    assert types <= {"NS", "A", "TXT"}


def test_a_set_too_large_for_a_message_is_told_beforehand(knot, zone):
    big = rrset(f"_b.{zone}", "TXT", 300, ["x" * 30000 + str(n) for n in range(2)])
    (sentence,) = knot.provider().audit([big, rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])])
    assert sentence.startswith(f"_b.{zone} TXT: too large")


def test_the_first_messages_stand_when_a_later_one_is_refused(knot, zone):
    """The next plan is what is left."""
    provider = knot.provider()
    wanted = [rrset(f"_k{n}.{zone}", "TXT", 300, ["y" * 20000]) for n in range(4)]
    plan = plan_zone(provider.fetch(zone), wanted, "us")
    stale = Change(rrset(f"z.{zone}", "A", 300, ["192.0.2.1"]), None, "", unit="z")
    with pytest.raises(ProviderError, match="messages were taken before"):
        provider.apply(zone, [*plan.changes, stale], plan.etag)
    left = plan_zone(provider.fetch(zone), wanted, "us")
    assert 0 < len(left.changes) < len(plan.changes)
    provider.apply(zone, left.changes, left.etag)
    assert plan_zone(provider.fetch(zone), wanted, "us").changes == ()

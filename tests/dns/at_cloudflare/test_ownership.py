"""Ownership in comments, and records behind the proxy."""

from __future__ import annotations

import pytest

from maildns.planning.plan import plan_zone
from maildns.records import rrset
from tests.dns.at_cloudflare.zone import SPF, ZONE, A, comments, make, plan, publish
from tests.dns.cloudflare import add

pytestmark = pytest.mark.usefixtures("zone")


def test_an_address_behind_the_proxy_is_a_conflict_that_adopting_resolves(zone, provider):
    add(zone, (f"mail.{ZONE} 300 A 192.0.2.1",), proxied=True)
    made = plan(provider, [A])
    assert [c.sentence for c in made.conflicts] == [
        "holds 192.0.2.1 (through Cloudflare's proxy, which mail cannot pass), which is not ours"
    ]
    publish(provider, [A], adopt={A.key})
    (record,) = zone.records.values()
    assert (record["proxied"], record["ttl"], record["content"]) == (False, 300, "192.0.2.1")


def test_turning_the_proxy_on_for_one_of_our_records_is_a_conflict(zone, provider):
    publish(provider, [A])
    (record,) = zone.records.values()
    zone.patch(record["id"], {"proxied": True})
    assert ["which mail cannot pass" in c.sentence for c in plan(provider, [A]).conflicts] == [True]


def test_a_proxied_address_of_the_other_family_is_a_conflict_too(zone, provider):
    add(zone, (f"mail.{ZONE} 300 AAAA 2001:db8::66",), proxied=True)
    (conflict,) = plan(provider, [A]).conflicts
    assert "of the AAAA record beside it (through Cloudflare's proxy" in conflict.sentence


def test_a_proxied_website_is_nobodys_business(zone, provider):
    add(zone, (f"{ZONE} 300 A 192.0.2.80", f"www.{ZONE} 300 CNAME {ZONE}"), proxied=True)
    publish(provider, [A, SPF, rrset(ZONE, "MX", 300, [f"10 {A.name}"])])
    assert sum(r["proxied"] for r in zone.records.values()) == 2


@pytest.mark.parametrize("proxied", [True, False])
def test_an_alias_at_the_apex_stays_and_our_records_lie_beside_it(zone, provider, proxied):
    """Cloudflare gives its addresses in its place, so that it is in no MX record's way."""
    add(zone, (f"{ZONE} 300 CNAME site.example.net.",), proxied=proxied)
    publish(provider, [A, SPF, rrset(ZONE, "MX", 300, [f"10 {A.name}"])])
    assert [r["content"] for r in zone.at("cf.example", "CNAME")] == ["site.example.net"]
    (conflict,) = plan(provider, [A, SPF, rrset(ZONE, "A", 300, ["192.0.2.80"])]).conflicts
    assert (conflict.key, conflict.adoptable) == ((ZONE, "A"), False)
    assert "an alias of site.example.net." in conflict.sentence
    publish(provider, [], allow={f"last-mx={ZONE}"})
    assert [r["type"] for r in zone.records.values()] == ["CNAME"]


def test_ownership_is_in_comments_and_no_record_is_published_for_it(zone, provider):
    publish(provider, [A, SPF])
    assert sorted(r["name"] for r in zone.records.values()) == ["cf.example", "mail.cf.example"]
    assert all(c.startswith("maildns1 owner=us value=") for c in comments(zone).values())


def test_what_somebody_wrote_into_a_comment_stays(zone, provider):
    add(zone, (f"mail.{ZONE} 300 A 192.0.2.1",), comment="rack 4 | ask Facilities")
    publish(provider, [A])
    publish(provider, [rrset(A.name, "A", 600, ["192.0.2.2"])])
    assert comments(zone)["192.0.2.2"].startswith("rack 4 | ask Facilities | maildns1 owner=us value=")


def test_where_a_comment_has_no_room_the_set_is_marked_by_a_record(zone, provider):
    add(zone, (f"mail.{ZONE} 300 A 192.0.2.1",), comment="x" * 90)
    two = rrset(A.name, "A", 300, ["192.0.2.1", "192.0.2.2"])
    publish(provider, [two], adopt={A.key})
    assert comments(zone)["192.0.2.1"] == "x" * 90
    assert comments(zone)["192.0.2.2"] is None
    assert [r["name"].split(".")[1] for r in zone.records.values() if r["type"] == "TXT"] == ["_maildns"]
    publish(provider, [rrset(A.name, "A", 300, ["192.0.2.2"])])  # and back as soon as there is room
    assert len(zone.records) == 1
    assert comments(zone)["192.0.2.2"].startswith("maildns1 owner=us value=")
    publish(provider, [])
    assert zone.records == {}


def test_a_name_of_an_owner_too_long_for_a_comment_is_no_obstacle(zone, provider):
    owner = "o" * 63
    publish(provider, [A], owner)
    publish(provider, [], owner)
    assert zone.records == {}


def test_a_paid_plan_has_room_for_longer_comments(cloudflare, clock):
    zone = cloudflare.account.add("paid.example", "business")
    zone.post({"name": "mail", "type": "A", "content": "192.0.2.1", "ttl": 300, "comment": "x" * 400})
    provider = make(cloudflare, clock)
    made = plan_zone(
        provider.fetch("paid.example."), [rrset("mail.paid.example.", "A", 300, ["192.0.2.1"])], "us"
    )
    provider.apply("paid.example.", made.changes, made.etag)
    assert len(zone.records) == 1


def test_an_edit_by_hand_keeps_the_comment_and_is_seen(zone, provider):
    publish(provider, [A])
    (record,) = zone.records.values()
    zone.patch(record["id"], {"content": "192.0.2.66"})
    assert [c.key for c in plan(provider, [A]).conflicts] == [A.key]
    letting_go = plan(provider, [])
    provider.apply(ZONE, letting_go.changes, letting_go.etag)
    assert comments(zone) == {"192.0.2.66": None}


def test_two_owners_know_their_values_of_one_set_apart(zone, provider):
    publish(provider, [rrset(ZONE, "TXT", 300, ["v=spf1 a -all"])], "us")
    publish(provider, [rrset(ZONE, "TXT", 300, ["site-verification=x"])], "them")
    assert [c.sentence for c in plan(provider, [SPF], "them").conflicts] == [
        "holds v=spf1 a -all, published by us"
    ]
    publish(provider, [], "us")
    assert list(comments(zone)) == ['"site-verification=x"']


def test_the_kind_of_ownership_can_be_changed_in_both_directions(cloudflare, zone, clock, provider):
    records = make(cloudflare, clock, comments=False)
    publish(records, [A])
    assert len(zone.records) == 2
    assert plan(provider, [A]).changes == ()
    moved = rrset(A.name, "A", 300, ["192.0.2.2"])
    publish(provider, [moved])
    assert len(zone.records) == 1
    assert plan(records, [moved]).changes == ()
    publish(records, [A])
    assert sorted(comments(zone).values(), key=str) == [None, None]
    publish(provider, [])
    assert zone.records == {}

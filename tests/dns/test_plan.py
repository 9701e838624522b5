"""Whose a value is, what is refused, and in which order things happen."""

from __future__ import annotations

import pytest

from maildns.errors import RecordError
from maildns.planning.guards import Limits
from maildns.planning.ownership import LABEL, mark, read_markers
from maildns.planning.plan import ZonePlan, applied, plan_zone
from maildns.policy.dkim import DkimKey
from maildns.provider import Snapshot
from maildns.records import Entry, RRset, collect, rrset

ZONE = "example.org."
MAIL = f"mail.{ZONE}"
KEY = "v=DKIM1; k=ed25519; p=" + "A" * 43 + "="


def zone_of(*sets: RRset, owner: str = "us", also: tuple[RRset, ...] = ()) -> tuple[RRset, ...]:
    """A zone that holds these sets as published by `owner`, beside somebody else's."""
    return applied((), plan_zone(Snapshot(ZONE, also, "0"), sets, owner).changes) + also


def plan(zone, *wanted: RRset, **options) -> ZonePlan:
    return plan_zone(Snapshot(ZONE, tuple(zone), "1"), wanted, "us", **options)


def a(name: str, *values: str, ttl: int = 300) -> RRset:
    return rrset(name, "A", ttl, values)


def txt(name: str, *values: str) -> RRset:
    return rrset(name, "TXT", 300, values)


def keys(planned: ZonePlan) -> list[tuple[str, str]]:
    return [c.key for c in planned.changes if LABEL not in c.key[0]]


@pytest.mark.parametrize(
    "name",
    [ZONE, f"*.{ZONE}", f"_dmarc.{ZONE}", f"*.a.b.{ZONE}", ("x" * 63 + ".") * 3 + "y" * 40 + f".{ZONE}"],
)
def test_every_name_can_be_marked(name):
    wanted = rrset(name, "TXT", 300, ["v=spf1 -all"])
    planned = plan((), wanted)
    assert [c.unit for c in planned.changes] == [name, name]
    (marker,) = read_markers(applied((), planned.changes), ZONE)
    assert (marker.owner, marker.key) == ("us", wanted.key)
    assert marker.owns("v=spf1 -all")
    assert plan(applied((), planned.changes), wanted).changes == ()


def test_a_marker_in_the_wrong_place_or_of_a_stranger_marks_nothing_of_ours():
    ours, theirs = a(MAIL, "192.0.2.1"), a(f"b.{ZONE}", "192.0.2.2")
    copied = rrset(
        f"copy.{LABEL}.{ZONE}", "TXT", 3600, mark("us", theirs.key, theirs.rdata).rrset(ZONE).rdata
    )
    noise = rrset(f"noise.{LABEL}.{ZONE}", "TXT", 3600, ["v=maildns1; owner=us", ""])
    zone = (*zone_of(ours), theirs, copied, noise)
    assert [m.key for m in read_markers(zone, ZONE)] == [ours.key]
    assert plan(zone, ours).changes == ()


def test_an_unowned_record_that_is_right_is_taken_over_by_a_marker_alone():
    planned = plan((a(MAIL, "192.0.2.1"),), a(MAIL, "192.0.2.1"))
    assert keys(planned) == []
    assert [c.reason for c in planned.changes] == ["now ours"]


def test_what_another_owner_published_is_a_conflict_even_if_it_is_what_we_want():
    wanted = a(MAIL, "192.0.2.1")
    (conflict,) = plan(zone_of(wanted, owner="staging"), wanted).conflicts
    assert "published by staging" in conflict.sentence


def test_a_value_that_two_owners_published_stays_when_one_lets_go():
    wanted = a(MAIL, "192.0.2.1")
    zone = zone_of(wanted, owner="staging")
    zone = applied(zone, plan(zone, wanted, adopt={wanted.key}).changes)
    assert keys(plan(zone)) == []
    assert len(plan(zone).changes) == 1


def test_a_value_that_two_owners_published_is_not_changed_under_the_other():
    ours, other = a(MAIL, "192.0.2.1"), a(MAIL, "192.0.2.2")
    zone = zone_of(ours, owner="staging")
    zone = applied(zone, plan(zone, ours, adopt={ours.key}).changes)
    assert plan(zone, ours).changes == ()
    assert "published by staging" in plan(zone, other).conflicts[0].sentence
    zone = applied(zone, plan(zone, other, adopt={other.key}).changes)
    assert other in zone
    assert plan(zone, other) == ZonePlan(ZONE, "1")


def test_an_edit_by_hand_of_our_record_is_a_conflict():
    zone = [r if r.key != (MAIL, "A") else a(MAIL, "192.0.2.66") for r in zone_of(a(MAIL, "192.0.2.1"))]
    (conflict,) = plan(zone, a(MAIL, "192.0.2.1")).conflicts
    assert conflict.key == (MAIL, "A")
    assert "192.0.2.66" in conflict.sentence
    assert keys(plan(zone, a(MAIL, "192.0.2.1"), adopt={(MAIL, "A")})) == [(MAIL, "A")]


def test_a_second_spf_record_is_a_conflict_and_another_text_is_not():
    assert plan((txt(ZONE, "v=spf1 mx -all"),), txt(ZONE, "v=spf1 -all")).conflicts
    planned = plan((txt(ZONE, "verify=1"),), txt(ZONE, "v=spf1 -all"))
    assert planned.changes[0].new == txt(ZONE, "v=spf1 -all", "verify=1")


def test_a_name_with_an_underscore_is_one_partys():
    name = f"_dmarc.{ZONE}"
    (conflict,) = plan((txt(name, "verify=1"),), txt(name, "v=DMARC1; p=none")).conflicts
    assert conflict.key == (name, "TXT")


def test_adopting_at_a_shared_name_takes_the_same_kind_only():
    zone = (txt(ZONE, "v=spf1 mx -all", "verify=1"),)
    planned = plan(zone, txt(ZONE, "v=spf1 -all"), adopt={(ZONE, "TXT")})
    assert planned.changes[0].new == txt(ZONE, "v=spf1 -all", "verify=1")


def test_the_ttl_of_a_shared_set_is_theirs():
    theirs = rrset(ZONE, "TXT", 77, ["verify=1"])
    planned = plan((theirs,), txt(ZONE, "v=spf1 -all"))
    assert planned.changes[0].new.ttl == 77


@pytest.mark.parametrize("key", [(f"x.{ZONE}", "A"), (MAIL, "AAAA"), (f"other.{ZONE}", "CNAME")])
def test_nothing_is_adopted_that_is_in_nobodys_way(key):
    zone = (a(f"x.{ZONE}", "192.0.2.1"), rrset(f"other.{ZONE}", "CNAME", 300, [ZONE]))
    with pytest.raises(RecordError, match="nothing to adopt"):
        plan(zone, a(MAIL, "192.0.2.1"), adopt={key})


def test_a_cname_in_the_way_is_a_conflict_and_can_be_adopted():
    zone = (rrset(MAIL, "CNAME", 300, [f"old.{ZONE}"]),)
    (conflict,) = plan(zone, a(MAIL, "192.0.2.1")).conflicts
    assert conflict.key == (MAIL, "CNAME")
    planned = plan(zone, a(MAIL, "192.0.2.1"), adopt={conflict.key})
    assert keys(planned) == [(MAIL, "A"), (MAIL, "CNAME")]
    assert {r.key for r in applied(zone, planned.changes) if r.name == MAIL} == {(MAIL, "A")}


def test_what_is_in_the_way_of_a_cname_is_named():
    zone = (a(MAIL, "192.0.2.1"), txt(MAIL, "verify=1"))
    conflicts = plan(zone, rrset(MAIL, "CNAME", 300, [ZONE])).conflicts
    assert [c.key for c in conflicts] == [(MAIL, "A"), (MAIL, "TXT")]
    adopted = plan(zone, rrset(MAIL, "CNAME", 300, [ZONE]), adopt={c.key for c in conflicts})
    assert not adopted.blocked
    assert {r.key for r in applied(zone, adopted.changes) if r.name == MAIL} == {(MAIL, "CNAME")}


@pytest.mark.parametrize("name", [f"sub.{ZONE}", f"mail.sub.{ZONE}"])
def test_names_below_a_delegation_are_published_elsewhere(name):
    cut = rrset(f"sub.{ZONE}", "NS", 300, ["ns.example.net."])
    (conflict,) = plan((cut,), a(name, "192.0.2.1")).conflicts
    assert not conflict.adoptable
    assert "gives this name away" in conflict.sentence


@pytest.mark.parametrize(
    "wanted",
    [
        rrset(ZONE, "NS", 300, ["ns.example.net."]),
        txt(f"_acme-challenge.{ZONE}", "x"),
        txt(f"x.{LABEL}.{ZONE}", "x"),
        a("elsewhere.example.", "192.0.2.1"),
    ],
)
def test_what_is_never_planned(wanted):
    with pytest.raises(RecordError):
        plan((), wanted)


def test_challenges_and_the_apex_ns_survive_even_a_marker():
    spine = rrset(ZONE, "NS", 300, ["ns.example.net."])
    token = txt(f"_acme-challenge.{ZONE}", "token")
    forged = [mark("us", r.key, r.rdata).rrset(ZONE) for r in (spine, token)]
    assert plan((spine, token, *forged)).changes == ()


def test_the_last_mx_goes_only_when_it_is_named():
    mx = rrset(ZONE, "MX", 300, [f"10 {MAIL}"])
    null = rrset(ZONE, "MX", 300, ["0 ."])
    for wanted in ((), (null,)):
        assert [r.flag for r in plan(zone_of(mx), *wanted).refusals] == [f"last-mx={ZONE}"]
        assert plan(zone_of(mx), *wanted, allow={f"last-mx={ZONE}"}).refusals == ()
    assert plan(zone_of(null), mx).refusals == ()
    assert plan(zone_of(null)).refusals == ()


def test_a_key_that_may_be_signing_goes_only_when_it_is_named():
    key = DkimKey.parse(KEY)
    place = f"s1._domainkey.{ZONE}"
    published = zone_of(txt(place, key.text))
    other = txt(place, key.text.replace("AAAA", "BBBB", 1))
    revoked = txt(place, "v=DKIM1; p=")
    for wanted in ((), (other,), (revoked,)):
        assert [r.flag for r in plan(published, *wanted).refusals] == [f"signing-key={place}"]
    assert plan(zone_of(revoked)).refusals == ()


def test_many_deletions_go_only_when_they_are_named():
    sets = [a(f"n{n}.{ZONE}", "192.0.2.1") for n in range(20)]
    zone = zone_of(*sets)
    assert plan(zone, *sets[6:]).refusals == ()
    assert [r.flag for r in plan(zone, *sets[7:]).refusals] == [f"delete-many={ZONE}"]
    assert plan(zone, *sets[7:], limits=Limits(share=0.5)).refusals == ()
    assert plan(zone_of(*sets[:3])).refusals == ()


def test_what_is_pointed_at_comes_before_the_pointer_and_goes_after_it():
    mx = rrset(ZONE, "MX", 300, [f"10 {MAIL}"])
    assert keys(plan((), mx, a(MAIL, "192.0.2.1"))) == [(MAIL, "A"), (ZONE, "MX")]
    zone = zone_of(mx, a(MAIL, "192.0.2.1"))
    new = rrset(ZONE, "MX", 300, [f"10 zz.{ZONE}"])
    moved = plan(zone, new, a(f"zz.{ZONE}", "192.0.2.2"))
    assert keys(moved) == [(f"zz.{ZONE}", "A"), (ZONE, "MX"), (MAIL, "A")]
    assert keys(plan(zone)) == [(ZONE, "MX"), (MAIL, "A")]


def test_reasons_are_kept_value_by_value():
    entries = [
        Entry(MAIL, "A", "192.0.2.2", "second"),
        Entry(MAIL, "A", "192.0.2.1", "first"),
        Entry(MAIL, "A", "192.0.2.1", "also"),
    ]
    (each,) = collect(entries, 300)
    assert list(each.explained()) == [("192.0.2.1", "first; also"), ("192.0.2.2", "second")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([("MX", "0 ."), ("MX", f"10 {MAIL}")], "null MX beside"),
        ([("TXT", "v=spf1 -all"), ("TXT", "v=spf1 mx -all")], "two SPF records"),
        ([("CNAME", MAIL), ("A", "192.0.2.1")], "CNAME beside A"),
        ([("CNAME", MAIL), ("CNAME", ZONE)], "two CNAME"),
    ],
)
def test_contradictions_never_become_sets(values, said):
    with pytest.raises(RecordError, match=said):
        collect([Entry(f"x.{ZONE}", type_, value, "") for type_, value in values], 300)


@pytest.mark.parametrize("owner", ["", "Us", "a b", "x;y", "ü"])
def test_an_owner_that_would_break_the_marker_is_refused(owner):
    with pytest.raises(RecordError, match="an owner is"):
        plan_zone(Snapshot(ZONE, (), "1"), [a(MAIL, "192.0.2.1")], owner)

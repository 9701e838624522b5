"""Which changes wait for which, over many zones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maildns.planning.stages import Stage, stages
from maildns.provider import Change
from maildns.records import rrset

HOST, POST, BACK = "host.example.", "post.example.", "2.0.192.in-addr.arpa."


def new(name: str, type_: str, value: str) -> Change:
    return Change(None, rrset(name, type_, 300, [value]), "", unit=name)


def gone(name: str, type_: str, value: str) -> Change:
    return Change(rrset(name, type_, 300, [value]), None, "", unit=name)


def moved(name: str, type_: str, value: str, other: str) -> Change:
    return Change(rrset(name, type_, 300, [value]), rrset(name, type_, 300, [other]), "", unit=name)


def told(found: tuple[Stage, ...]) -> list[str]:
    """`+host.example.:m1` for each stage, zone and first label."""
    return [
        " ".join(
            f"{'-' if stage.removes else '+'}{zone}:{','.join(c.unit.split('.')[0] for c in changes)}"
            for zone, changes in stage.changes.items()
        )
        for stage in found
    ]


def test_zones_that_have_nothing_to_do_with_each_other_are_one_stage():
    changes = {
        HOST: [new(f"m1.{HOST}", "A", "192.0.2.1"), new(HOST, "MX", f"10 m1.{HOST}")],
        POST: [new(POST, "MX", "10 mail.example.net.")],
    }
    assert told(stages(changes)) == [f"+{HOST}:m1,host +{POST}:post"]


def test_what_another_zone_points_at_is_there_first_and_alone():
    changes = {
        POST: [new(f"_dmarc.{POST}", "TXT", "v=DMARC1; p=none"), new(POST, "MX", f"10 m1.{HOST}")],
        BACK: [new(f"1.{BACK}", "PTR", f"m1.{HOST}")],
        HOST: [new(f"m1.{HOST}", "A", "192.0.2.1"), new(f"m2.{HOST}", "A", "192.0.2.2")],
    }
    assert told(stages(changes)) == [f"+{HOST}:m1,m2", f"+{POST}:_dmarc,post +{BACK}:1"]


def test_a_chain_through_zones_is_a_stage_for_each_link():
    changes = {
        POST: [new(f"a.{POST}", "CNAME", f"b.{HOST}"), new(f"c.{POST}", "A", "192.0.2.1")],
        HOST: [new(f"b.{HOST}", "CNAME", f"c.{POST}")],
    }
    assert told(stages(changes)) == [f"+{POST}:c", f"+{HOST}:b", f"+{POST}:a"]


def test_an_spf_record_comes_after_the_one_it_includes():
    changes = {
        POST: [new(POST, "TXT", f"v=spf1 include:_spf.{HOST.rstrip('.')} -all")],
        HOST: [new(f"_spf.{HOST}", "TXT", "v=spf1 -all")],
    }
    assert told(stages(changes)) == [f"+{HOST}:_spf", f"+{POST}:post"]


def test_removals_come_last_in_all_zones_and_pointers_go_before_what_they_point_at():
    changes = {
        HOST: [gone(f"m1.{HOST}", "A", "192.0.2.1"), new(f"m2.{HOST}", "A", "192.0.2.2")],
        POST: [moved(POST, "MX", f"10 m1.{HOST}", f"10 m2.{HOST}"), gone(f"old.{POST}", "A", "192.0.2.9")],
        BACK: [gone(f"1.{BACK}", "PTR", f"m1.{HOST}")],
    }
    assert told(stages(changes)) == [
        f"+{HOST}:m2",
        f"+{POST}:post",
        f"-{POST}:old -{BACK}:1",
        f"-{HOST}:m1",
    ]


def test_names_that_point_at_each_other_do_not_wait_forever():
    changes = {
        POST: [new(f"a.{POST}", "CNAME", f"b.{HOST}")],
        HOST: [new(f"b.{HOST}", "CNAME", f"a.{POST}")],
    }
    assert sum(len(c) for stage in stages(changes) for c in stage.changes.values()) == 2


NAMES = st.sampled_from([f"{label}.{zone}" for zone in (HOST, POST, BACK) for label in "abc"])
CHANGES = st.one_of(
    st.builds(lambda n, t: new(n, "MX", f"10 {t}"), NAMES, NAMES),
    st.builds(lambda n: new(n, "A", "192.0.2.1"), NAMES),
    st.builds(lambda n, t: gone(n, "CNAME", t), NAMES, NAMES),
    st.builds(lambda n: gone(n, "A", "192.0.2.1"), NAMES),
    st.builds(lambda n, t: moved(n, "CNAME", "x.example.", t), NAMES, NAMES),
)


@given(st.lists(CHANGES, max_size=9, unique_by=lambda c: c.unit))
def test_every_change_is_made_once_and_removals_last(changes):
    zones = {zone: [c for c in changes if c.unit.endswith(zone)] for zone in (HOST, POST, BACK)}
    found = stages(zones)
    assert sorted(c.unit for s in found for cs in s.changes.values() for c in cs) == sorted(
        c.unit for c in changes
    )
    assert [s.removes for s in found] == sorted(s.removes for s in found)
    assert all(stage.changes for stage in found)

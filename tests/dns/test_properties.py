"""Laws that hold for every record and every zone, tried on a zone made of nothing but Python."""

from __future__ import annotations

from collections.abc import Iterable

import dns.message
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maildns.errors import RecordError
from maildns.names import shared
from maildns.planning.ownership import is_marker_name, read_markers
from maildns.planning.plan import applied, plan_zone
from maildns.planning.planfile import Choices, digest, read_choices, to_json
from maildns.provider import Snapshot
from maildns.records import (
    RRset,
    canonical_name,
    canonical_value,
    collect,
    from_rdata,
    rrset,
    text_tag,
    to_rdata,
)

ZONE = "example.org."

octets = st.binary(max_size=1200).map(lambda b: b.decode("utf-8", "surrogateescape"))
labels = st.text("aBz09-_", min_size=1, max_size=12)
names = st.lists(labels, min_size=1, max_size=5).map(lambda parts: ".".join(parts) + ".")
values = st.one_of(
    st.tuples(st.just("TXT"), octets),
    st.tuples(st.just("A"), st.ip_addresses(v=4).map(str)),
    st.tuples(st.just("AAAA"), st.ip_addresses(v=6).map(lambda ip: ip.exploded.upper())),
    st.tuples(st.just("MX"), st.builds("{} {}".format, st.integers(0, 65535), names)),
    st.tuples(st.just("PTR"), names),
    st.tuples(st.just("CNAME"), names),
    st.tuples(st.just("SRV"), st.builds("0 1 {} {}".format, st.integers(0, 65535), names)),
    st.tuples(st.just("TLSA"), st.binary(min_size=32, max_size=32).map(lambda b: "3 1 1 " + b.hex().upper())),
)


@given(values)
def test_a_canonical_value_is_its_own_canonical_value(pair):
    type_, value = pair
    once = canonical_value(type_, value)
    assert canonical_value(type_, once) == once


@given(values)
def test_a_value_comes_back_from_the_wire(pair):
    """A real message, written and read: chunks, compression and all."""
    type_, value = pair
    message = dns.message.Message()
    message.answer.append(dns.rrset.from_rdata("name.example.", 300, to_rdata(type_, value)))
    back = dns.message.from_wire(message.to_wire())
    assert from_rdata(back.answer[0][0]) == canonical_value(type_, value)


@given(octets)
def test_no_chunk_of_a_text_is_too_long_and_none_is_lost(text):
    strings = to_rdata("TXT", text).strings
    assert all(len(s) <= 255 for s in strings)
    assert b"".join(strings) == text.encode("utf-8", "surrogateescape")


@given(names)
def test_names_are_compared_without_regard_to_case(name):
    assert canonical_name(name.upper()) == canonical_name(name.lower()) == name.lower()


@given(st.lists(values, min_size=1, max_size=6))
def test_collected_reasons_belong_to_their_values(pairs):
    from maildns.records import Entry  # noqa: PLC0415

    entries = [Entry(f"n{i}.example.", type_, value, f"why {i}") for i, (type_, value) in enumerate(pairs)]
    for each in collect(entries, 300):
        number = each.name.removesuffix(".example.").removeprefix("n")
        assert list(each.explained()) == [(canonical_value(*pairs[int(number)]), f"why {number}")]


# A world of few names and values, so that strangers and we meet everywhere.

PLACES = st.sampled_from([ZONE, f"a.{ZONE}", f"*.a.{ZONE}", f"_dmarc.{ZONE}", f"_acme-challenge.a.{ZONE}"])
POOL = {
    "A": ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
    "MX": ["10 a.example.org.", "0 ."],
    "CNAME": ["b.example.org.", "c.example.org."],
    "TXT": ["v=spf1 -all", "v=spf1 a -all", "verify=1", "verify=2", "v=DMARC1; p=none"],
}
records = st.sampled_from(sorted(POOL)).flatmap(
    lambda t: st.tuples(PLACES, st.just(t), st.sampled_from(POOL[t]))
)
Records = frozenset[tuple[str, str, str]]
steps = st.one_of(
    st.tuples(st.just("stranger adds"), records),
    st.tuples(st.just("stranger deletes"), records),
    st.tuples(st.just("we want"), st.frozensets(records, max_size=6)),
)


def _sets(wanted: Iterable[tuple[str, str, str]], ttl: int = 300) -> list[RRset]:
    table: dict[tuple[str, str], set[str]] = {}
    for name, type_, value in wanted:
        table.setdefault((name, type_), set()).add(value)
    return [rrset(*key, ttl, held) for key, held in table.items()]


def _flat(zone: Iterable[RRset]) -> set[tuple[str, str, str]]:
    return {(r.name, r.type, v) for r in zone for v in r.rdata if not is_marker_name(r.name, ZONE)}


def _stranger(zone: tuple[RRset, ...], how: str, record: tuple[str, str, str]) -> tuple[RRset, ...]:
    """What a server would let a stranger do: no CNAME beside other data."""
    markers = [r for r in zone if is_marker_name(r.name, ZONE)]
    flat = _flat(zone)
    if how == "stranger deletes":
        flat.discard(record)
    elif all(
        name != record[0] or (t == record[1] != "CNAME") or (t, record[1]) == ("A", "TXT")
        for name, t, _ in flat
    ):
        flat.add(record)
    return (*_sets(flat), *markers)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=14))
def test_a_plan_is_idempotent_and_strangers_keep_what_is_theirs(story):
    zone: tuple[RRset, ...] = ()
    theirs: set[tuple[str, str, str]] = set()
    for how, what in story:
        if how != "we want":
            before = _flat(zone)
            zone = _stranger(zone, how, what)
            theirs |= _flat(zone) - before
            theirs &= _flat(zone)
            continue
        try:
            wanted = collect_or_skip(what)
            plan = plan_zone(Snapshot(ZONE, zone, "1"), wanted, "us")
        except RecordError:
            continue
        if plan.conflicts:
            assert _names_what_stands_in_the_way(plan.conflicts, zone)
            continue
        zone = applied(zone, plan.changes)
        theirs -= {(r.name, r.type, v) for r in wanted for v in r.rdata}  # exactly what we want becomes ours
        assert theirs <= _flat(zone)
        assert _flat(wanted) == _flat(zone) - theirs
        assert {m.key for m in read_markers(zone, ZONE)} == {r.key for r in wanted}
        again = plan_zone(Snapshot(ZONE, zone, "2"), wanted, "us")
        assert (again.changes, again.conflicts) == ((), ())


def collect_or_skip(wanted: Iterable[tuple[str, str, str]]) -> tuple[RRset, ...]:
    from maildns.records import Entry  # noqa: PLC0415

    return collect([Entry(*record, reason="") for record in wanted], 300)


def _names_what_stands_in_the_way(conflicts, zone) -> bool:
    held = {r.key for r in zone}
    return all(c.key in held for c in conflicts)


@given(st.frozensets(records, max_size=5), st.frozensets(records, max_size=5))
def test_shared_sets_never_hold_two_values_of_a_kind_that_we_put_there(first, second):
    zone: tuple[RRset, ...] = tuple(_sets(r for r in first if r[1] == "TXT"))
    try:
        wanted = collect_or_skip(r for r in second if r[1] == "TXT")
        plan = plan_zone(Snapshot(ZONE, zone, "1"), wanted, "us")
    except RecordError:
        return
    if not plan.conflicts:
        after = {r.key: r for r in applied(zone, plan.changes)}
        for each in wanted:
            kinds = [text_tag(v) for v in after[each.key].rdata - each.rdata]
            assert not {text_tag(v) for v in each.rdata} & set(kinds) or not shared(*each.key)


@given(st.frozensets(records, max_size=6))
def test_a_saved_plan_says_what_it_would_do(wanted):
    try:
        plan = plan_zone(Snapshot(ZONE, (), "7"), collect_or_skip(wanted), "us")
    except RecordError:
        return
    choices = Choices((ZONE,), ((ZONE, "A"),), ("last-mx=x.",))
    assert read_choices(to_json([plan], choices)) == (digest([plan]), choices)


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        ("A", "10.0.0.999", "not a value of type A"),
        ("MX", "10 mail", "ends in a dot"),
        ("MX", "mail.example.org.", "not a value of type MX"),
        ("NOSUCH", "x", "not a value of type NOSUCH"),
        ("TXT", "x" * 65536, "fits no TXT record"),
        ("TXT", "\ud800", "not octets"),
    ],
)
def test_what_is_no_value_is_said_in_one_line(type_, value, said):
    with pytest.raises(RecordError, match=said) as error:
        canonical_value(type_, value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["relative", "a..b.", "x" * 64 + ".example.", "bücher.example.", ""])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(RecordError):
        canonical_name(name)

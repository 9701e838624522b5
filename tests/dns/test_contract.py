"""The provider contract: one story that every provider must live through.

Each step applies a plan and then plans again, which must find nothing to do. Records of somebody
else lie beside ours at every shared name and are the same at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from maildns.planning.ownership import is_marker_name
from maildns.planning.plan import ZonePlan, plan_zone
from maildns.provider import ConflictError
from maildns.records import RrKey, RRset, rrset
from tests.dns.cases import CASES, dkim_text, wanted
from tests.dns.target import Target


def publish(target: Target, desired: Iterable[RRset], **options: object) -> ZonePlan:
    """Plan, apply, and see that a second plan is empty and the zone holds what was wanted.

    What a plan refuses to do without its flag is no matter of the provider's, and done here.
    """
    provider, zone, desired = target.provider, target.zone, tuple(desired)
    assert provider.audit(desired) == ()
    plan = plan_zone(provider.fetch(zone), desired, "us", **options)
    assert plan.conflicts == ()
    provider.apply(zone, plan.changes, plan.etag)
    after = provider.fetch(zone)
    again = plan_zone(after, desired, "us")
    assert (again.changes, again.conflicts) == ((), ())
    table = {r.key: r for r in after.rrsets}
    for each in desired:
        assert each.rdata <= table[each.key].rdata
    return plan


def held(target: Target) -> dict[RrKey, RRset]:
    """What the zone holds; markers aside."""
    snapshot = target.provider.fetch(target.zone)
    return {r.key: r for r in snapshot.rrsets if not is_marker_name(r.name, target.zone)}


def test_a_zone_lives_through_everything_a_fleet_does_to_it(target):
    """With somebody else at the same names all the time."""
    zone = target.zone
    mail = f"mail.{zone}"
    target.foreign(
        f'{zone} 600 TXT "google-site-verification=abc"',
        f"{zone} 600 A 192.0.2.80",
        f"www.{zone} 600 CNAME shop.example.net.",
        f'_acme-challenge.{zone} 60 TXT "a-token"',
        f'{mail} 600 TXT "printer-room=3"',
        f"{mail} 600 AAAA 2001:db8::66",
        f"sub.{zone} 600 NS ns1.example.net.",
        f"sub.{zone} 600 NS ns2.example.net.",
        f"*.{zone} 600 A 192.0.2.81",
        f'theirs._domainkey.{zone} 600 TXT "v=DKIM1; p="',
    )
    foreign = held(target)
    a = rrset(mail, "A", 300, ["192.0.2.1"])
    mx = rrset(zone, "MX", 300, [f"10 {mail}"])

    publish(target, [a, mx])  # creation, apex included
    a = rrset(mail, "A", 300, ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    publish(target, [a, mx])  # many values
    a = rrset(mail, "A", 900, ["192.0.2.2"])
    publish(target, [a, mx])  # TTL and values
    a = rrset(mail, "A", 60, ["192.0.2.2"])
    assert [c.reason for c in publish(target, [a, mx]).changes] == ["TTL 900 becomes 60"]
    assert held(target)[a.key] == a
    wild = rrset(f"*.click.{zone}", "AAAA", 300, ["2001:db8::1"])
    wild_mx = rrset(f"*.{zone}", "MX", 300, ["0 ."])
    spf = rrset(zone, "TXT", 600, ["v=spf1 a -all"])
    helo = rrset(mail, "TXT", 600, ["v=spf1 a -all"])
    dmarc = rrset(f"_dmarc.{zone}", "TXT", 300, ["v=DMARC1; p=none"])
    key = rrset(f"ours._domainkey.{zone}", "TXT", 300, [dkim_text(2048)])
    ours = [a, mx, wild, wild_mx, spf, helo, dmarc, key]
    publish(target, ours)
    spf = rrset(zone, "TXT", 600, ["v=spf1 mx -all"])
    ours = [spf if r.key == spf.key else r for r in ours]
    publish(target, ours)
    assert held(target)[zone, "TXT"].rdata == {"google-site-verification=abc", "v=spf1 mx -all"}
    target.foreign(f'{mail} 600 TXT "printer-room=4"')  # a neighbour's neighbour
    assert publish(target, ours).changes == ()
    target.foreign_delete(f'{mail} 600 TXT "printer-room=4"')
    assert publish(target, ours).changes == ()

    publish(target, [])
    assert held(target) == foreign


def test_whatever_a_provider_does_not_document_as_impossible_it_holds(target):
    """Every kind of record comes, is edited and goes; what cannot be held is refused beforehand."""
    sets = wanted(target.zone)
    assert set(target.cannot) <= set(CASES)
    refused = {case: target.provider.audit([each]) for case, each in sets.items()}
    assert {case for case, said in refused.items() if said} == set(target.cannot)
    for case, sentence in target.cannot.items():
        assert sentence in " ".join(refused[case])
        assert sets[case].name in " ".join(refused[case])
    spine = held(target)
    can = {case: each for case, each in sets.items() if case not in target.cannot}
    publish(target, can.values())
    assert held(target) == spine | {r.key: r for r in can.values()}
    edited = {c: rrset(r.name, r.type, 700, _edited(r)) for c, r in can.items() if c.startswith("text-")}
    publish(target, (can | edited).values())
    slower = [rrset(r.name, r.type, 1200, r.rdata) for r in can.values()]
    publish(target, slower)  # TTL alone, or the first text again
    assert held(target) == spine | {r.key: r for r in slower}
    publish(target, [])
    assert held(target) == spine


def _edited(each: RRset) -> list[str]:
    """Somewhat shorter texts, or one more letter where there is nothing to take away."""
    return sorted({v[1:] if len(v) > 3 else v + "x" for v in each.rdata})


A, TXT, MX = ("A", "192.0.2.1"), ("TXT", "v=spf1 a -all"), ("MX", "10 mail.example.net.")
ALIAS, OTHER_ALIAS = ("CNAME", "elsewhere.example.net."), ("CNAME", "another.example.net.")
AAAA, SRV, CAA = ("AAAA", "2001:db8::1"), ("SRV", "0 1 465 mail.example.net."), ("CAA", '0 issue ";"')

SWAPS: dict[str, list[list[tuple[str, str]]]] = {
    "host": [[A, TXT], [ALIAS], [AAAA, MX], [OTHER_ALIAS], [A]],
    "*.wild": [[ALIAS], [A, AAAA, TXT], [ALIAS], [MX], [OTHER_ALIAS]],
    "_alias.key": [[TXT], [ALIAS], [TXT], [OTHER_ALIAS], [TXT]],
    "family": [[A], [AAAA], [A, AAAA], [TXT], [A]],
    "mixed": [[A, AAAA, TXT, MX, CAA], [ALIAS], [A, AAAA, TXT, MX, CAA], [MX, CAA], [ALIAS]],
    "_srv._tcp": [[SRV], [ALIAS], [SRV], [], [SRV]],
    "comes-and-goes": [[ALIAS], [], [A], [], [ALIAS]],
}
"""At each name, what is wanted there step by step. The steps of all names are made together."""


def test_a_type_becomes_another_at_a_name_and_back(target):
    zone = target.zone
    spine = held(target)
    names = [f"{label}.{zone}" for label in SWAPS]
    for step in zip(*SWAPS.values(), strict=True):
        pairs = zip(names, step, strict=True)
        desired = [rrset(name, type_, 300, [value]) for name, types in pairs for type_, value in types]
        publish(target, desired)
        assert held(target) == spine | {r.key: r for r in desired}


def test_a_key_is_rotated_and_goes_however_long_it_is(target):
    zone = target.zone
    for bits in (2048, 4096):
        if f"dkim-{bits}" in target.cannot:
            continue
        first, second = (
            rrset(f"s{n}._domainkey.{zone}", "TXT", 300, [dkim_text(bits, seed=n)]) for n in (1, 2)
        )
        revoked = rrset(first.name, "TXT", 300, ["v=DKIM1; p="])
        for keys in ([first], [first, second], [revoked, second], [second], []):
            publish(target, keys)
        assert not any("_domainkey" in name for name, _ in held(target))


def test_what_somebody_typed_in_another_spelling_is_taken_over_changed_and_let_go(target):
    """Capitals in names and values, odd chunks: the same records, so only their marker is missing."""
    zone = target.zone
    spine = held(target)
    big = zone.upper()
    target.foreign(
        f"MAIL.{big} 300 A 192.0.2.1",
        f"{big} 300 MX 10 Mail.{zone}",
        f"Click.{zone} 300 CNAME MAIL.{big}",
        f"*.Wild.{zone} 300 AAAA 2001:DB8:0:0::0001",
        f"XN--Bcher-KVA.{zone} 300 MX 10 MAIL.XN--BCHER-KVA.example.",
        f"_25._TCP.mail.{zone} 300 TLSA 3 1 1 {'AB' * 32}",
        f'_DMARC.{zone} 300 TXT "v=DM" "ARC1; p=none"',
        f"Theirs.{zone} 300 MX 10 MX.Example.NET.",
    )
    same = [
        rrset(f"mail.{zone}", "A", 300, ["192.0.2.1"]),
        rrset(zone, "MX", 300, [f"10 mail.{zone}"]),
        rrset(f"click.{zone}", "CNAME", 300, [f"mail.{zone}"]),
        rrset(f"*.wild.{zone}", "AAAA", 300, ["2001:db8::1"]),
        rrset(f"xn--bcher-kva.{zone}", "MX", 300, ["10 mail.xn--bcher-kva.example."]),
        rrset(f"_25._tcp.mail.{zone}", "TLSA", 300, ["3 1 1 " + "ab" * 32]),
        rrset(f"_dmarc.{zone}", "TXT", 300, ["v=DMARC1; p=none"]),
    ]
    taken_over = publish(target, same)
    assert all(is_marker_name(c.key[0], zone) for c in taken_over.changes)
    assert len(taken_over.changes) == len(same)
    publish(target, [rrset(r.name, r.type, 900, r.rdata) for r in same])
    moved = [
        rrset(f"mail.{zone}", "A", 900, ["192.0.2.2"]),
        rrset(zone, "MX", 900, [f"20 mail.{zone}"]),
        rrset(f"click.{zone}", "CNAME", 900, ["mail.example.net."]),
        rrset(f"_dmarc.{zone}", "TXT", 900, ["v=DMARC1; p=reject"]),
    ]
    publish(target, moved)
    publish(target, [])
    theirs = rrset(f"theirs.{zone}", "MX", 300, ["10 mx.example.net."])
    assert held(target) == spine | {theirs.key: theirs}


def test_no_record_is_lost_where_one_page_ends_and_the_next_begins(target):
    """At and around 100 records, then with 1,201 of ours among them."""
    zone = target.zone
    a = rrset(f"ours.{zone}", "A", 300, ["192.0.2.1"])
    publish(target, [a])
    count = sum(len(r.rdata) for r in target.provider.fetch(zone).rrsets)
    target.foreign(*(f"f{n}.{zone} 300 A 192.0.2.9" for n in range(count, 96)))
    for n in range(96, 104):  # whatever a provider counts: records, sets, with or without SOA, NS and markers
        target.foreign(f"f{n}.{zone} 300 A 192.0.2.9")
        a = rrset(a.name, "A", 300 + n, ["192.0.2.1"])
        publish(target, [a])
    foreign = held(target)
    assert sum(name.startswith("f") for name, _ in foreign) == 104 - count
    many = [rrset(f"n{n}.{zone}", "A", 300, [f"192.0.2.{n % 250}"]) for n in range(1140)]
    many += [a, rrset(f"sixty.{zone}", "A", 300, [f"192.0.2.{n}" for n in range(60)])]
    assert sum(len(r.rdata) for r in many) == 1201
    publish(target, many)
    assert held(target) == foreign | {r.key: r for r in many}
    publish(target, [])
    assert held(target) == {key: r for key, r in foreign.items() if key != a.key}


def test_an_edit_between_plan_and_apply_is_refused_and_nothing_is_done(target):
    """Wherever the edit was; also where the plan takes several batches and its last one is hit."""
    zone = target.zone
    ours = rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])
    publish(target, [ours])
    large = [rrset(f"_k{n}.{zone}", "TXT", 300, [f"{n}" + "y" * 1500]) for n in range(60)]
    replaced = rrset(ours.name, "A", 300, ["192.0.2.2"])
    plan_from = [*large, replaced, rrset(f"z.{zone}", "A", 300, ["192.0.2.3"])]
    for edit, line in (
        (target.foreign, f"b.{zone} 300 A 192.0.2.2"),  # elsewhere
        (target.foreign, f"a.{zone} 300 A 192.0.2.66"),  # in a set that is to change
        (target.foreign, f"z.{zone} 300 A 192.0.2.67"),  # where we want to be new
        (target.foreign_delete, f"a.{zone} 300 A 192.0.2.1"),  # our own record goes
    ):
        plan = plan_zone(target.provider.fetch(zone), plan_from, "us", adopt=_foreign_keys(target, plan_from))
        edit(line)
        before = target.provider.fetch(zone).rrsets
        with pytest.raises(ConflictError, match="plan again"):
            target.provider.apply(zone, plan.changes, plan.etag)
        assert target.provider.fetch(zone).rrsets == before
    publish(target, plan_from, adopt=_foreign_keys(target, plan_from))  # planned again, it is done


def _foreign_keys(target: Target, desired: Iterable[RRset]) -> set[RrKey]:
    """The sets that hold something in our way by now."""
    provider, zone = target.provider, target.zone
    return {c.key for c in plan_zone(provider.fetch(zone), desired, "us").conflicts}


def test_a_plan_for_nothing_does_nothing(target):
    before = target.provider.fetch(target.zone)
    target.provider.apply(target.zone, (), before.etag)
    assert target.provider.fetch(target.zone) == before

"""The provider contract: one story that every provider must live through.

Each step applies a plan and then plans again, which must find nothing to do. Records of somebody
else lie beside ours at every shared name and are the same at the end.
"""

from __future__ import annotations

import pytest

from maildns.plan import ZonePlan, plan_zone
from maildns.provider import ConflictError
from maildns.records import RRset, rrset


def publish(target, desired: list[RRset], **options: object) -> ZonePlan:
    """Plan, apply, and see that a second plan is empty and the zone holds what was wanted."""
    provider, zone = target.provider, target.zone
    plan = plan_zone(provider.fetch(zone), desired, "us", **options)
    assert not plan.blocked, plan
    provider.apply(zone, plan.changes, plan.etag)
    after = provider.fetch(zone)
    again = plan_zone(after, desired, "us")
    assert (again.changes, again.conflicts) == ((), ())
    held = {r.key: r for r in after.rrsets}
    for each in desired:
        assert each.rdata <= held[each.key].rdata
    return plan


def held(target) -> dict[tuple[str, str], RRset]:
    return {r.key: r for r in target.provider.fetch(target.zone).rrsets}


def test_a_zone_lives_through_everything_a_fleet_does_to_it(target):
    zone = target.zone
    target.foreign(
        f'{zone} 600 TXT "google-site-verification=abc"',
        f"www.{zone} 600 CNAME shop.example.net.",
        f'_acme-challenge.{zone} 60 TXT "a-token"',
        f'mail.{zone} 600 TXT "printer-room=3"',
    )
    foreign = {key: r for key, r in held(target).items() if key[1] != "NS"}
    mail = f"mail.{zone}"
    a = rrset(mail, "A", 300, ["192.0.2.1"])
    mx = rrset(zone, "MX", 300, [f"10 {mail}"])

    publish(target, [a, mx])  # creation, apex included
    a = rrset(mail, "A", 300, ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    publish(target, [a, mx])  # many values
    a = rrset(mail, "A", 900, ["192.0.2.2"])
    publish(target, [a, mx])  # TTL and values
    a = rrset(mail, "A", 60, ["192.0.2.2"])
    assert [c.reason for c in publish(target, [a, mx]).changes] == ["TTL 900 becomes 60"]
    wild = rrset(f"*.click.{zone}", "AAAA", 300, ["2001:db8::1"])
    spf = rrset(zone, "TXT", 300, ["v=spf1 a -all"])
    helo = rrset(mail, "TXT", 300, ["v=spf1 a -all"])
    dmarc = rrset(f"_dmarc.{zone}", "TXT", 300, ["v=DMARC1; p=none"])
    publish(target, [a, mx, wild, spf, helo, dmarc])
    spf = rrset(zone, "TXT", 300, ["v=spf1 mx -all"])
    publish(target, [a, mx, wild, spf, helo, dmarc])
    assert held(target)[zone, "TXT"].rdata == {"google-site-verification=abc", "v=spf1 mx -all"}

    publish(target, [], allow={f"delete-many={zone}", f"last-mx={zone}"})
    left = {key: r for key, r in held(target).items() if key[1] != "NS"}
    assert left == foreign | {k: v for k, v in left.items() if k == (f"ns.{zone}", "A")}


def test_a_type_becomes_another_at_a_name_and_back(target):
    name = f"t.{target.zone}"
    for wanted in (
        [rrset(name, "A", 300, ["192.0.2.1"]), rrset(name, "TXT", 300, ["v=spf1 a -all"])],
        [rrset(name, "CNAME", 300, ["elsewhere.example.net."])],
        [rrset(name, "AAAA", 300, ["2001:db8::1"]), rrset(name, "MX", 300, ["0 ."])],
        [rrset(name, "CNAME", 300, ["another.example.net."])],
        [rrset(name, "A", 300, ["192.0.2.9"])],
    ):
        publish(target, wanted, allow={f"last-mx={name}"})
        assert {t for n, t in held(target) if n == name} == {r.type for r in wanted}


TEXTS = [
    "",
    " blank at either end ",
    'quo"ted; semi\\colon \\" both',
    "ünïcode and \udcff an octet that is no UTF-8",
    *("x" * n for n in (254, 255, 256, 511, 765, 4000)),
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda t: f"{len(t)}-{t[:5].strip()!a}")
def test_a_text_comes_back_octet_by_octet(target, text):
    wanted = rrset(f"_t.{target.zone}", "TXT", 300, [text])
    publish(target, [wanted])
    assert held(target)[wanted.key] == wanted


def test_a_foreign_text_in_odd_chunks_is_taken_over_and_let_go(target):
    name = f"_dmarc.{target.zone}"
    target.foreign(f'{name} 300 TXT "v=DM" "ARC1; p=none"')
    publish(target, [rrset(name, "TXT", 300, ["v=DMARC1; p=none"])])
    publish(target, [rrset(name, "TXT", 300, ["v=DMARC1; p=reject"])])
    publish(target, [])
    assert (name, "TXT") not in held(target)


def test_five_hundred_names_and_texts_beyond_one_message(target):
    many = [rrset(f"n{n}.{target.zone}", "A", 300, [f"192.0.2.{n % 250}"]) for n in range(500)]
    big = [rrset(f"_k{n}.{target.zone}", "TXT", 300, ["y" * 3000]) for n in range(40)]
    publish(target, many + big)


def test_an_edit_between_plan_and_apply_is_refused_and_nothing_is_done(target):
    zone = target.zone
    plan = plan_zone(target.provider.fetch(zone), [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])], "us")
    target.foreign(f"b.{zone} 300 A 192.0.2.2")
    before = held(target)
    with pytest.raises(ConflictError, match="plan again"):
        target.provider.apply(zone, plan.changes, plan.etag)
    assert held(target) == before

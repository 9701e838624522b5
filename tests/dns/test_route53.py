"""What only Route 53 has: sets that are more than records, its spelling, and its limits."""

from __future__ import annotations

import pytest

from maildns.errors import RecordError
from maildns.planning.plan import plan_zone
from maildns.provider import Change, ProviderError
from maildns.providers.route53 import Route53
from maildns.records import RRset, rrset
from tests.dns.route53 import CHANGE, LIST, an_a, apply, planned, simple

pytestmark = pytest.mark.usefixtures("hurried")


ALIAS = {"AliasTarget": {"HostedZoneId": "ZELB", "DNSName": "lb.example.net.", "EvaluateTargetHealth": False}}
POLICIES = [
    {"Weight": 1},
    {"Region": "eu-west-1"},
    {"GeoLocation": {"CountryCode": "DE"}},
    {"Failover": "PRIMARY"},
    {"MultiValueAnswer": True},
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: next(iter(p)))
def test_a_set_with_a_routing_policy_is_a_conflict_where_we_want_one_and_is_never_touched(
    hosted, hand, policy
):
    name = f"a.{hosted.zone}"
    hand.change(hosted.zone, "CREATE", simple(name, SetIdentifier="first", **policy))
    before = hand.sets(hosted.zone)
    (conflict,) = planned(hosted, an_a(hosted)).conflicts
    assert conflict.key == (name, "A")
    assert "a set with a routing policy (first)" in conflict.sentence
    assert not conflict.adoptable
    with pytest.raises(RecordError, match="cannot be adopted"):
        plan_zone(hosted.provider.fetch(hosted.zone), [an_a(hosted)], "us", adopt={(name, "A")})
    apply(hosted, rrset(name, "TXT", 300, ["v=spf1 -all"]))  # beside it, we may
    apply(hosted)
    assert hand.sets(hosted.zone) == before


def test_an_alias_at_the_apex_stays_and_our_records_lie_beside_it(hosted, hand):
    zone = hosted.zone
    hand.change(zone, "CREATE", {"Name": zone, "Type": "A", **ALIAS})
    before = hand.sets(zone)
    mx = rrset(zone, "MX", 300, [f"10 mail.{zone}"])
    apply(hosted, mx)
    (conflict,) = planned(hosted, mx, rrset(zone, "A", 300, ["192.0.2.1"])).conflicts
    assert "is an alias of lb.example.net., which is not ours to change" in conflict.sentence
    plan = plan_zone(hosted.provider.fetch(zone), [], "us", allow={f"last-mx={zone}"})
    hosted.provider.apply(zone, plan.changes, plan.etag)
    assert hand.sets(zone) == before


def test_an_alias_in_the_way_of_a_cname_cannot_be_adopted(hosted, hand):
    name = f"www.{hosted.zone}"
    hand.change(hosted.zone, "CREATE", {"Name": name, "Type": "A", **ALIAS})
    (conflict,) = planned(hosted, rrset(name, "CNAME", 300, ["elsewhere.example.net."])).conflicts
    assert (conflict.key, conflict.adoptable) == ((name, "A"), False)


def test_a_text_set_with_a_routing_policy_is_not_added_to(hosted, hand):
    name = f"mail.{hosted.zone}"
    more = {"SetIdentifier": "first", "MultiValueAnswer": True}
    hand.change(hosted.zone, "CREATE", simple(name, "TXT", '"printer-room=3"', **more))
    assert [c.key for c in planned(hosted, rrset(name, "TXT", 300, ["v=spf1 -all"])).conflicts] == [
        (name, "TXT")
    ]


def test_our_record_that_somebody_made_an_alias_is_let_go_and_the_alias_stays(hosted, hand):
    apply(hosted, an_a(hosted))
    name = f"a.{hosted.zone}"
    hand.change(hosted.zone, "DELETE", simple(name, value="192.0.2.1", TTL=300))
    hand.change(hosted.zone, "CREATE", {"Name": name, "Type": "A", **ALIAS})
    before = hand.sets(hosted.zone)[name, "A"]
    apply(hosted)
    assert hand.sets(hosted.zone)[name, "A"] == before


def test_apply_refuses_an_opaque_set_whoever_asks(hosted, hand, amazon):
    hand.change(hosted.zone, "CREATE", {"Name": f"a.{hosted.zone}", "Type": "A", **ALIAS})
    snapshot = hosted.provider.fetch(hosted.zone)
    old = next(r for r in snapshot.rrsets if r.name.startswith("a."))
    amazon.calls.clear()
    with pytest.raises(ProviderError, match=r"an alias of lb\.example\.net\., which is never touched"):
        hosted.provider.apply(hosted.zone, [Change(old, an_a(hosted), "")], snapshot.etag)
    assert amazon.calls[CHANGE] == 0


def test_values_that_cannot_be_read_are_somebody_elses(hosted, amazon):
    zone = next(z for z in amazon.zones.values() if z.name == hosted.zone)
    zone.add_rrset({"Name": f"odd.{hosted.zone}", "Type": "MX", "TTL": 60, "ResourceRecords": ["nonsense"]})
    (conflict,) = planned(hosted, rrset(f"odd.{hosted.zone}", "MX", 300, ["0 ."])).conflicts
    assert "a set whose values cannot be read" in conflict.sentence
    apply(hosted, an_a(hosted))


# Spelling


def test_names_come_and_go_in_octal_and_values_without_their_last_dot_are_absolute(hosted, hand):
    zone = hosted.zone
    odd = rf"a\032b\@\046c.{zone}"
    wanted = [
        rrset(f"*.click.{zone}", "CNAME", 300, [rf"x\.y\255.{zone}"]),
        rrset(f"_25._tcp.{zone}", "TLSA", 300, ["3 0 0 " + "5c" * 300]),
        rrset(odd, "CAA", 300, ['0 issue "ca.example; a=\\"b\\\\\\001"']),
    ]
    apply(hosted, *wanted)
    held = hand.sets(zone)
    assert held[f"\\052.click.{zone}", "CNAME"]["ResourceRecords"] == [{"Value": rf"x\056y\377.{zone}"}]
    tlsa = {"Value": "3 0 0 " + "5c" * 300}  # in one word, however long
    assert held[f"_25._tcp.{zone}", "TLSA"]["ResourceRecords"] == [tlsa]
    (caa,) = (each for (_, type_), each in held.items() if type_ == "CAA")
    assert caa["Name"] == rf"a\040b\100\056c.{zone}"
    assert caa["ResourceRecords"] == [{"Value": r'0 issue "ca.example; a=\"b\\\001"'}]
    table = {r.key: r for r in hosted.provider.fetch(zone).rrsets}
    assert all(table[r.key] == r for r in wanted)
    hand.change(zone, "CREATE", simple(f"x.{zone}", "MX", "10 Mail.Example.NET"))
    table = {r.key: r for r in hosted.provider.fetch(zone).rrsets}
    assert table[f"x.{zone}", "MX"].rdata == {"10 mail.example.net."}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('"a" "b"', "ab"),
        ('"a""b"', "ab"),
        ("bare", "bare"),
        (r'"\303\274 \101\\101"', r"ü A\101"),
        (r'"\042\"\;"', '"";'),
    ],
)
def test_a_text_is_read_in_every_form_that_amazon_lists(hosted, amazon, typed, meant):
    zone = next(z for z in amazon.zones.values() if z.name == hosted.zone)
    zone.add_rrset({"Name": f"_t.{hosted.zone}", "Type": "TXT", "TTL": 60, "ResourceRecords": [typed]})
    table = {r.key: r for r in hosted.provider.fetch(hosted.zone).rrsets}
    assert table[f"_t.{hosted.zone}", "TXT"].rdata == {meant}


def test_what_route_53_cannot_hold_is_said_beforehand():
    provider = Route53()
    cases = {
        "no records of type SMIMEA": rrset("a.example.", "SMIMEA", 1, ["3 1 1 " + "00" * 32]),
        "401 values; Route 53 holds 400": rrset(
            "a.example.", "A", 1, [f"10.0.{n // 250}.{n % 250}" for n in range(401)]
        ),
        "4001 characters as it is sent": rrset("a.example.", "TXT", 1, ["x" * (4001 - 16 * 2 - 15)]),
        "one request of Route 53 takes 32000": rrset(
            "a.example.", "TXT", 1, ["x" * 3000 + str(n) for n in range(11)]
        ),
        "no wildcard for NS": rrset("*.example.", "NS", 1, ["ns.example.net."]),
    }
    for said, each in cases.items():
        (sentence,) = provider.audit([each])
        assert sentence.startswith(f"{each.name} {each.type}: ")
        assert said in sentence
    assert provider.audit([rrset("a.example.", "TXT", 1, ["x" * (4000 - 16 * 2 - 15)])]) == ()


# Limits


def test_batches_are_as_full_as_the_characters_allow(hosted, amazon):
    many = [an_a(hosted, f"n{n}") for n in range(600)]  # each with its marker, some 90 characters
    plan = planned(hosted, *many)
    amazon.calls.clear()
    amazon.largest = (0, 0)
    hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert amazon.calls == {LIST: 1, CHANGE: 2}
    assert 31_900 < amazon.largest[1] <= 32_000
    assert planned(hosted, *many).changes == ()


def test_batches_are_as_full_as_the_number_of_values_allows(hosted, amazon):
    def sixty(ttl: int) -> list[RRset]:
        ips = [f"192.0.2.{n}" for n in range(60)]
        return [rrset(f"n{n}.{hosted.zone}", "A", ttl, ips) for n in range(20)]

    apply(hosted, *sixty(300))
    plan = planned(hosted, *sixty(600))
    amazon.calls.clear()
    amazon.largest = (0, 0)
    hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 3  # eight sets of 60 values, out and in again, are 960
    assert amazon.largest[0] == 960


def test_what_cannot_go_in_one_batch_is_refused_before_anything_is_sent(hosted, amazon):
    name = f"big.{hosted.zone}"

    def big(letter: str) -> RRset:
        return rrset(name, "TXT", 300, [letter * 3000 + str(n) for n in range(6)])

    apply(hosted, big("x"))
    plan = planned(hosted, an_a(hosted), big("y"))
    amazon.calls.clear()
    with pytest.raises(ProviderError, match=rf"{name}: what changes here is too large .* nothing was done"):
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 0


@pytest.mark.parametrize(
    ("name", "type_", "value", "said"),
    [
        ("alias", "A", "192.0.2.1", "a CNAME beside A"),
        ("x", "SMIMEA", "3 1 1 " + "00" * 32, "no records of type SMIMEA"),
    ],
)
def test_what_moto_would_take_and_amazon_would_not_is_refused_here(hosted, amazon, name, type_, value, said):
    apply(hosted, rrset(f"alias.{hosted.zone}", "CNAME", 300, ["a.example.net."]))
    amazon.calls.clear()
    new = rrset(f"{name}.{hosted.zone}", type_, 300, [value])
    with pytest.raises(ProviderError, match=said):
        hosted.provider.apply(hosted.zone, [Change(None, new, "")], hosted.provider.fetch(hosted.zone).etag)
    assert amazon.calls[CHANGE] == 0


@pytest.mark.parametrize("value", ["192.0.2.999", "example.net."])
def test_a_value_that_is_none_is_refused_before_anything_is_sent(hosted, amazon, value):
    bad = RRset(f"a.{hosted.zone}", "A", 300, frozenset({value}))
    etag = hosted.provider.fetch(hosted.zone).etag
    with pytest.raises(RecordError, match="not a value of type A"):
        hosted.provider.apply(hosted.zone, [Change(None, bad, "")], etag)
    assert amazon.calls[CHANGE] == 0

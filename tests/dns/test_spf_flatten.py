"""Flattening: an include becomes what it stands for, where addresses can say that."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maildns.errors import RecordError
from maildns.policy.spf import LookupFailedError, Result, Spf, SpfSyntaxError, StaticLookup, check_host
from maildns.policy.spf.flatten import (
    BUDGET,
    Flattened,
    collapsed,
    flat_entries,
    flatten,
    lost_share,
    published,
)
from tests.dns.spf_corpus import COMMON, records

NAME = "spf.example.net."


def flat(policy: str, more: str = "") -> Flattened:
    return flatten(NAME, StaticLookup(records(f"{COMMON}\nspf.example.net TXT {policy}\n{more}"),
                                      [("slow.example.net", t) for t in ("A", "MX", "TXT")]))  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "networks"),
    [
        ("v=spf1 -all", []),
        ("v=spf1 ip4:192.0.2.1 ip4:192.0.2.0 ip6:2001:db8::/32 ~all", ["192.0.2.0/31", "2001:db8::/32"]),
        ("v=spf1 ip4:192.0.2.9/24 ip4:192.0.2.77", ["192.0.2.0/24"]),
        ("v=spf1 a:mail.example.org/24//64 -all", ["192.0.2.0/24", "2001:db8::/64"]),
        ("v=spf1 a -all", []),
        ("v=spf1 mx:example.org -all",
         ["192.0.2.10/32", "198.51.100.7/32", "2001:db8::10/128", "2001:db8:ffff::7/128"]),
        ("v=spf1 include:client.example.net ?all", ["192.0.2.10/32", "2001:db8::10/128"]),
        ("v=spf1 redirect=client.example.net", ["192.0.2.10/32", "2001:db8::10/128"]),
        ("v=spf1 ip4:192.0.2.1 -all redirect=client.example.net", ["192.0.2.1/32"]),
        ("v=spf1 ip4:192.0.2.1 -all ip4:192.0.2.2", ["192.0.2.1/32"]),
        ("v=spf1 ip4:192.0.2.1 -ip4:192.0.2.2 ~all", ["192.0.2.1/32"]),
        ("v=spf1 include:client.%{d} -all", []),
    ],
)  # fmt: skip
def test_an_include_becomes_its_addresses(policy, networks):
    found = flat(policy, "client.spf.example.net TXT v=spf1 -all")
    assert ([str(n) for n in found.networks], found.kept) == (networks, "")


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("v=spf1 exists:%{i}.example.net -all", "depends on the message"),
        ("v=spf1 exists:mail.example.org -all", "which no addresses can say"),
        ("v=spf1 ptr -all", "has ptr"),
        ("v=spf1 include:%{l}.example.net -all", "depends on the message"),
        ("v=spf1 a:%{o} -all", "depends on the message"),
        ("v=spf1 redirect=%{h}", "depends on the message"),
        ("v=spf1 -ip4:192.0.2.1 ip4:192.0.2.0/24 -all", "turns -ip4:192.0.2.1 away"),
        ("v=spf1 ~ip4:192.0.2.1 redirect=client.example.net", "before it redirects"),
        ("v=spf1 +all", "which no addresses can say"),
        ("v=spf1 include:deep.example.net -all", "deep.example.net has ptr"),
    ],
)
def test_what_addresses_cannot_say_stays_an_include(policy, why):
    found = flat(policy, "deep.example.net TXT v=spf1 ip4:192.0.2.1 ptr -all")
    assert found.networks == ()
    assert why in found.kept


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ("v=spf1 include:gone.example.net", SpfSyntaxError),
        ("v=spf1 include:broken.example.net", SpfSyntaxError),
        ("v=spf1 include:spf.example.net", SpfSyntaxError),
        ("v=spf1 include:slow.example.net", LookupFailedError),
        ("v=spf1 a:slow.example.net", LookupFailedError),
        ("v=spf1 mx:slow.example.net", LookupFailedError),
    ],
)
def test_what_cannot_be_resolved_is_an_error_and_no_loss_of_addresses(policy, error):
    with pytest.raises(error):
        flat(policy)


def test_names_that_nobody_can_ask_for_are_not_asked_for():
    def lookup(name: str, type_: str) -> tuple[str, ...]:
        assert (name, type_) == (NAME, "TXT") or type_ == "MX"
        return ("0 .",) if type_ == "MX" else (f"v=spf1 mx a:{'x' * 64}.example.net ip4:192.0.2.1",)

    assert flatten(NAME, lookup).networks == (ip_network("192.0.2.1"),)


OWN = Spf(addresses=(ip_address("198.51.100.1"),), include=("kept.example.net.",), all="~all")


def test_few_addresses_join_the_domains_own_record():
    (entry,) = flat_entries("example.org.", OWN, [ip_network("192.0.2.0/24")], "why", "flattened: x")
    text = "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.1 include:kept.example.net ~all"
    assert (entry.name, entry.value, entry.reason) == ("example.org.", text, "why; flattened: x")


def many(count: int) -> list:
    return [ip_network(f"203.0.{n}.0/25") for n in range(count)]


def test_many_addresses_are_spread_over_records_that_fit_a_datagram():
    first, *rest = flat_entries("example.org.", OWN, many(60), "why", "flattened: x")
    includes = " ".join(f"include:_spf{n}.example.org" for n in range(1, len(rest) + 1))
    assert first.value == f"v=spf1 ip4:198.51.100.1 {includes} include:kept.example.net ~all"
    assert [e.name for e in rest] == [f"_spf{n}.example.org." for n in range(1, len(rest) + 1)]
    assert len(rest) == 3
    assert all(len(e.name) + len(e.value) <= BUDGET for e in rest)
    assert all(e.value.endswith(" -all") and e.reason == "flattened: x" for e in rest)


def test_what_was_spread_over_records_is_found_again_and_lets_the_same_pass():
    entries = list(flat_entries("example.org.", OWN, many(60), "", ""))
    lookup = StaticLookup({(e.name, "TXT"): [e.value] for e in entries})
    assert set(published("example.org.", lookup)) == {*collapsed(many(60)), ip_network("198.51.100.1")}
    for ip, result in (("203.0.59.1", Result.PASS), ("203.0.59.129", Result.PERMERROR)):
        assert check_host(ip_address(ip), "example.org", "", "h", lookup).result is result


def test_more_records_than_lookups_are_refused():
    with pytest.raises(RecordError, match="lookups"):
        list(flat_entries("example.org.", OWN, many(250), "", ""))


def test_published_is_empty_where_there_is_nothing_that_can_be_read():
    assert published("example.org.", StaticLookup({})) == ()
    assert published("example.org.", StaticLookup({("example.org", "TXT"): ["v=spf1 nonsense"]})) == ()
    with pytest.raises(LookupFailedError):
        published("example.org.", StaticLookup({}, [("example.org", "TXT")]))


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ([], ["192.0.2.0/24"], 0),
        (["192.0.2.0/24"], ["192.0.0.0/16"], 0),
        (["192.0.2.0/24"], [], 1),
        (["192.0.2.0/24"], ["192.0.2.0/25", "203.0.113.0/24"], 0.5),
        (["192.0.2.0/24", "2001:db8::/32"], ["192.0.2.0/24"], 1),
        (["192.0.2.0/24", "2001:db8::/32"], ["192.0.2.0/24", "2001:db8::/33"], 0.5),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["192.0.2.1", "192.0.2.2"], 1 / 3),
    ],
)
def test_how_much_is_lost(before, after, share):
    assert lost_share(map(ip_network, before), map(ip_network, after)) == pytest.approx(share)


NETWORKS = st.builds(
    lambda n, length: f"ip4:203.0.{n}.0/{length}", st.integers(0, 12), st.sampled_from([23, 24, 25, 32])
)


@settings(deadline=None, max_examples=100)
@given(
    outer=st.lists(NETWORKS, max_size=6),
    inner=st.lists(NETWORKS, max_size=6),
    end=st.sampled_from(["-all", "~all", "?all", ""]),
    ip=st.integers(0, 12 * 256).map(lambda n: ip_address("203.0.0.0") + n),
)
def test_a_flattened_policy_lets_exactly_those_pass_that_its_include_lets_pass(outer, inner, end, ip):
    table = {
        ("spf.example.net", "TXT"): [" ".join(["v=spf1", *outer, "include:in.example.net", end]).strip()],
        ("in.example.net", "TXT"): [" ".join(["v=spf1", *inner, end]).strip()],
    }
    before = {**table, ("example.org", "TXT"): ["v=spf1 include:spf.example.net -all"]}
    found = flatten(NAME, StaticLookup(table))
    after = {(e.name, "TXT"): [e.value] for e in flat_entries("example.org.", Spf(), found.networks, "", "")}
    results = [check_host(ip, "example.org", "", "h", StaticLookup(t)).result for t in (before, after)]
    assert results[0] == results[1]

"""What the zones of a fleet must hold follows from the fleet and its machines' needs."""

from __future__ import annotations

import pytest

from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Needs, Record
from mailwright.model.role import Role, Settings
from mailwright.model.site import Site
from mailwright.zones import desired

FLEET = {
    "owner": {"name": "Test", "postmaster": "postmaster@example.org"},
    "providers": {"knot": {"type": "rfc2136", "server": "192.0.2.53", "key_name": "k", "key": "tsig/k"}},
    "domains": [
        {"name": "example.org", "provider": "knot", "mx": ["mx"], "spf": {"include": ["_spf.example.net"]}},
        {"name": "news.example.org", "provider": "knot", "zone": "example.org"},
        {"name": "deep.example.org", "provider": "knot"},
    ],
    "reverse_zones": [{"name": "2.0.192.in-addr.arpa", "provider": "knot"}],
    "machines": [
        {
            "name": "mx",
            "fqdn": "mx.example.org",
            "ipv4": "192.0.2.1",
            "ipv6": "2001:db8::1",
            "roles": {"postfix": {}},
        },
        {"name": "util", "fqdn": "util.deep.example.org", "ipv4": "192.0.2.2", "roles": {"base": {}}},
        {"name": "far", "fqdn": "far.example.com", "ipv4": "198.51.100.1", "roles": {"postfix": {}}},
    ],
}


class NoSecrets:
    def get(self, name: str) -> str:
        raise AssertionError(name)

    def names(self) -> tuple[str, ...]:
        return ()


def site(fleet=FLEET, records: tuple[Record, ...] = ()) -> Site:
    roles = (
        Role("base", Settings, apply=lambda _: None, needs=lambda _: Needs(records=records)),
        Role("postfix", Settings, apply=lambda _: None),
    )
    return Site(Fleet.model_validate(fleet), roles, NoSecrets())


def held(the_site: Site) -> dict[str, set[tuple[str, str, str]]]:
    zones = desired(the_site)
    found = {z.name: {(r.name, r.type, v) for r in z.rrsets for v in r.rdata} for z in zones.zones}
    return found | {"by hand": {(r.name, r.type, v) for r in zones.by_hand for v in r.rdata}}


def test_a_sending_machine_has_addresses_reverse_names_and_a_policy_for_its_name():
    zones = held(site())
    mx = "mx.example.org."
    assert {r for r in zones["example.org."] if r[0] == mx} == {
        (mx, "A", "192.0.2.1"),
        (mx, "AAAA", "2001:db8::1"),
        (mx, "TXT", "v=spf1 a -all"),
    }
    assert ("1.2.0.192.in-addr.arpa.", "PTR", mx) in zones["2.0.192.in-addr.arpa."]


def test_a_machine_that_sends_nothing_says_so():
    util = "util.deep.example.org."
    assert {r for r in held(site())["deep.example.org."] if r[0] == util} == {
        (util, "A", "192.0.2.2"),
        (util, "MX", "0 ."),
        (util, "TXT", "v=spf1 -all"),
    }


def test_a_domain_names_every_sending_machine_in_its_spf():
    text = "v=spf1 ip4:192.0.2.1 ip4:198.51.100.1 ip6:2001:db8::1 include:_spf.example.net -all"
    assert ("example.org.", "TXT", text) in held(site())["example.org."]


def test_a_domain_without_an_exchanger_gets_a_null_mx_and_no_apex_address_is_invented():
    zones = held(site())
    assert {r for r in zones["deep.example.org."] if r[0] == "deep.example.org." and r[1] != "TXT"} == {
        ("deep.example.org.", "MX", "0 .")
    }


def test_names_go_to_the_longest_zone_that_holds_them():
    zones = held(site())
    assert ("news.example.org.", "MX", "0 .") in zones["example.org."]
    assert not any("deep" in name for name, _, _ in zones["example.org."])
    assert "news.example.org." not in zones


def test_what_no_zone_of_ours_holds_is_not_lost():
    by_hand = held(site())["by hand"]
    assert ("far.example.com.", "A", "198.51.100.1") in by_hand
    assert ("1.100.51.198.in-addr.arpa.", "PTR", "far.example.com.") in by_hand


def test_records_that_roles_need_are_published_with_their_reason():
    need = Record("click.example.org.", "CNAME", "util.deep.example.org.", "links in mail")
    zones = desired(site(records=(need,)))
    (found,) = [r for z in zones.zones for r in z.rrsets if r.name == "click.example.org."]
    assert (found.rdata, found.reasons) == (frozenset({need.value}), ("links in mail",))


def test_every_value_has_a_reason():
    zones = desired(site())
    rrsets = [*zones.by_hand, *(r for z in zones.zones for r in z.rrsets)]
    assert all(why for r in rrsets for _, why in r.explained())


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record("mx.example.org.", "CNAME", "x.example.org.", ""), "CNAME beside A, AAAA, TXT"),
        (Record("util.deep.example.org.", "MX", "10 mx.example.org.", ""), "null MX beside"),
        (Record("x.example.org.", "A", "nowhere", ""), "not a value of type A"),
        (Record("relative", "A", "192.0.2.1", ""), "ends in a dot"),
    ],
)
def test_needs_that_cannot_be_published_are_one_line(record, said):
    with pytest.raises(DnsError, match=said) as error:
        desired(site(records=(record,)))
    assert "\n" not in str(error.value)


def test_a_machine_named_like_a_mail_domain_has_the_domains_policy():
    machines = [{**FLEET["machines"][0], "fqdn": "example.org"}, *FLEET["machines"][1:]]
    texts = {
        v
        for n, t, v in held(site({**FLEET, "machines": machines}))["example.org."]
        if (n, t) == ("example.org.", "TXT")
    }
    assert len(texts) == 1


def test_the_fleet_says_how_long_records_live():
    zones = desired(site({**FLEET, "dns": {"ttl": 120}}))
    assert {r.ttl for z in zones.zones for r in z.rrsets} == {120}

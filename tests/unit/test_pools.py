"""What follows from a pool in the fleet file: members, records, certificates, openings; and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailwright.model.errors import FleetError
from mailwright.model.fleet import Fleet
from mailwright.model.load import load_site
from mailwright.model.needs import Needs, Port
from mailwright.model.role import Role, Settings
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence
from mailwright.verify.sockets import parse
from mailwright.zones import desired
from roles import firewall, postfix

FLEET = """\
owner: { name: Test, postmaster: postmaster@example.org }
providers:
  knot: { type: rfc2136, server: 192.0.2.53, key_name: k, key: tsig/k }
domains:
  - name: example.org
    provider: knot
    mx: [incoming]
    clients: { submissions: [outgoing], submission: [outgoing] }
reverse_zones:
  - { name: 2.0.192.in-addr.arpa, provider: knot }
  - { name: 0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa, provider: knot }
pools:
  - name: outgoing
    service: smtp.example.org
    members: [sending]
    balancers: [lb1, lb2]
    ipv4: 192.0.2.100
    ipv6: 2001:db8::100
    router_id: 51
  - name: incoming
    service: mx.example.org
    members: [out2]
    ports: [25]
    balancers: [lb1, lb2]
    ipv4: 192.0.2.101
    router_id: 52
machines:
  - name: out1
    fqdn: out1.example.org
    ipv4: 192.0.2.1
    ipv6: 2001:db8::1
    labels: [sending]
    roles: { postfix: {} }
  - name: out2
    fqdn: out2.example.org
    ipv4: 192.0.2.2
    ipv6: 2001:db8::2
    labels: [sending]
    roles: { postfix: {} }
  - name: lb1
    fqdn: lb1.example.org
    ipv4: 192.0.2.41
    ipv6: 2001:db8::41
    roles: { haproxy: {}, keepalived: {} }
  - name: lb2
    fqdn: lb2.example.org
    ipv4: 192.0.2.42
    ipv6: 2001:db8::42
    roles: { haproxy: {}, keepalived: {} }
  - name: util
    fqdn: util.example.org
    ipv4: 192.0.2.9
    roles: { base: {} }
"""


class MailSettings(Settings):
    submission: bool = True


ROLES = (
    Role("base", Settings, lambda _: None),
    Role("postfix", MailSettings, lambda _: None, after=()),
    Role("haproxy", Settings, lambda _: None, after=()),
    Role("keepalived", Settings, lambda _: None, after=()),
)


def changed(old: str, new: str, text: str = FLEET) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


@pytest.fixture
def site_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns a function: the text of a fleet file to its site."""
    monkeypatch.chdir(tmp_path)

    def site(text: str = FLEET) -> Site:
        Path("fleet.yaml").write_text(text)
        found = load_site(Path("fleet.yaml"), ROLES, environ={})
        return Site(found.fleet, found.roles, GivenSecrets({}))

    return site


@pytest.fixture
def fleet(site_of) -> Fleet:
    return site_of().fleet


def names(machines):
    return [machine.name for machine in machines]


def test_members_are_machines_by_name_or_label_in_the_order_of_the_file(site_of):
    fleet = site_of(changed("members: [sending]", "members: [out2, sending]")).fleet
    outgoing, incoming = fleet.pools
    assert names(fleet.members(outgoing)) == ["out1", "out2"]
    assert names(fleet.members(incoming)) == ["out2"]


def test_a_machine_with_the_label_joins_by_its_own_line(site_of):
    third = """\
  - name: out3
    fqdn: out3.example.org
    ipv4: 192.0.2.3
    ipv6: 2001:db8::3
    labels: [sending]
    roles: { postfix: {} }
"""
    site = site_of(FLEET + third)
    assert names(site.fleet.members(site.fleet.pools[0])) == ["out1", "out2", "out3"]
    assert "ip4:192.0.2.3 " in text_at(site, "example.org.", "v=spf1")


def test_a_machine_takes_the_mail_of_domains_whose_mx_is_its_pool(fleet):
    assert {m.name: [d.name.bare for d in fleet.mail_for(m.name)] for m in fleet.machines} == {
        "out1": [],
        "out2": ["example.org"],
        "lb1": [],
        "lb2": [],
        "util": [],
    }


def test_an_exchanger_is_a_pools_service_name_or_a_machines_host_name(fleet):
    assert fleet.exchanger("incoming") == "mx.example.org."
    assert fleet.exchanger("out1") == "out1.example.org."
    with pytest.raises(KeyError):
        fleet.exchanger("nobody")


def test_a_member_knows_its_balancers_once_each_and_a_balancer_its_pools(fleet):
    assert fleet.balancers_of("out2") == ("lb1", "lb2")
    assert fleet.balancers_of("util") == ()
    assert names(fleet.balanced_by("lb1")) == ["outgoing", "incoming"]


# --- zones


def records(site: Site) -> set[tuple[str, str, str]]:
    found = desired(site)
    return {(r.name, r.type, v) for zone in found.zones for r in zone.rrsets for v in r.rdata}


def at(site: Site, name: str) -> set[tuple[str, str]]:
    return {(type_, value) for each, type_, value in records(site) if each == name}


def text_at(site: Site, name: str, start: str) -> str:
    (found,) = [v for type_, v in at(site, name) if type_ == "TXT" and v.startswith(start)]
    return found


def test_a_service_name_leads_to_the_virtual_addresses_and_back(site_of):
    site = site_of()
    assert at(site, "smtp.example.org.") == {
        ("A", "192.0.2.100"),
        ("AAAA", "2001:db8::100"),
        ("MX", "0 ."),
        ("TXT", "v=spf1 -all"),
    }
    assert at(site, "100.2.0.192.in-addr.arpa.") == {("PTR", "smtp.example.org.")}
    v6 = "0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
    assert at(site, v6) == {("PTR", "smtp.example.org.")}


WITHOUT = """\
    balancers: [lb1, lb2]
    ipv4: 192.0.2.100
    ipv6: 2001:db8::100
    router_id: 51
"""


def test_without_balancers_a_service_name_has_the_addresses_of_all_members(site_of):
    site = site_of(changed(WITHOUT, ""))
    found = {(t, v) for t, v in at(site, "smtp.example.org.") if t in ("A", "AAAA")}
    assert found == {
        ("A", "192.0.2.1"),
        ("A", "192.0.2.2"),
        ("AAAA", "2001:db8::1"),
        ("AAAA", "2001:db8::2"),
    }
    assert at(site, "1.2.0.192.in-addr.arpa.") == {("PTR", "out1.example.org.")}


def test_the_mx_and_the_srv_records_name_the_service(site_of):
    site = site_of()
    assert ("MX", "10 mx.example.org.") in at(site, "example.org.")
    assert at(site, "_submissions._tcp.example.org.") == {("SRV", "0 1 465 smtp.example.org.")}
    assert at(site, "_submission._tcp.example.org.") == {("SRV", "10 1 587 smtp.example.org.")}


def test_spf_has_every_member_and_no_balancer(site_of):
    spf = text_at(site_of(), "example.org.", "v=spf1").split()
    assert set(spf[1:-1]) == {"ip4:192.0.2.1", "ip4:192.0.2.2", "ip6:2001:db8::1", "ip6:2001:db8::2"}


# --- machines

MEMBER = {"labels": ["sending"]}
OTHERS = [
    {"name": "lb1", "fqdn": "lb1.brightpost.example", "ipv4": "203.0.113.41", "ipv6": "2001:db8::41"},
    {"name": "lb2", "fqdn": "lb2.brightpost.example", "ipv4": "203.0.113.42"},
    {"name": "util", "fqdn": "util.brightpost.example", "ipv4": "203.0.113.31"},
]
POOL = {
    "name": "outgoing",
    "service": "smtp.brightpost.example",
    "members": ["sending"],
    "balancers": ["lb1", "lb2"],
    "ipv4": "203.0.113.100",
}


def test_a_members_certificate_has_its_own_name_and_its_pools(plan_of):
    settings = {"postfix": {"submission": False}}
    plan = plan_of(postfix.ROLE, machine=MEMBER | {"roles": {"other": {}, **settings}}, pools=[POOL])
    (certificate,) = plan.merged.certificates
    assert certificate.names == ("m1.brightpost.example.", "smtp.brightpost.example.")


def test_a_port_for_some_machines_is_open_to_their_addresses_and_to_no_others(plan_of, content_of):
    port = Port(10587, "tcp", ("lb1", "lb2"), "from the balancers")
    plan = plan_of(firewall.ROLE, needs=Needs(ports=(port,)), machines=OTHERS)
    rules = content_of(plan, firewall.RULES)
    (v4,) = [line for line in rules.splitlines() if "10587" in line and "ip saddr" in line]
    (v6,) = [line for line in rules.splitlines() if "10587" in line and "ip6 saddr" in line]
    assert "203.0.113.41" in v4
    assert "203.0.113.42" in v4
    assert "203.0.113.31" not in rules
    assert "2001:db8::41" in v6
    assert not [
        line for line in rules.splitlines() if "10587" in line and "saddr" not in line and "#" not in line
    ]


@pytest.mark.parametrize(
    ("listens", "faulty"),
    [("203.0.113.100", False), ("0.0.0.0", False), ("203.0.113.11", True)],  # noqa: S104
)
def test_a_port_at_a_virtual_address_is_verified_there_and_not_at_the_machines_own(plan_of, listens, faulty):
    port = Port(587, "tcp", "public", "submission", at=("203.0.113.100",))
    (found,) = [e for e in expectations(plan_of(needs=Needs(ports=(port,)))) if e.name.startswith("port-")]
    assert found.name == "port-587/tcp-public-203.0.113.100"
    sockets = parse(f"tcp LISTEN 0 128 {listens}:587 0.0.0.0:*")
    assert bool(found.judge(Evidence(None, sockets, sockets, {}))) == faulty


# --- mistakes

MISTAKES = [
    ("name: outgoing", "name: util", "pools[0].name: util is a machine"),
    (
        "service: smtp.example.org",
        "service: util.example.org",
        "pools[0].service: util.example.org is the host",
    ),
    (
        "members: [sending]",
        "members: [seding]",
        "pools[0].members[0]: no machine has this name or label: seding",
    ),
    (
        "members: [out2]",
        "members: [util]",
        "pools[1].members: util takes no mail: machines[4] lacks the role",
    ),
    (
        "    labels: [sending]\n    roles: { postfix: {} }\n  - name: out2",
        "    labels: [sending]\n    roles: { postfix: { submission: false } }\n  - name: out2",
        "pools[0].ports: out1 takes no submission: machines[0].roles.postfix says so",
    ),
    ("ports: [25]", "ports: [25, 25]", "pools[1].ports: the same port twice"),
    ("    ipv6: 2001:db8::1\n", "", "pools[0].ipv6: its member out1 has no ipv6 address: machines[0]"),
    ("    ipv6: 2001:db8::42\n", "", "pools[0].ipv6: its balancer lb2 has no ipv6 address"),
    (WITHOUT, WITHOUT.replace("lb2", "lb3"), "pools[0].balancers[1]: the fleet has no machine lb3"),
    (
        WITHOUT,
        WITHOUT.replace("lb2", "util"),
        "pools[0].balancers[1]: util cannot balance: it lacks the role",
    ),
    (WITHOUT, WITHOUT.replace("lb2", "lb1"), "pools[0].balancers: the same machine twice"),
    (WITHOUT, WITHOUT.replace(", lb2", ""), "pools[0].balancers: one balancer is a single point of failure"),
    (
        "2001:db8::42\n    roles: { haproxy: {}, ",
        "2001:db8::42\n    roles: { postfix: {}, haproxy: {}, ",
        "pools[0].balancers[1]: lb2 has the role postfix, which listens on the same ports",
    ),
    ("    ipv4: 192.0.2.101\n", "", "pools[1]: incoming has balancers and no virtual address"),
    ("ipv4: 192.0.2.100", "ipv4: 192.0.2.9", "pools[0].ipv4: the same address as machines[4]: 192.0.2.9"),
    ("ipv4: 192.0.2.101", "ipv4: 192.0.2.100", "pools[1].ipv4: the same address as pools[0]: 192.0.2.100"),
    (
        WITHOUT,
        "    ipv4: 192.0.2.100\n",
        "pools[0].ipv4: a virtual address needs `balancers` that hold it",
    ),
    ("    router_id: 52\n", "", "pools[1]: several pools have balancers: give each a router_id"),
    ("router_id: 52", "router_id: 51", "pools[1].router_id: the same VRRP router as pools[0]: 51"),
    ("roles: { base: {} }", "roles: { haproxy: {} }", "machines[4].roles: util balances nothing"),
    ("mx: [incoming]", "mx: [incomming]", "domains[0].mx[0]: "),
]


@pytest.mark.parametrize(("old", "new", "words"), MISTAKES, ids=[words for _, _, words in MISTAKES])
def test_a_mistake_with_a_pool_is_one_line_at_its_place(site_of, old, new, words):
    text = changed(old, new)
    with pytest.raises(FleetError) as caught:
        site_of(text)
    (line,) = [each for each in caught.value.mistakes if words in each]
    file, number, _ = line.split(":", 2)
    assert (file, "\n" in line) == ("fleet.yaml", False)
    section, _, rest = words.partition("[")
    first, end = lines_of(text, section, int(rest.partition("]")[0]))
    assert first <= int(number) < end


def lines_of(text: str, section: str, place: int) -> tuple[int, int]:
    """The first line of an entry of a list in the fleet file, and the first after it."""
    lines = text.splitlines()
    start = lines.index(f"{section}:")
    after = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    entries = [i for i in range(start + 1, after) if lines[i].startswith("  - ")]
    return entries[place] + 1, [*entries, after][place + 1] + 1

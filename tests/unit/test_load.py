"""Every mistake in a fleet file is one line with the true file, line and place, in plain words."""

# ruff: noqa: E501 - a table of mistakes is read line by line

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from mailwright.model.base import Audience
from mailwright.model.errors import FleetError, MailwrightError
from mailwright.model.load import check_order, fleet_file, load_fleet, load_site
from mailwright.model.mistakes import Found, found_by
from mailwright.model.role import Role, Settings

FLEET = """\
owner:
  name: Example
  postmaster: postmaster@example.org
networks:
  admin: [203.0.113.0/28]
providers:
  primary: { type: rfc2136, server: 203.0.113.53, key_name: k, key: tsig/primary }
domains:
  - name: news.example.com
    provider: primary
    mx: [mx1]
    dkim: [{ selector: r1, algorithm: rsa }, { selector: e1, algorithm: ed25519 }]
  - name: shop.example.net
reverse_zones:
  - { name: 2.0.192.in-addr.arpa, provider: primary }
senders:
  - { login: letter, addresses: ["@news.example.com"] }
defaults:
  debian: 12
  ssh: { user: ops, port: 2222 }
  roles:
    postfix: { limit: 5 }
machines:
  - name: out1
    fqdn: out1.news.example.com
    ipv4: 192.0.2.11
    labels: [sending]
    roles: { base: {}, postfix: { relay: true } }
  - name: mx1
    fqdn: mx1.news.example.com
    debian: 13
    ipv6: 2001:db8::21
    ssh: { port: 22, key: keys/mx1 }
    roles:
      base: {}
      postfix:
        limit: 9
"""


class PostfixSettings(Settings):
    """A role's settings as roles write them."""

    limit: int = Field(default=1, ge=1, le=10)
    relay: bool = False
    audience: Audience = "public"
    outbound: dict[int, tuple[str, ...]] = Field(default_factory=dict)


class BaseSettings(Settings):
    """None."""


def role(name: str, settings: type[Settings] = BaseSettings, after: tuple[str, ...] = ()) -> Role:
    return Role(name, settings, apply=lambda _: None, after=after)


ROLES = (role("base"), role("postfix", PostfixSettings, after=("base",)))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("fleet.yaml")


def mistakes(file: Path, text: str | bytes) -> list[str]:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FleetError) as caught:
        load_site(file, ROLES, environ={})
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return caught.value.mistakes


def changed(old: str, new: str) -> str:
    assert FLEET.count(old) == 1, old
    return FLEET.replace(old, new)


def test_defaults_are_folded_in_key_by_key(file: Path):
    file.write_text(FLEET)
    out1, mx1 = load_site(file, ROLES, environ={}).fleet.machines
    assert (out1.debian, mx1.debian) == (12, 13)
    assert (out1.ssh.user, out1.ssh.port) == ("ops", 2222)
    assert (mx1.ssh.user, mx1.ssh.port) == ("ops", 22)
    assert out1.roles["postfix"] == {"limit": 5, "relay": True}
    assert mx1.roles["postfix"] == {"limit": 9}


def test_key_files_are_relative_to_the_fleet_file(tmp_path: Path):
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert load_fleet(tmp_path / "fleet.yaml").machine("mx1").ssh.key == str(tmp_path / "keys/mx1")


def test_names_are_absolute_from_here_on(file: Path):
    file.write_text(changed("fqdn: out1.news.example.com", "fqdn: OUT1.News.Example.COM."))
    assert load_fleet(file).machine("out1").fqdn == "out1.news.example.com."


def test_a_shim_stands_for_the_file_beside_it(file: Path):
    assert fleet_file("inventory/prod.py") == Path("inventory/prod.yaml")
    file.write_text(FLEET)
    assert load_fleet("fleet.py").owner.name == "Example"


ONE_MISTAKE = [
    # what is changed, into what, the line and the words
    ("ipv4: 192.0.2.11", "ipv4: 10.0.0.999", 26, "machines[0].ipv4: not an IPv4 address: 10.0.0.999"),
    ("ipv4: 192.0.2.11", "ipv4: 2001:db8::1", 26, "machines[0].ipv4: not an IPv4 address: 2001:db8::1"),
    ("ipv4: 192.0.2.11", "ipv4: 7", 26, "machines[0].ipv4: not an IPv4 address: 7"),
    ("ipv4: 192.0.2.11", "ipv4: [192.0.2.11]", 26, "machines[0].ipv4: not an IPv4 address: a list"),
    ("ipv4: 192.0.2.11", "ipv4: 127.0.0.1", 26, "machines[0].ipv4: no machine can be reached at a loopback address: 127.0.0.1"),
    ("ipv4: 192.0.2.11", "ipv4: 224.0.0.5", 26, "machines[0].ipv4: no machine can be reached at a multicast address: 224.0.0.5"),
    ("ipv6: 2001:db8::21", "ipv6: fe80::1", 32, "machines[1].ipv6: no machine can be reached at a link-local address: fe80::1"),
    ("ipv6: 2001:db8::21", "ipv6: fd00::1", 32, "machines[1].ipv6: a private address: mailbox providers cannot tell whose it is; a mail host needs a public one: fd00::1"),
    ("    ipv4: 192.0.2.11\n", "", 24, "machines[0]: out1 has no address: give it ipv4, ipv6 or both"),
    ("    ipv6: 2001:db8::21\n", "    ipv4: 192.0.2.11\n", 32, "machines[1].ipv4: the same address as machines[0].ipv4: 192.0.2.11"),
    ("    fqdn: out1.news.example.com\n", "", 24, "machines[0]: fqdn is missing"),
    ("  postmaster: postmaster@example.org\n", "", 1, "owner: postmaster is missing"),
    ("postmaster@example.org", "postmaster", 3, "owner.postmaster: not a mail address: postmaster"),
    ("    ipv4: 192", "    ipvv4: 1\n    ipv4: 192", 26, "machines[0].ipvv4: unknown key; did you mean ipv4?"),
    ("fqdn: out1.news.example.com", "fqdn: mx1.news.example.com", 30, "machines[1].fqdn: the same host name as machines[0].fqdn: mx1.news.example.com"),
    ("fqdn: out1.news.example.com", "fqdn: news.example.com", 25, "machines[0].fqdn: is the mail domain domains[0] as well; give the host a name below it"),
    ("fqdn: out1.news.example.com", "fqdn: out_1.news.example.com", 25, "machines[0].fqdn: not a full host name: out_1.news.example.com"),
    ("fqdn: out1.news.example.com", "fqdn: bücher.example", 25, "machines[0].fqdn: not a host or domain name (international names in their xn-- form): bücher.example"),
    ("name: out1", "name: mx1", 29, "machines[1].name: the same name as machines[0].name: mx1"),
    ("name: out1", "name: Out1", 24, "machines[0].name: not a name (a lower-case letter, then letters, digits and hyphens, at most 31): Out1"),
    ("name: out1", "name: all", 24, "machines[0].name: all means every machine; choose another name"),
    ("name: out1", "name: postfix", 24, "machines[0].name: postfix means the machines with the role postfix; choose another name"),
    ("    labels: [sending]\n", "    labels: [sending]\n    closed: true\n", 28, "machines[0].closed: out1 lacks the role firewall, which would close it"),
    ("[sending]", "[all]", 27, "machines[0].labels[0]: all means every machine; choose another label"),
    ("[sending]", "[base]", 27, "machines[0].labels[0]: base means the machines with the role base; choose another label"),
    ("[sending]", "[mx1]", 27, "machines[0].labels[0]: mx1 means machines[1]; choose another label"),
    ("[sending]", "[debian-13]", 27, "machines[0].labels[0]: debian-13 means the machines with Debian 13; choose another label"),
    ("[sending]", "[a, a]", 27, "machines[0].labels[1]: the same label as machines[0].labels[0]: a"),
    ("[sending]", "sending", 27, "machines[0].labels: must be a list, in [ ] or with a - before each entry: sending"),
    ("mx: [mx1]", "mx: [mx2]", 11, "domains[0].mx[0]: the fleet has no machine mx2; did you mean mx1?"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    mta_sts: { served_by: [mx2] }\n", 12, "domains[0].mta_sts.served_by[0]: the fleet has no machine mx2; did you mean mx1?"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    mta_sts: { served_by: [mx1] }\n", 12, "domains[0].mta_sts.served_by[0]: mx1 cannot do this: machines[1] lacks the role policies"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    mta_sts: { served_by: [] }\n", 12, "domains[0].mta_sts.served_by: must have at least 1 entry"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    mta_sts: { max_age: 60, served_by: [mx1] }\n", 12, "domains[0].mta_sts.max_age: must be at least 86400: 60"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    tls_rpt: { rua: [tls@example.org] }\n", 12, "domains[0].tls_rpt.rua[0]: not a mailto: address or https: URL: tls@example.org"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    tls_rpt: { rua: ['https://x;y'] }\n", 12, "domains[0].tls_rpt.rua[0]: not an https: URL: https://x;y"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    caa: { issuers: [{ name: letsencrypt.org, validationmethods: [dns_01] }] }\n", 12, "domains[0].caa.issuers[0].validationmethods[0]: not a validation method (letters, digits and hyphens, for example dns-01): dns_01"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    bimi: { logo: 'https://example.org/l.svg' }\n", 12, "domains[0].bimi: BIMI needs a DMARC policy of quarantine or reject, for subdomains too; domains[0].dmarc is weaker"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    clients: { submission: [mx9] }\n", 12, "domains[0].clients.submission[0]: the fleet has no machine mx9; did you mean mx1?"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    clients: { imaps: [mx9] }\n", 12, "domains[0].clients.imaps[0]: the fleet has no machine mx9; did you mean mx1?"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    links: { click: mx9 }\n", 12, "domains[0].links.click: the fleet has no machine mx9; did you mean mx1?"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    links: { out1: mx1 }\n", 12, "domains[0].links.out1: out1.news.example.com is the host name of machines[0]; choose another label"),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    links: { click: track. }\n", 12, "domains[0].links.click: not a name (a lower-case letter, then letters, digits and hyphens, at most 31): track."),
    ("    mx: [mx1]\n", "    mx: [mx1]\n    dmarc: { since: 2026-13-01 }\n", 12, "domains[0].dmarc.since: must be a date such as 2026-11-30: 2026-13-01"),
    ("    roles: { base: {}, postfix: { relay: true } }", "    roles: { base: {}, postfx: {} }", 28, "machines[0].roles.postfx: there is no role postfx; did you mean postfix?"),
    ("relay: true", "relay: perhaps", 28, "machines[0].roles.postfix.relay: must be true or false: perhaps"),
    ("relay: true", "rely: true", 28, "machines[0].roles.postfix.rely: unknown key; did you mean relay?"),
    ("relay: true", "audience: admn", 28, "machines[0].roles.postfix.audience: there is no audience or network admn; did you mean admin?"),
    ("relay: true", "outbound: { a: [x] }", 28, "machines[0].roles.postfix.outbound.a: must be a whole number: a"),
    ("        limit: 9", "        limit: 11", 37, "machines[1].roles.postfix.limit: must be at most 10: 11"),
    ("        limit: 9", "        limit: [9]", 37, "machines[1].roles.postfix.limit: must be a whole number"),
    ("limit: 5", "limit: 0", 22, "defaults.roles.postfix.limit: must be at least 1: 0"),
    ("debian: 13", "debian: 11", 31, "machines[1].debian: must be 12 or 13: 11"),
    ("port: 22,", "port: 0,", 33, "machines[1].ssh.port: must be at least 1: 0"),
    ("port: 22,", "port: ssh,", 33, "machines[1].ssh.port: must be a whole number: ssh"),
    ("    provider: primary\n", "    provider: primry\n", 10, "domains[0].provider: providers has no primry; did you mean primary?"),
    ("type: rfc2136", "type: rfc2317", 7, "providers.primary.type: must be rfc2136, route53, cloudflare, octodns: rfc2317"),
    ("server: 203.0.113.53", "server: ns1.example", 7, "providers.primary.server: not an IP address: ns1.example"),
    ("key: tsig/primary", "key: Tsig", 7, "providers.primary.key: not a secret's name (lower-case letters, digits and . _ / @ -): Tsig"),
    ("203.0.113.0/28", "203.0.113.1/28", 5, "networks.admin[0]: an address inside a network: 203.0.113.1/28; the network is 203.0.113.0/28"),
    ("203.0.113.0/28", "office", 5, "networks.admin[0]: not an IP network: office"),
    ("  admin: [203", "  fleet: [203", 5, "networks.fleet: fleet is an audience already; choose another name"),
    ("2.0.192.in-addr.arpa", "192.0.2.example", 15, "reverse_zones[0].name: not a reverse zone such as 100.51.198.in-addr.arpa: 192.0.2.example"),
    ("2.0.192.in-addr.arpa", "2.0.300.in-addr.arpa", 15, "reverse_zones[0].name: not a reverse zone such as 100.51.198.in-addr.arpa: 2.0.300.in-addr.arpa"),
    ("selector: e1", "selector: r1", 12, "domains[0].dkim[1].selector: the same selector as domains[0].dkim[0].selector: r1"),
    ("algorithm: ed25519", "algorithm: rsa", 12, "domains[0].dkim[1]: a second rsa key beside domains[0].dkim[0]: one of each algorithm signs"),
    ("{ selector: r1, algorithm: rsa }, ", "", 12, "domains[0].dkim: news.example.com is sent from by senders[0] and needs a DKIM key with algorithm rsa"),
    ('"@news.example.com"', '"@shop.example.net"', 13, "domains[1]: shop.example.net is sent from by senders[0] and needs a DKIM key with algorithm rsa"),
    ('"@news.example.com"', "a@new.example.com", 17, "senders[0].addresses[0]: new.example.com is not in domains; did you mean news.example.com?"),
    ('"@news.example.com"', "news.example.com", 17, "senders[0].addresses[0]: not a mail address: news.example.com"),
    ('["@news.example.com"]', "[]", 17, "senders[0].addresses: must have at least 1 entry"),
    ("name: Example\n", "name: null\n", 2, "owner.name: must be text: nothing there"),
    ("owner:\n", "dns: { blocklists: [{ zone: bl.example, of: names }] }\nowner:\n", 1, "dns.blocklists[0].of: must be addresses or domains: names"),
    ("owner:\n", "dns: { blocklists: [{ zone: b.example, of: domains, ipv6: true }] }\nowner:\n", 1, "dns.blocklists[0].ipv6: a list of domains has no addresses"),
    ("owner:\n", "dns: { blocklists: [{ zone: b.example, of: addresses, listed: a.example }] }\nowner:\n", 1, "dns.blocklists[0].listed: of a list of addresses the test entry is always 127.0.0.2"),
    ("owner:\n", "dns: { blocklists: [{ zone: b.example, of: domains }, { zone: b.example., of: domains }] }\nowner:\n", 1, "dns.blocklists[1].zone: the same list as dns.blocklists[0].zone: b.example"),
    ("owner:\n", "owner: me\nownr:\n", 1, "owner: must be `key: value` lines, or {}: me"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), ONE_MISTAKE, ids=[case[3] for case in ONE_MISTAKE])
def test_a_mistake_is_one_line_at_its_place(file: Path, old: str, new: str, line: int, words: str):
    found = mistakes(file, changed(old, new))
    expected = f"fleet.yaml:{line}: {words}"
    assert expected in found
    assert len(found) == 1 or old == "owner:\n"


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file(file: Path):
    text = (
        FLEET.replace("debian: 13", "debian: 9")
        .replace("relay: true", "relay: x")
        .replace("name: out1", "name: 1")
    )
    assert [line.split(": ")[1] for line in mistakes(file, text)] == [
        "machines[0].name",
        "machines[0].roles.postfix.relay",
        "machines[1].debian",
    ]


def test_every_missing_key_is_listed(file: Path):
    text = changed("    fqdn: out1.news.example.com\n", "").replace("  - name: out1\n", "  - debian: 12\n")
    assert mistakes(file, text) == [
        "fleet.yaml:24: machines[0]: fqdn is missing",
        "fleet.yaml:24: machines[0]: name is missing",
    ]


def test_what_a_terminal_would_not_show_is_spelt_out(file: Path):
    text = changed("    postfix: { limit: 5 }", '    "post\\u00adfix": {}')
    assert (
        "fleet.yaml:22: defaults.roles[post\\xadfix]: there is no role post\\xadfix; did you mean postfix?"
        in mistakes(file, text)
    )


class Small(Settings):
    """One branch of a union."""

    size: int


class Large(Settings):
    """Another, that has more to get wrong."""

    length: int
    width: int


class Shape(Settings):
    """Unions as a role may write them."""

    value: int | bool = 1
    shape: Small | Large | None = None


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"value": "x"}, [(("value",), "must be a whole number or true or false: x")]),
        ({"value": [1]}, [(("value",), "must be a whole number or true or false")]),
        ({"shape": {"size": "x"}}, [(("shape", "size"), "must be a whole number: x")]),
        ({"shape": {"sizes": 1}}, [(("shape",), "size is missing"), (("shape", "sizes"), "unknown key; did you mean size?")]),
        ({"shape": 7}, [(("shape",), "must be `key: value` lines, or {}: 7")]),
    ],
)  # fmt: skip
def test_a_union_is_one_mistake_and_not_one_for_each_branch(data: object, found: list[Found]):
    with pytest.raises(ValidationError) as caught:
        Shape.model_validate(data)
    assert found_by(caught.value, Shape, data) == found


def test_a_wrong_value_hides_no_contradiction_elsewhere(file: Path):
    text = changed("ipv4: 192.0.2.11", "ipv4: 10.0.0.999").replace("mx: [mx1]", "mx: [mx2]")
    assert mistakes(file, text.replace("debian: 13", "debain: 13")) == [
        "fleet.yaml:11: domains[0].mx[0]: the fleet has no machine mx2; did you mean mx1?",
        "fleet.yaml:26: machines[0].ipv4: not an IPv4 address: 10.0.0.999",
        "fleet.yaml:31: machines[1].debain: unknown key; did you mean debian?",
    ]


def test_a_mistake_in_defaults_is_said_once_however_many_machines_inherit_it(file: Path):
    text = FLEET.replace("postfix:\n        limit: 9", "postfix: {}").replace("limit: 5", "limit: five")
    assert mistakes(file, text) == [
        "fleet.yaml:22: defaults.roles.postfix.limit: must be a whole number: five"
    ]


def test_a_mistake_that_an_alias_repeats_is_said_once(file: Path):
    text = changed("{ base: {}, postfix: { relay: true } }", "&all { base: {}, postfix: { rely: true } }")
    text = text[: text.rindex("    roles:")] + "    roles: *all\n"
    assert mistakes(file, text) == [
        "fleet.yaml:28: machines[0].roles.postfix.rely: unknown key; did you mean relay?"
    ]


def test_defaults_of_a_role_that_no_machine_has_are_checked_too(file: Path):
    text = FLEET.replace("    postfix: { limit: 5 }", "    postfix: { limit: 5 }\n    bse: {}")
    assert mistakes(file, text) == [
        "fleet.yaml:23: defaults.roles.bse: there is no role bse; did you mean base?"
    ]


def test_an_mx_must_take_mail(file: Path):
    text = FLEET.replace("      postfix:\n        limit: 9\n", "")
    assert mistakes(file, text) == [
        "fleet.yaml:11: domains[0].mx[0]: mx1 takes no mail: machines[1] lacks the postfix role"
    ]


def test_a_lab_machine_lies_in_the_lab_and_not_on_its_outside_world(file: Path):
    lab = "lab: { ipv4: 192.0.2.0/24, ipv6: 2001:db8:1::/64 }\n"
    text = FLEET.replace("ipv4: 192.0.2.11", "ipv4: 192.0.2.53") + lab
    assert mistakes(file, text) == [
        "fleet.yaml:26: machines[0].ipv4: the lab's outside world has this address: 192.0.2.53",
        "fleet.yaml:32: machines[1].ipv6: outside lab.ipv6, which is 2001:db8:1::/64: 2001:db8::21",
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("ssh-ed25519 AAAA", "not an OpenSSH public key: damaged or cut short after ssh-ed25519"),
        ("ssh-dss AAAA", "not an OpenSSH public key; it starts with one of ssh-ed25519, ssh-rsa, "),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key; the fleet file takes the public one"),
    ],
)
def test_admin_keys_must_be_public_keys(file: Path, key: str, words: str):
    (line,) = mistakes(file, f"admins: [{{ name: ops, keys: ['{key}'] }}]\n{FLEET}")
    assert line.startswith(f"fleet.yaml:1: admins[0].keys[0]: {words}")


def test_a_missing_file_or_a_folder_is_one_line(file: Path):
    with pytest.raises(FleetError, match=r"^fleet.yaml:1: no such file$"):
        load_fleet(file)
    with pytest.raises(FleetError, match=r"^a\\nb.yaml:1: no such file$"):
        load_fleet("a\nb.yaml")
    with pytest.raises(FleetError, match=r"^\.:1: a directory, where a YAML file was expected$"):
        load_fleet(".")


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ((role("a", after=("b",)), role("b")), "roles: a is listed before b, which it must come after"),
        ((role("a"), role("a")), "roles: a is listed twice"),
    ],
)
def test_roles_come_in_an_order_they_agree_with(roles: tuple[Role, ...], words: str):
    check_order((role("b"), role("a", after=("b", "absent"))))
    with pytest.raises(MailwrightError, match=words):
        check_order(roles)


def test_the_inventories_of_this_repository_are_right():
    from roles import ROLES as OURS  # noqa: PLC0415 - only this test needs the real roles

    for name in ("prod", "lab"):
        load_site(Path(__file__).parents[2] / "inventory" / f"{name}.yaml", OURS, environ={})

"""Zones read in: what they mean becomes a fleet, and no record is passed over."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from maildns.policy.dkim import DkimKey
from maildns.providers.masterfile import read_zone
from maildns.records import RRset
from mailwright.command import dns_export, dns_import
from mailwright.command.main import run
from mailwright.model.fleet import Fleet
from mailwright.takeover import Fate, take_over
from mailwright.zones import desired
from tests.dns.fullfleet import FLEET, KEYS, ZONES, open_fleet, write_fleet

MESSY = r"""
$TTL 7200
@       IN SOA ns1.provider.example. hostmaster 2024010101 3600 900 604800 300
@       IN NS  ns1.provider.example.
@       IN A   192.0.2.80
@       IN AAAA 2001:db8::80
www     IN CNAME @
@       IN MX  5 Mail
        IN MX  5 backup.messy.example.
        IN MX  50 mx.filter.example.
@       IN TXT "google-site-verification=abc"
@       IN TXT ( "v=spf1 mx a:mail.messy.example ip4:192.0.2.25 ip4:203.0.113.0/24 include:_spf.crm.example "
               "exists:%{i}.spf.example ?include:old.example ~all" )
_dmarc  IN TXT "v=DMARC1;p=quarantine; pct=50; rua=mailto:dmarc@messy.example,mailto:big@r.example!10m; fo=1"
mail    IN A   192.0.2.25
mail    IN AAAA 2001:db8::25
mail    IN TXT "v=spf1 a include:oops.example -all"
mail    IN MX  10 mail
smtp    IN A   192.0.2.25
backup  IN A   192.0.2.26
two     IN A   192.0.2.27
two     IN A   192.0.2.28
printer IN A   192.0.2.99
2024._domainkey IN TXT ( "v=DKIM1; k=rsa; t=s; p={rsa_a}"
                         "{rsa_b}" )
s1._domainkey IN TXT "k=rsa; p={rsa_a}" "{rsa_b}"
s2._domainkey IN TXT "v=DKIM1; p={rsa_a}" "{rsa_b}"
old._domainkey IN TXT "v=DKIM1; p="
crm._domainkey IN CNAME dkim.crm.example.
odd._domainkey IN TXT "v=DKIM1; p=notbase64!"
_mta-sts IN TXT "v=STSv1; id=20240101T000000;"
mta-sts IN A 192.0.2.26
_smtp._tls IN TXT "v=TLSRPTv1;rua=mailto:tls@messy.example"
@       IN CAA 0 issue "ca.example.net"
@       IN CAA 0 contactemail "x@messy.example"
default._bimi IN TXT "v=BIMI1; l=https://messy.example/logo.svg"
_imaps._tcp IN SRV 5 1 993 imap.hoster.example.
_imap._tcp IN SRV 0 1 1143 imap.hoster.example.
_sip._tcp IN SRV 0 1 5060 sip.messy.example.
_25._tcp.mail IN TLSA 3 1 1 abababababababababababababababababababababababababababababababab
click   IN CNAME track.esp.example.
shop    IN CNAME shops.example.
_acme-challenge IN TXT "token"
lists   IN MX 10 lists
lists   IN A 192.0.2.40
bounce  IN TXT "v=spf1 include:esp.example -all"
two-spf IN MX 10 mail
two-spf IN TXT "v=spf1 a -all"
two-spf IN TXT "v=spf1 mx -all"
sub     IN NS ns.other.example.
ns.sub  IN A 192.0.2.200
other.example._report._dmarc IN TXT "v=DMARC1"
loc     IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m
elsewhere.net. IN A 192.0.2.1
"""


@pytest.fixture
def messy(rsa_public):
    half = len(rsa_public) // 2
    text = MESSY.replace("{rsa_a}", rsa_public[:half]).replace("{rsa_b}", rsa_public[half:])
    return read_zone(text, "messy.example.")


@pytest.fixture
def rsa_public():
    return DkimKey.from_private(KEYS["MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_R1"]).public


def _wanted(site):
    zones = desired(site)
    return [*(r for z in zones.zones for r in z.rrsets), *zones.by_hand]


def intents(fleet: Fleet):
    """What an import can tell: all but who holds what."""
    domains = {d.name: d.model_dump(exclude={"provider"}) for d in fleet.domains}
    machines = {
        m.name: (m.fqdn, m.addresses, "postfix" in m.roles, "policies" in m.roles) for m in fleet.machines
    }
    return domains, machines, fleet.dns.ttl


def as_fleet(fragment):
    return Fleet.model_validate({"owner": {"name": "x", "postmaster": "x@y.example"}} | fragment)


@pytest.fixture
def cli(tmp_path, capsys, monkeypatch):
    for command in (dns_export, dns_import):
        monkeypatch.setattr(command, "open_site", open_fleet)

    def call(*arguments):
        status = run(["dns", *map(str, arguments)])
        return (status, *capsys.readouterr())

    call.fleet = write_fleet(tmp_path)
    return call


def test_what_a_fleet_exports_is_imported_as_the_same_fleet(cli, tmp_path):
    text = cli("export", cli.fleet)[1]
    (tmp_path / "all.zone").write_text(text)
    status, out, said = cli("import", *ZONES, "--file", tmp_path / "all.zone")
    fragment = YAML(typ="safe").load(out)
    original, imported = open_fleet(cli.fleet).fleet, as_fleet(fragment)
    assert intents(imported) == intents(original)
    assert (status, "not understood" in said, "left to others" in said) == (0, False, False)
    assert "published otherwise" not in said
    assert (
        "# To do: bring the private key of r1: mailwright secrets set INVENTORY dkim/brightpost.example/r1"
        in out
    )


def test_the_imported_fleet_loads_with_what_is_to_do_done_and_wants_what_the_zone_holds(cli, tmp_path):
    text = cli("export", cli.fleet)[1]
    (tmp_path / "all.zone").write_text(text)
    out = cli("import", *ZONES, "--file", tmp_path / "all.zone")[1]
    again = tmp_path / "again.yaml"
    again.write_text("owner: { name: Test, postmaster: postmaster@brightpost.example }\n" + out)
    wanted = {r.key: r for r in _wanted(open_fleet(again))}
    assert wanted == {r.key: r for r in _wanted(open_fleet(cli.fleet))}


def test_every_record_of_a_messy_zone_is_accounted_for_once(messy):
    found = take_over(["messy.example."], messy)
    records = sorted((r.name, r.type, v) for r in messy for v in r.rdata)
    assert sorted((line.name, line.type, line.value) for line in found.lines) == records
    assert all(line.reason for line in found.lines)


def test_a_messy_zone_as_a_fleet(messy):
    found = take_over(["messy.example."], messy)
    domains = {d["name"]: d for d in found.fragment["domains"]}
    assert domains["messy.example"] == {
        "name": "messy.example",
        "mx": ["backup", "mail"],
        "dkim": [{"selector": "s1", "algorithm": "rsa"}],
        "spf": {"include": ["_spf.crm.example"], "all": "~all"},
        "dmarc": {"policy": "quarantine", "rua": ["mailto:dmarc@messy.example"]},
        "mta_sts": {"mode": "testing", "served_by": ["backup"]},
        "tls_rpt": {"rua": ["mailto:tls@messy.example"]},
        "caa": {"issuers": [{"name": "ca.example.net", "wildcard": True}]},
        "bimi": {"logo": "https://messy.example/logo.svg"},
        "clients": {"imaps": ["imap.hoster.example"]},
        "links": {"click": "track.esp.example"},
    }
    assert found.fragment["machines"] == [
        {
            "name": "backup",
            "fqdn": "backup.messy.example",
            "ipv4": "192.0.2.26",
            "roles": {"postfix": {}, "policies": {}},
        },
        {
            "name": "mail",
            "fqdn": "mail.messy.example",
            "ipv4": "192.0.2.25",
            "ipv6": "2001:db8::25",
            "roles": {"postfix": {}},
        },
    ]
    assert found.fragment["dns"] == {"ttl": 7200}
    as_fleet(found.fragment)


UNCLEAR = {
    ("messy.example.", "MX", "50 mx.filter"): "MX name machines",
    ("messy.example.", "TXT", "v=spf1"): (
        "taken over without mx (not addresses of machines that send), "
        "ip4:203.0.113.0/24 (a network is no machine), "
        "exists:%{i}.spf.example (fleets publish "
        "addresses and includes only), ?include:old.example (fleets only name who may send)"
    ),
    ("_dmarc.messy.example.", "TXT", "v=DMARC1"): "without pct=50, fo=1, mailto:big@r.example!10m",
    ("mail.messy.example.", "TXT", "v=spf1 a include:oops"): "has its own SPF record",
    ("mail.messy.example.", "MX", "10"): "mail goes to domains, not to it",
    ("2024._domainkey.messy.example.", "TXT", ""): "writes no selector as 2024",
    ("s2._domainkey.messy.example.", "TXT", ""): "a second rsa key beside s1",
    ("odd._domainkey.messy.example.", "TXT", ""): "p= holds no rsa public key",
    ("_mta-sts.messy.example.", "TXT", ""): "the mode is in the document",
    ("messy.example.", "CAA", "0 contactemail"): "a CAA property that fleets do not publish",
    ("_imap._tcp.messy.example.", "SRV", ""): "knows imap at port 143",
    ("_25._tcp.mail.messy.example.", "TLSA", ""): "keys of their own certificates",
    ("lists.messy.example.", "MX", ""): "not a machine",
    ("lists.messy.example.", "A", ""): "a mail domain's own name: a machine takes one below it",
    ("bounce.messy.example.", "TXT", ""): "a name that takes no mail",
    ("two-spf.messy.example.", "TXT", "v=spf1 a -all"): "several SPF records",
    ("two-spf.messy.example.", "TXT", "v=spf1 mx -all"): "several SPF records",
    ("other.example._report._dmarc.messy.example.", "TXT", ""): "belongs to no domain here",
    ("elsewhere.net.", "A", ""): "in none of the zones",
}


def test_what_of_a_messy_zone_is_not_understood_and_why(messy):
    lines = take_over(["messy.example."], messy).of(Fate.UNCLEAR)
    assert len(lines) == len(UNCLEAR), "\n".join(map(str, lines))
    for (name, type_, begin), reason in UNCLEAR.items():
        (line,) = [x for x in lines if (x.name, x.type) == (name, type_) and x.value.startswith(begin)]
        assert reason in line.reason


def test_what_of_a_messy_zone_is_left_to_others(messy):
    left = {
        (x.name.removesuffix("messy.example."), x.type): x.reason
        for x in take_over(["messy.example."], messy).of(Fate.LEFT)
    }
    assert left == {
        ("", "SOA"): "the zone's spine",
        ("", "NS"): "the zone's spine",
        ("", "A"): "the address of the zone's own name is the website's business",
        ("", "AAAA"): "the address of the zone's own name is the website's business",
        ("", "TXT"): "a text that is no mail policy",
        ("www.", "CNAME"): "an alias that mail has no part in",
        ("shop.", "CNAME"): "an alias that mail has no part in",
        ("smtp.", "A"): "a host that mail has no part in",
        ("two.", "A"): "a host that mail has no part in",
        ("printer.", "A"): "a host that mail has no part in",
        ("old._domainkey.", "TXT"): "a revoked key",
        ("crm._domainkey.", "CNAME"): "whoever holds the key at that name signs for you",
        ("_sip._tcp.", "SRV"): "a fleet has no SRV records of this kind",
        ("_acme-challenge.", "TXT"): "an ACME client's",
        ("sub.", "NS"): "a delegation",
        ("ns.sub.", "A"): "below a delegation, so another zone's",
        ("loc.", "LOC"): "a fleet has no LOC records of this kind",
    }  # fmt: skip


def test_what_is_taken_over_otherwise_shows_what_is_published_instead(messy):
    lines = {(x.name, x.type, x.value[:8]): x for x in take_over(["messy.example."], messy).of(Fate.TAKEN)}
    assert lines["messy.example.", "MX", "5 mail.m"].becomes == (
        "10 backup.messy.example.",
        "20 mail.messy.example.",
    )
    same = lines["_smtp._tls.messy.example.", "TXT", "v=TLSRPT"]
    assert same.becomes == ("v=TLSRPTv1; rua=mailto:tls@messy.example",)
    assert lines["mail.messy.example.", "A", "192.0.2."].becomes == ()


def test_an_import_reads_a_real_server_with_a_key_and_through_a_provider(cli, knot, tmp_path, monkeypatch):
    zone = knot.fresh_target("plain").zone
    target = knot.target(zone)
    target.foreign(f"{zone} 600 MX 10 mail.{zone}", f"mail.{zone} 600 A 192.0.2.25")
    monkeypatch.setenv("MAILWRIGHT_SECRET_TSIG_TEST", knot.key)
    server = ("--server", "127.0.0.1", "--port", knot.port, "--key-name", "all.")
    status, out, said = cli("import", zone, *server, "--key", "tsig/test")
    assert (status, YAML(typ="safe").load(out)["domains"][0]["mx"]) == (0, ["mail"])
    assert f"left to others: ns.{zone} A 127.0.0.1: a host that mail has no part in" in said
    assert f"left to others: {zone} SOA " in said
    fleet = tmp_path / "provider.yaml"
    fleet.write_text(FLEET.replace("server: 127.0.0.1,", f"server: 127.0.0.1, port: {knot.port},"))
    monkeypatch.setattr(
        dns_import, "open_site", lambda file: open_fleet(file, {"MAILWRIGHT_SECRET_TSIG_TEST": knot.key})
    )
    status, out, _ = cli("import", zone, "--provider", "knot", "--fleet", fleet, "--json")
    content = json.loads(out)
    assert content["fragment"]["domains"][0]["provider"] == "knot"
    assert {line["fate"] for line in content["lines"]} == {"taken over", "left to others"}
    status, _, said = cli("import", zone, *server[:4])
    assert (status, said.count("\n")) == (1, 1)
    monkeypatch.setenv("MAILWRIGHT_SECRET_TSIG_TEST", "d3Jvbmc=")
    status, _, said = cli("import", zone, *server, "--key", "tsig/test")
    assert (status, said.count("\n"), "d3Jvbmc" in said) == (1, 1, False)


def test_what_only_a_provider_can_express_is_left_to_others():
    zone = "a.example."
    odd = [
        RRset(zone, "MX", 60, frozenset({"octoDNS: {}", f"10 mail.{zone}"})),
        RRset(f"mail.{zone}", "A", 60, frozenset({"192.0.2.1 (through a proxy)"})),
        RRset(zone, "ALIAS", 60, frozenset({"cdn.example.net."})),
    ]
    found = take_over([zone], odd)
    assert {(x.type, x.reason) for x in found.of(Fate.LEFT)} == {
        (type_, "more than a plain record: only its provider can say what it does")
        for type_ in ("MX", "A", "ALIAS")
    }
    assert [x.value for x in found.of(Fate.UNCLEAR)] == [f"10 mail.{zone}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of --file, --server and --provider"),
        (["--file", "/nonexistent"], "/nonexistent: No such file or directory"),
        (["--file", __file__], f"{__file__}: not a master file: near line "),
        (["--provider", "x"], "name that with --fleet"),
        (["--server", "127.0.0.1", "--key", "tsig/x"], "--key-name and --key go together"),
        (["--server", "127.0.0.1", "--key", "tsig/x", "--key-name", "k."], "MAILWRIGHT_SECRET_TSIG_X"),
        (
            ["--server", "127.0.0.1", "--port", "1"],
            "reading a.example. at 127.0.0.1 port 1: Connection refused",
        ),
    ],
)
def test_an_import_from_nowhere_is_one_line(cli, arguments, said):
    status, out, err = cli("import", "a.example", *arguments)
    assert (status, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_zone_without_mail_is_nothing_to_take_over(cli, tmp_path):
    (tmp_path / "web.zone").write_text("@ 60 A 192.0.2.1\nwww 60 CNAME @\n")
    status, out, _ = cli("import", "web.example", "--file", tmp_path / "web.zone")
    assert (status, out) == (0, "# Nothing of these zones is about mail.\n")


def test_no_private_key_is_in_what_an_import_says(cli, tmp_path):
    (tmp_path / "all.zone").write_text(cli("export", cli.fleet)[1])
    _, out, said = cli("import", *ZONES, "--file", tmp_path / "all.zone")
    assert not any(line in out + said for key in KEYS.values() for line in key.splitlines()[1:-1])

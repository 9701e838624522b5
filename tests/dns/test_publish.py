"""A whole fleet is published on a real knot, through the command line."""

from __future__ import annotations

import io
import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from maildns.planning.planfile import Choices
from maildns.providers.rfc2136 import Rfc2136
from mailwright.command import dns as command
from mailwright.command import dns_check
from mailwright.command.main import run
from mailwright.model.load import load_site
from mailwright.model.needs import Certificate, Needs, Record
from mailwright.model.role import Role, Settings
from mailwright.publish import plan_site, without_removals

FLEET = """
lab: {{ name: dnstest, ipv4: 198.51.100.0/24, ipv6: "2001:db8:100::/64" }}  # asks nobody but its own servers
owner: {{ name: Test, postmaster: postmaster@brightpost.example }}
providers:
  knot: {{ type: rfc2136, server: 127.0.0.1, port: {port}, key_name: all., key: tsig/test }}
domains:
  - name: brightpost.example
    provider: knot
    mx: [mx1]
    dkim: [{{ selector: r1, algorithm: rsa }}, {{ selector: e1, algorithm: ed25519 }}]
    dmarc: {{ policy: reject, rua: ["mailto:dmarc@brightpost.example"] }}
  - name: parcelnote.example
    provider: knot
    dmarc: {{ rua: ["mailto:dmarc@brightpost.example"] }}
  - name: elsewhere.example
reverse_zones:
  - {{ name: 100.51.198.in-addr.arpa, provider: knot }}
machines:
  - name: mx1
    fqdn: mx1.brightpost.example
    ipv4: 198.51.100.21
    ipv6: 2001:db8:100::21
    roles: {{ postfix: {{}} }}
  - {{ name: util1, fqdn: util1.brightpost.example, ipv4: 198.51.100.31, roles: {{ base: {{}} }} }}
"""


def _pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


RSA = _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
ED25519 = _pem(ed25519.Ed25519PrivateKey.generate())


def _click_record(ctx) -> Needs:
    record = Record(f"click.{ctx.machine.fqdn}", "CNAME", str(ctx.machine.fqdn), "links in mail")
    return Needs(records=(record,))


ROLES = (
    Role("base", Settings, apply=lambda _: None),
    Role("postfix", Settings, apply=lambda _: None, needs=_click_record),
    Role(
        "policies",  # here it pins a key as well, so that not every test needs one
        Settings,
        apply=lambda _: None,
        needs=lambda ctx: Needs(
            certificates=(Certificate("smtp", (ctx.machine.fqdn,), pinned=((ctx.machine.fqdn, 25),)),)
        ),
    ),
)


class Fleet:
    """A fleet file and the command line over it."""

    def __init__(self, file: Path, environ: dict[str, str], capsys) -> None:
        self.file, self.environ, self.capsys = file, environ, capsys

    def dns(self, *arguments: str) -> tuple[int, str]:
        consent = ["--yes"] if arguments[0] == "apply" and "--plan" not in arguments else []
        status = run(["dns", arguments[0], str(self.file), *consent, *arguments[1:]])
        out, err = self.capsys.readouterr()
        return status, out + err

    def dns_unasked(self, answer: str, monkeypatch) -> tuple[int, str]:
        """Run `dns apply` without --yes, the answer on standard input."""
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        status = run(["dns", "apply", str(self.file)])
        out, err = self.capsys.readouterr()
        return status, out + err

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    @property
    def site(self):
        return load_site(self.file, ROLES, self.environ)


@pytest.fixture
def fleet(knot, tmp_path, capsys, monkeypatch):
    environ = {
        "MAILWRIGHT_SECRET_TSIG_TEST": knot.key,
        "MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_R1": RSA,
        "MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_E1": ED25519,
    }
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(port=knot.port))
    for module in (command, dns_check):
        monkeypatch.setattr(module, "open_site", lambda path: load_site(path, ROLES, environ))
    yield Fleet(file, environ, capsys)
    for zone in knot.fleet_zones:
        knot.empty(zone)


def values(knot, zone: str, name: str, type_: str) -> set[str]:
    return {v for r in knot.provider().fetch(zone).rrsets if r.key == (name, type_) for v in r.rdata}


def test_plan_apply_and_a_second_plan_that_is_empty(fleet, knot):
    status, out = fleet.dns("plan")
    assert status == 2
    assert "+ mx1.brightpost.example." in out
    assert "machine mx1" in out
    assert fleet.dns("apply")[0] == 0
    status, out = fleet.dns("plan")
    assert status == 0, out
    apex = "brightpost.example."
    assert values(knot, apex, apex, "MX") == {"10 mx1.brightpost.example."}
    assert values(knot, apex, apex, "TXT") == {"v=spf1 ip4:198.51.100.21 ip6:2001:db8:100::21 -all"}
    assert values(knot, apex, f"_dmarc.{apex}", "TXT") == {
        "v=DMARC1; p=reject; rua=mailto:dmarc@brightpost.example"
    }
    assert values(knot, apex, f"util1.{apex}", "MX") == {"0 ."}
    assert values(knot, apex, f"util1.{apex}", "TXT") == {"v=spf1 -all"}
    assert values(knot, apex, f"mx1.{apex}", "TXT") == {"v=spf1 a -all"}
    assert values(knot, apex, f"click.mx1.{apex}", "CNAME") == {f"mx1.{apex}"}
    assert values(knot, "parcelnote.example.", "parcelnote.example.", "MX") == {"0 ."}
    reverse = "100.51.198.in-addr.arpa."
    assert values(knot, reverse, f"21.{reverse}", "PTR") == {f"mx1.{apex}"}


def test_nothing_is_published_without_consent(fleet, monkeypatch):
    status, out = fleet.dns_unasked("n\n", monkeypatch)
    assert status != 0
    assert "Do this?" in out
    assert fleet.dns("plan")[0] == 2
    assert fleet.dns_unasked("y\n", monkeypatch)[0] == 0
    assert fleet.dns("plan")[0] == 0
    status, out = fleet.dns_unasked("", monkeypatch)
    assert (status, "Do this?" in out) == (0, False)


def test_what_no_zone_of_ours_holds_is_shown_for_publishing_by_hand(fleet):
    _, out = fleet.dns("plan", "--json")
    by_hand = {(r["name"], r["type"]) for r in json.loads(out)["by_hand"]}
    ptr6 = ip_address("2001:db8:100::21").reverse_pointer + "."
    assert ("elsewhere.example.", "MX") in by_hand
    assert ("_dmarc.elsewhere.example.", "TXT") in by_hand
    assert (ptr6, "PTR") in by_hand


def test_a_foreign_record_in_the_way_is_a_conflict_until_adopted(fleet, knot):
    zone = "brightpost.example."
    knot.target(zone).foreign(
        "mx1.brightpost.example. 300 A 192.0.2.66",
        'brightpost.example. 300 TXT "v=spf1 include:_spf.old.example -all"',
        'brightpost.example. 300 TXT "site-verification=1"',
    )
    status, out = fleet.dns("plan")
    assert status == 1
    assert "conflict: mx1.brightpost.example. A holds 192.0.2.66" in out
    assert "--adopt brightpost.example./TXT" in out
    status, out = fleet.dns("apply")
    assert status == 1
    assert values(knot, zone, "mx1.brightpost.example.", "A") == {"192.0.2.66"}
    assert values(knot, zone, f"_dmarc.{zone}", "TXT") == set()
    adopt = ("--adopt", "mx1.brightpost.example/A", "--adopt", "brightpost.example./txt")
    assert fleet.dns("apply", *adopt)[0] == 0
    assert values(knot, zone, "mx1.brightpost.example.", "A") == {"198.51.100.21"}
    assert values(knot, zone, zone, "TXT") == {
        "v=spf1 ip4:198.51.100.21 ip6:2001:db8:100::21 -all",
        "site-verification=1",
    }


def test_what_stops_mail_is_refused_without_the_flag_that_names_it(fleet, knot):
    assert fleet.dns("apply")[0] == 0
    fleet.change("mx: [mx1]", "mx: []")
    status, out = fleet.dns("apply")
    assert status == 1
    assert "--allow last-mx=brightpost.example." in out
    fleet.change("{ selector: r1, algorithm: rsa }, ", "")
    status, out = fleet.dns("plan", "--allow", "last-mx=brightpost.example.")
    assert status == 1
    assert "last-mx" not in out
    assert "--allow signing-key=r1._domainkey.brightpost.example." in out
    flags = ("last-mx=brightpost.example.", "signing-key=r1._domainkey.brightpost.example.")
    assert fleet.dns("apply", *(a for f in flags for a in ("--allow", f)))[0] == 0
    assert values(knot, "brightpost.example.", "brightpost.example.", "MX") == {"0 ."}


def test_a_saved_plan_is_applied_as_it_was_reviewed_or_not_at_all(fleet, knot, tmp_path):
    saved = tmp_path / "plan.json"
    assert fleet.dns("plan", "--out", str(saved), "--only", "brightpost.example")[0] == 2
    knot.target("brightpost.example.").foreign("printer.brightpost.example. 300 A 192.0.2.9")
    assert fleet.dns("apply", "--plan", str(saved))[0] == 0  # moved, but not where the plan goes
    assert values(knot, "parcelnote.example.", "parcelnote.example.", "MX") == set()
    fleet.change("policy: reject", "policy: none")
    assert fleet.dns("plan", "--out", str(saved))[0] == 2
    fleet.change("policy: none", "policy: quarantine")
    status, out = fleet.dns("apply", "--plan", str(saved))
    assert status == 1
    assert "plan again" in out
    assert values(knot, "brightpost.example.", "_dmarc.brightpost.example.", "TXT") == {
        "v=DMARC1; p=reject; rua=mailto:dmarc@brightpost.example"
    }


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 9}', "\udcff\x00", '{"format": 1}'])
def test_what_is_no_plan_file_is_one_line(fleet, tmp_path, content):
    saved = tmp_path / "plan.json"
    saved.write_bytes(content.encode("utf-8", "surrogateescape"))
    status, out = fleet.dns("apply", "--plan", str(saved))
    assert (status, out.count("\n"), out.startswith(f"{saved}: ")) == (1, 1, True), out


def test_errors_are_one_line_and_show_no_secret(fleet):
    for broken, said in (
        ({"MAILWRIGHT_SECRET_TSIG_TEST": "bm90IGl0"}, "secret of the key all. is wrong"),
        ({"MAILWRIGHT_SECRET_TSIG_TEST": "?"}, "not base64"),
        ({"MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_R1": ED25519}, "the fleet says rsa"),
        ({"MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_R1": "x"}, "not an unencrypted private key"),
    ):
        before = dict(fleet.environ)
        fleet.environ.update(broken)
        status, out = fleet.dns("plan")
        assert (status, out.count("\n")) == (1, 1), out
        assert said in out
        assert not any(line in out for secret in fleet.environ.values() for line in secret.splitlines()[1:])
        fleet.environ.update(before)
    fleet.change("key_name: all.", "key_name: nobody.")
    status, out = fleet.dns("plan")
    assert (status, "key nobody. is not accepted" in out) == (1, True), out


def test_the_check_turns_to_fault_where_the_world_is_broken(fleet, knot):
    """What is published by hand is unknown here: nobody serves elsewhere.example."""
    fleet.change("  - name: elsewhere.example\n", "")
    fleet.change("    ipv6: 2001:db8:100::21\n", "")
    assert fleet.dns("apply")[0] == 0
    status, out = fleet.dns("check")
    assert status == 0, out
    zone = "brightpost.example."
    apex = knot.target(zone)
    reverse = knot.target("100.51.198.in-addr.arpa.")
    breaks = [
        (apex, f'{zone} 3600 TXT "v=spf1 -all"', zone, "SPF", "2 SPF records"),
        (apex, f'_dmarc.{zone} 3600 TXT "v=DMARC1; p=none"', f"_dmarc.{zone}", "DMARC", "2 DMARC records"),
        (
            apex,
            f'r1._domainkey.{zone} 3600 TXT "x"',
            f"r1._domainkey.{zone}",
            "DKIM",
            "2 records at the selector",
        ),
        (apex, f"{zone} 3600 MX 5 gone.{zone}", zone, "MX", "also holds 5 gone."),
        (apex, f"util1.{zone} 3600 A 192.0.2.1", f"util1.{zone}", "A", "also holds 192.0.2.1"),
        (
            reverse,
            "21.100.51.198.in-addr.arpa. 3600 PTR other.example.",
            f"mx1.{zone}",
            "reverse DNS of 198.51.100.21",
            "also holds other.example.",
        ),
    ]
    for target, line, subject, what, sentence in breaks:
        target.foreign(line)
        status, out = fleet.dns("check", "--json")
        faults = {(v["subject"], v["what"]): v["sentence"] for v in json.loads(out) if v["state"] == "fault"}
        assert status == 1
        assert sentence in faults[subject, what]
        target.foreign_delete(line)
    assert fleet.dns("check")[0] == 0


def test_the_check_sees_a_key_that_is_not_the_one_we_sign_with(fleet):
    assert fleet.dns("apply")[0] == 0
    fleet.environ["MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_E1"] = _pem(ed25519.Ed25519PrivateKey.generate())
    status, out = fleet.dns("check")
    assert status == 1
    assert "another key than the one whose private half the secrets hold" in out


def test_an_mx_target_without_an_address_and_one_that_is_an_alias(fleet, knot):
    fleet.change("  - name: elsewhere.example\n", "")
    fleet.change("    ipv6: 2001:db8:100::21\n", "")
    assert fleet.dns("apply")[0] == 0
    target = knot.target("brightpost.example.")
    target.foreign_delete("mx1.brightpost.example. 3600 A 198.51.100.21")
    assert "mx1.brightpost.example. has no A" in fleet.dns("check")[1]
    target.foreign_delete('mx1.brightpost.example. 3600 TXT "v=spf1 a -all"')
    target.foreign("mx1.brightpost.example. 3600 CNAME util1.brightpost.example.")
    assert "is an alias" in fleet.dns("check")[1]


def test_who_cannot_be_asked_is_unknown_and_never_ok(fleet):
    assert fleet.dns("apply")[0] == 0
    status, out = fleet.dns("check")  # nobody serves elsewhere.example
    assert status == 3
    assert "unknown SPF" in out


def test_apply_fails_while_a_server_that_the_zone_names_does_not_serve_it(fleet, knot):
    zone = "brightpost.example."
    target = knot.target(zone)
    target.foreign(f"{zone} 3600 NS ns9.{zone}", f"ns9.{zone} 3600 A 127.0.0.9")  # nobody is there
    try:
        status, out = fleet.dns("apply", "--only", zone, "--deadline", "0.2")
        assert status == 1
        assert "not served everywhere within 0.2 s" in out
        assert "ns9.brightpost.example (127.0.0.9)" in out
        assert fleet.dns("plan", "--only", zone)[0] == 0  # it is published all the same
        fleet.change("  - name: elsewhere.example\n", "")
        fleet.change("    ipv6: 2001:db8:100::21\n", "")
        fleet.dns("apply", "--deadline", "0.2")
        status, out = fleet.dns("check")
        assert (status, out.count("\n  unknown ")) == (3, 1)
        assert "unknown server ns9.brightpost.example (127.0.0.9)" in out
    finally:
        target.foreign_delete(f"{zone} 3600 NS ns9.{zone}")


def test_apply_fails_when_the_provider_does_not_hold_what_it_took(fleet, monkeypatch):
    monkeypatch.setattr(Rfc2136, "apply", lambda *_: None)
    status, out = fleet.dns("apply")
    assert status == 1
    assert "a second plan is not empty for brightpost.example., parcelnote.example." in out


def test_a_dmarc_policy_takes_one_step_at_a_time(fleet):
    assert fleet.dns("apply")[0] == 0
    fleet.change('dmarc: { rua: ["mailto', 'dmarc: { policy: reject, rua: ["mailto')
    status, said = fleet.dns("plan")
    assert status == 1
    assert "from none to reject without quarantine in between" in said
    assert "--allow dmarc-jump=parcelnote.example." in said
    assert fleet.dns("plan", "--allow", "dmarc-jump=parcelnote.example.")[0] == 2
    for before, after in (("reject", "quarantine"), ("quarantine", "reject")):
        fleet.change(f"policy: {before}", f"policy: {after}")
        assert fleet.dns("apply")[0] == 0


KEYS = [_pem(ec.generate_private_key(ec.SECP256R1())) for _ in range(2)]
KEY, NEXT = (f"MAILWRIGHT_SECRET_CERTIFICATE_SMTP_{part}" for part in ("PRIVKEY", "NEXT_PRIVKEY"))


def test_a_pinned_key_is_exchanged_by_way_of_both_and_never_at_once(fleet):
    fleet.change("roles: { postfix: {} }", "roles: { postfix: {}, policies: {} }")
    fleet.environ[KEY] = KEYS[0]
    assert fleet.dns("apply")[0] == 0
    fleet.environ[KEY] = KEYS[1]
    status, said = fleet.dns("plan")
    assert status == 1
    assert said.count("--allow tlsa=_25._tcp.mx1.brightpost.example.") == 1
    fleet.environ |= {KEY: KEYS[1], NEXT: KEYS[0]}  # both are wanted now, and the world still knows one
    status, said = fleet.dns("apply")
    assert status == 1
    assert "does not name the key in use yet" in said
    fleet.environ |= {KEY: KEYS[0], NEXT: KEYS[1]}
    assert fleet.dns("apply")[0] == 0
    fleet.environ |= {KEY: KEYS[1], NEXT: KEYS[0]}
    assert fleet.dns("plan")[0] == 0
    del fleet.environ[NEXT]
    assert fleet.dns("apply")[0] == 0


def test_what_machines_must_serve_first_is_announced_after_them(fleet):
    fleet.environ[KEY] = KEYS[0]
    fleet.change("mx: [mx1]", "mx: [mx1]\n    mta_sts: { served_by: [mx1] }")
    fleet.change("roles: { postfix: {} }", "roles: { postfix: {}, policies: {} }")
    whole = plan_site(fleet.site)
    (brightpost,) = (p for p in without_removals(whole).zones if p.zone == "brightpost.example.")
    keys = {change.key for change in brightpost.changes}
    assert ("mta-sts.brightpost.example.", "A") in keys
    assert ("util1.brightpost.example.", "MX") in keys  # a null MX announces nobody
    later = {
        ("brightpost.example.", "MX"),  # a server that does not know the domain yet turns its mail away
        ("_mta-sts.brightpost.example.", "TXT"),
        ("_25._tcp.mx1.brightpost.example.", "TLSA"),
    }
    assert {change.key for change in whole.zones[0].changes} >= later
    assert not later & keys
    assert ("brightpost.example.", "TXT") in keys  # of the same name
    assert len(whole.zones[0].changes) - len(brightpost.changes) == 6  # each with its marker


def test_a_name_whose_type_changes_goes_as_a_whole(fleet, knot):
    knot.target("brightpost.example.").foreign("mx1.brightpost.example. 300 CNAME old.brightpost.example.")
    adopt = Choices(adopt=(("mx1.brightpost.example.", "CNAME"),))
    whole = plan_site(fleet.site, adopt)
    now = {change.key for plan in without_removals(whole).zones for change in plan.changes}
    assert {("mx1.brightpost.example.", type_) for type_ in ("A", "CNAME", "TXT")} <= now

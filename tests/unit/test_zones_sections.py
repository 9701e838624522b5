"""Each section of a domain, and each pinned certificate, becomes the records it stands for."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from maildns.policy.mta_sts import MtaSts
from maildns.policy.tlsa import Tlsa
from mailwright.model.errors import DnsError, SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Certificate, Needs
from mailwright.model.role import Role, Settings
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.zones import Zones, desired

MACHINES = [
    {"name": "mx", "fqdn": "mx.example.org", "ipv4": "192.0.2.1", "roles": {"postfix": {}}},
    {"name": "web", "fqdn": "web.example.org", "ipv4": "192.0.2.2", "ipv6": "2001:db8::2", "roles": {}},
]
PIN = "_25._tcp.mx.example.org."


def zones(section=None, secrets=None, *, pinned=()) -> Zones:
    """What a fleet of two machines and one domain publishes."""
    domain = {"name": "example.org", "provider": "knot", "mx": ["mx"], **(section or {})}
    fleet = {
        "owner": {"name": "Test", "postmaster": "postmaster@example.org"},
        "providers": {"knot": {"type": "rfc2136", "server": "192.0.2.53", "key_name": "k", "key": "tsig/k"}},
        "domains": [domain],
        "machines": MACHINES,
    }
    certificate = Certificate("smtp", ("mx.example.org.",), pinned=pinned)
    role = Role("postfix", Settings, lambda _: None, needs=lambda _: Needs(certificates=(certificate,)))
    return desired(Site(Fleet.model_validate(fleet), (role,), GivenSecrets(secrets or {})))


def at(found: Zones, name: str) -> set[tuple[str, str]]:
    """What a name holds: (type, value)."""
    return {(r.type, v) for zone in found.zones for r in zone.rrsets if r.name == name for v in r.rdata}


STS = {"mode": "enforce", "max_age": 604800, "served_by": ["web"]}


def test_an_mta_sts_policy_is_announced_and_its_host_is_the_machine_that_serves_it():
    found = zones({"mta_sts": STS})
    policy = MtaSts("enforce", ("mx.example.org.",), 604800)
    assert at(found, "_mta-sts.example.org.") == {("TXT", policy.text)}
    assert at(found, "mta-sts.example.org.") == {("A", "192.0.2.2"), ("AAAA", "2001:db8::2")}


def test_reports_about_tls_go_where_the_domain_says():
    found = zones({"tls_rpt": {"rua": ["mailto:tls@example.net", "https://reports.example.net/"]}})
    text = "v=TLSRPTv1; rua=mailto:tls@example.net,https://reports.example.net/"
    assert at(found, "_smtp._tls.example.org.") == {("TXT", text)}


def test_authorities_are_named_with_their_conditions():
    issuer = {
        "name": "letsencrypt.org",
        "accounturi": "https://acme.example/7",
        "validationmethods": ["dns-01"],
    }
    found = zones({"caa": {"issuers": [issuer], "iodef": ["mailto:security@example.org"]}})
    assert {value for type_, value in at(found, "example.org.") if type_ == "CAA"} == {
        '0 issue "letsencrypt.org; accounturi=https://acme.example/7; validationmethods=dns-01"',
        '0 issuewild ";"',
        '0 iodef "mailto:security@example.org"',
    }


def test_a_logo_is_shown_under_a_strict_policy_only():
    logo = {"logo": "https://example.org/logo.svg"}
    found = zones({"bimi": logo, "dmarc": {"policy": "reject"}})
    text = "v=BIMI1; l=https://example.org/logo.svg; a="
    assert at(found, "default._bimi.example.org.") == {("TXT", text)}
    with pytest.raises(DnsError, match=r"example\.org: BIMI needs"):
        zones({"bimi": logo})


def test_mail_programs_find_machines_and_other_hosts_and_learn_what_is_not_offered():
    found = zones({"clients": {"submissions": ["mx"], "imaps": ["imap.example.net"]}})
    assert at(found, "_submissions._tcp.example.org.") == {("SRV", "0 1 465 mx.example.org.")}
    assert at(found, "_imaps._tcp.example.org.") == {("SRV", "0 1 993 imap.example.net.")}
    assert at(found, "_pop3._tcp.example.org.") == {("SRV", "0 0 0 .")}


def test_links_lead_to_a_machine_or_to_somebody_elses_host():
    found = zones({"links": {"unsubscribe": "web", "click": "track.example.net"}})
    assert at(found, "unsubscribe.example.org.") == {("A", "192.0.2.2"), ("AAAA", "2001:db8::2")}
    assert at(found, "click.example.org.") == {("CNAME", "track.example.net.")}


def test_a_domain_that_says_nothing_publishes_nothing_of_it():
    names = {r.name for zone in zones().zones for r in zone.rrsets}
    assert names == {"example.org.", "_dmarc.example.org.", "mx.example.org.", "web.example.org."}


def test_every_value_has_a_reason():
    everything = {
        "mta_sts": STS,
        "tls_rpt": {"rua": ["mailto:tls@example.net"]},
        "caa": {"issuers": [{"name": "letsencrypt.org", "wildcard": True}]},
        "bimi": {"logo": "https://example.org/logo.svg"},
        "dmarc": {"policy": "reject", "since": "2026-11-01"},
        "clients": {"submission": ["mx"]},
        "links": {"unsubscribe": "web", "click": "track.example.net"},
    }
    found = zones(everything, {"certificate/smtp/privkey": key()}, pinned=(("mx.example.org.", 25),))
    assert all(why for zone in found.zones for r in zone.rrsets for _, why in r.explained())


def key() -> str:
    made = ec.generate_private_key(ec.SECP256R1())
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_pinned_key_is_published_and_the_next_one_beside_it():
    now, following = key(), key()
    secrets = {"certificate/smtp/privkey": now}
    found = zones(secrets=secrets, pinned=(("mx.example.org.", 25),))
    assert at(found, PIN) == {("TLSA", Tlsa.of_private_key(now).text)}
    found = zones(
        secrets=secrets | {"certificate/smtp/next-privkey": following}, pinned=(("mx.example.org.", 25),)
    )
    assert at(found, PIN) == {("TLSA", Tlsa.of_private_key(k).text) for k in (now, following)}
    assert found.in_use == {PIN: {Tlsa.of_private_key(now).text}}


def test_a_key_that_is_not_pinned_is_nobodys_business():
    found = zones()
    assert (at(found, PIN), found.in_use) == (set(), {})


def test_a_pinned_key_that_is_missing_or_none_is_one_line():
    with pytest.raises(SecretError, match="certificate/smtp/privkey is missing"):
        zones(pinned=(("mx.example.org.", 25),))
    with pytest.raises(DnsError, match="secret certificate/smtp/next-privkey: not an unencrypted") as error:
        zones(
            secrets={"certificate/smtp/privkey": key(), "certificate/smtp/next-privkey": "-----x"},
            pinned=(("mx.example.org.", 25),),
        )
    assert "-----x" not in str(error.value)

"""Pins that the world around the fleet judges as the world does, and gives nobody a way out."""

import time
from base64 import b64encode

import dkim
import dns.dnssec
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailwright.lab import keys


@pytest.fixture(scope="module")
def update(lab):
    """Returns a function that sends one update, signed with the key of the fleet's provider."""

    def send(zone, *records):
        provider = lab.plan.provider
        keyring = dns.tsigkeyring.from_text({provider.key_name: keys.tsig_secret(lab.plan)})
        message = dns.update.UpdateMessage(zone, keyring=keyring, keyalgorithm=provider.algorithm)
        for name, value in records:
            if value:
                message.replace(name, 60, "TXT", value)
            else:
                message.delete(name)
        return dns.query.tcp(message, str(provider.server), timeout=5).rcode()

    return send


def test_every_zone_is_signed_up_to_an_anchor(lab):
    anchors = (lab.plan.state / "anchors").read_text()
    for zone in ("example.", "mailbox.example.", *lab.plan.fleet_zones):
        answer = lab.ns.ask(zone, "DNSKEY", dnssec=True).answer
        signed = next(r for r in answer if r.rdtype == dns.rdatatype.DNSKEY)
        signature = next(r for r in answer if r.rdtype == dns.rdatatype.RRSIG)
        dns.dnssec.validate(signed, signature, {dns.name.from_text(zone): signed})
        delegated = [dns.dnssec.make_ds(zone, key, "SHA256").to_text() for key in signed]
        assert lab.ns.values(zone, "DS") == delegated or f"{zone} IN DNSKEY {signed[0]}" in anchors


def test_addresses_of_the_world_have_names_that_lead_back(lab):
    for host in lab.plan.hosts[:3]:
        for interface in host.interfaces:
            pointer = interface.ip.reverse_pointer + "."
            assert lab.ns.values(pointer, "PTR") == [host.fqdn + "."]
            kind = "A" if interface.version == 4 else "AAAA"
            assert lab.ns.values(host.fqdn + ".", kind) == [str(interface.ip)]


def test_the_fleets_key_changes_the_fleets_zones_only(lab, update):
    own = lab.plan.fleet_zones[0]
    assert update(own, (f"trial.{own}", '"here"')) == dns.rcode.NOERROR
    assert lab.ns.values(f"trial.{own}", "TXT") == ['"here"']
    assert update(own, (f"trial.{own}", None)) == dns.rcode.NOERROR
    for zone in ("example.", "mailbox.example."):
        with pytest.raises(dns.tsig.PeerError):
            update(zone, (f"trial.{zone}", '"here"'))
        assert lab.ns.values(f"trial.{zone}", "TXT") == []


class Author:
    """A domain with DKIM keys of both kinds, and how it signs."""

    def __init__(self, domain):
        self.domain = domain
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ed25519 = ed25519.Ed25519PrivateKey.generate()

    def records(self):
        """What it publishes: nothing that names an address, so that only a signature can pass."""
        der = self.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        raw = self.ed25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return [
            (f"{self.domain}.", '"v=spf1 -all"'),
            (f"_dmarc.{self.domain}.", '"v=DMARC1; p=reject"'),
            (f"rsa._domainkey.{self.domain}.", _txt(f"v=DKIM1; k=rsa; p={b64encode(der).decode()}")),
            (f"ed._domainkey.{self.domain}.", _txt(f"v=DKIM1; k=ed25519; p={b64encode(raw).decode()}")),
        ]

    def sign(self, message, *algorithms):
        for algorithm in algorithms:
            if algorithm == "rsa":
                key = self.rsa.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            else:
                key = b64encode(self.ed25519.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
            message = (
                dkim.sign(
                    message,
                    algorithm[:3].replace("ed2", "ed").encode(),
                    self.domain.encode(),
                    key,
                    signature_algorithm=f"{algorithm}-sha256".encode(),
                    include_headers=[b"from", b"to", b"subject"],
                )
                + message
            )
        return message


def _txt(value):
    return " ".join(f'"{value[i : i + 255]}"' for i in range(0, len(value), 255))


@pytest.fixture(scope="module")
def author(lab, update):
    """A domain below one of the fleet's zones, published for these tests only."""
    zone = lab.plan.fleet_zones[0]
    made = Author(f"judged.{zone.removesuffix('.')}")
    assert update(zone, *made.records()) == dns.rcode.NOERROR
    yield made
    update(zone, *((name, None) for name, _ in made.records()))


def _send(lab, message, author, recipient, *, ipv6=False):
    """Hand a message to the mailbox provider from the stranger's address."""
    target = str(lab.plan.host("mailbox").interfaces[1 if ipv6 else 0].ip)
    argv = ["swaks", "--silent", "2", "--server", target, "--helo", "outside.example", "--tls"]
    envelope = ["--from", f"news@{author.domain}", "--to", recipient, "--data", "-"]
    return lab.host("outside").run([*argv, *envelope], stdin=message)


def _message(author, subject):
    head = f"From: news@{author.domain}\r\nTo: ann@mailbox.example\r\nSubject: {subject}\r\n"
    return f"{head}\r\nHello.\r\n".encode()


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_both_kinds_of_signature_pass_at_the_mailbox_provider(lab, author, ipv6):
    began, subject = time.time(), f"signed {ipv6}"
    signed = author.sign(_message(author, subject), "rsa", "ed25519")
    _send(lab, signed, author, "ann@mailbox.example", ipv6=ipv6).require()
    message = lab.mailbox.wait_for("ann", lambda m: m.subject == subject, since=began - 1)
    assert message.results("dkim") == ["pass", "pass"]
    assert message.results("spf") == ["fail"]
    assert message.results("dmarc") == ["pass"]


def test_a_spoilt_signature_does_not_count(lab, author):
    spoilt = author.sign(_message(author, "spoilt"), "rsa", "ed25519").replace(b"Hello.", b"Hullo.")
    refused = _send(lab, spoilt, author, "ann@mailbox.example")
    assert "554 5.7.1" in refused.stdout + refused.stderr


def test_a_forgery_is_refused_under_reject(lab, author):
    refused = _send(lab, _message(author, "forged"), author, "ann@mailbox.example")
    assert not refused.ok
    assert "554 5.7.1" in refused.stdout + refused.stderr


@pytest.mark.parametrize(("user", "code"), [("unknown1", "550 5.1.1"), ("full1", "452 4.2.2")])
def test_recipients_with_a_fate_meet_it(lab, author, user, code):
    refused = _send(lab, _message(author, "fate"), author, f"{user}@mailbox.example")
    assert code in refused.stdout + refused.stderr


PROBE = """
exec 3<>/dev/tcp/{door}/3144
printf 'GET http://{target}/ HTTP/1.0\\r\\n\\r\\n' >&3
head -1 <&3
"""


def test_packages_come_in_and_nothing_goes_out(lab):
    host, door = lab.host("outside"), lab.plan.controller[0].ip
    packages = "apt-get -qq update && apt-get -qq -y --download-only install hello"
    host.run(packages, timeout=300).require()
    assert "403" in host.run(["bash", "-c", PROBE.format(door=door, target="192.0.2.80")]).stdout
    for family in ("-4", "-6"):
        assert host.run(["ip", family, "route", "show", "default"]).require().stdout == ""

"""Pins what Postfix's ports must show to a stranger, and which of it is a fault."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mailwright.model.errors import UnknownError
from mailwright.model.visit import Reception
from roles import dovecot, postfix

HOST = "m1.brightpost.example"
NOW = datetime.now(UTC)
# As Postfix 3.7 and 3.10 say it.
GREETING = f"220 {HOST} ESMTP"
PLAIN = f"250-{HOST}\n250-PIPELINING\n250-SIZE 26214400\n250-STARTTLS\n250-ENHANCEDSTATUSCODES\n250 SMTPUTF8"
SECURE = f"250-{HOST}\n250-PIPELINING\n250-AUTH PLAIN LOGIN\n250 SMTPUTF8"
RELAY = "554 5.7.1 <stranger@example.net>: Relay access denied"


def certificate(name=HOST, days=90):
    """A self-signed certificate for a name (empty: for none), in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, NOW - timedelta(1), NOW + timedelta(days)
    )
    if name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


CERTIFICATE = certificate()


@pytest.fixture
def checks(plan_of):
    """Returns a function: settings of Postfix to the checks from outside, by name."""

    def named(settings=None, **fleet):
        domains = [{"name": "brightpost.example", "mx": ["m1"]}]
        known = {"domains": domains, "machine": {"ipv6": None}, "secrets": {"submission-salt": "x"}} | fleet
        plan = plan_of(dovecot.ROLE, postfix.ROLE, settings={"postfix": settings or {}}, **known)
        return {check.name: check for _, check in plan.outside()}

    return named


def test_every_public_port_is_visited_at_every_address(checks):
    both = checks(machine={"ipv6": "2001:db8::11"})
    assert [name for name in both if "takes" in name] == [
        "25 at 203.0.113.11 takes mail for us alone",
        "587 at 203.0.113.11 takes logins within TLS",
        "465 at 203.0.113.11 takes logins within TLS",
        "25 at 2001:db8::11 takes mail for us alone",
        "587 at 2001:db8::11 takes logins within TLS",
        "465 at 2001:db8::11 takes logins within TLS",
    ]


def test_what_is_not_for_everybody_is_not_visited(checks):
    assert not [n for n in checks({"submission_audience": "fleet"}) if n.startswith(("587", "465"))]
    assert not checks(machine={"closed": True})


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        ((GREETING, PLAIN, "250 2.1.0 Ok", RELAY, "221 2.0.0 Bye"), None),
        ((GREETING, PLAIN, "250 2.1.0 Ok", "250 2.1.5 Ok", "221 2.0.0 Bye"), "it would relay"),
        ((GREETING, SECURE.replace("PIPELINING", "STARTTLS"), "250 Ok", RELAY), "it offers AUTH without TLS"),
        ((GREETING, f"250-VRFY\n{PLAIN}", "250 Ok", RELAY), "it answers VRFY"),
        ((GREETING, PLAIN.replace("250-STARTTLS\n", ""), "250 Ok", RELAY), "it does not offer STARTTLS"),
        (("220 somebody.example ESMTP", PLAIN, "250 Ok", RELAY), "its greeting is '220 somebody.example"),
    ],
)
def test_port_25_takes_no_strangers_mail_for_strangers(checks, replies, found):
    said = checks()["25 at 203.0.113.11 takes mail for us alone"].judge(Reception("open", replies=replies))
    assert said is None if found is None else said.startswith(found)


def within_tls(**changes):
    known = {
        "replies": (GREETING, PLAIN, "220 2.0.0 Ready to start TLS", SECURE, "221 2.0.0 Bye"),
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "certificate": CERTIFICATE,
    }
    return Reception("open", **known | changes)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, None),
        ({"version": "TLSv1.2", "cipher": "ECDHE-ECDSA-AES256-GCM-SHA384"}, None),
        ({"version": "TLSv1.2", "cipher": "AES256-GCM-SHA384"}, "AES256-GCM-SHA384 has no forward secrecy"),
        ({"version": "", "trouble": "STARTTLS is refused"}, "TLS does not come about: STARTTLS is refused"),
        ({"replies": (GREETING, SECURE, "220 Ready", SECURE)}, "it offers AUTH without TLS"),
        ({"replies": (GREETING, PLAIN, "220 Ready", PLAIN)}, "it offers no AUTH PLAIN within TLS"),
        ({"certificate": certificate("x.example")}, f"its certificate is not for {HOST}"),
        ({"certificate": certificate("")}, f"its certificate is not for {HOST}"),
        ({"certificate": certificate(days=6)}, "its certificate ends on"),
    ],
)
def test_submission_offers_logins_within_good_tls_alone(checks, changes, found):
    said = checks()["587 at 203.0.113.11 takes logins within TLS"].judge(within_tls(**changes))
    assert said is None if found is None else said.startswith(found)


def test_a_port_that_agrees_to_old_tls_is_told(checks):
    check = checks()["25 at 203.0.113.11 refuses TLS below 1.2"]
    assert check.visit.old
    assert check.judge(Reception("open", trouble="[SSL: TLSV1_ALERT_PROTOCOL_VERSION]")) is None
    assert check.judge(within_tls(version="TLSv1.1")) == "it agrees to TLSv1.1"
    for no_word in ("[SSL: NO_PROTOCOLS_AVAILABLE]", "[SSL: NO_CIPHERS_AVAILABLE]", "it hung up", ""):
        with pytest.raises(UnknownError):
            check.judge(Reception("open", trouble=no_word))


def test_a_port_that_was_not_reached_is_unknown(checks):
    for check in checks().values():
        with pytest.raises(UnknownError):
            check.judge(Reception("silent"))

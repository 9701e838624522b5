"""MTA-STS, TLS-RPT and TLSA say what we mean and are read as senders read them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import checkdmarc.mta_sts
import checkdmarc.smtp_tls_reporting
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from maildns.errors import RecordError
from maildns.policy.mta_sts import MtaSts, is_mta_sts, policy_host, policy_id
from maildns.policy.tls_rpt import TlsRpt
from maildns.policy.tlsa import Tlsa, tlsa_name
from maildns.records import canonical_value

POLICY = MtaSts("enforce", ("mx1.example.org.", "mx2.example.net."), 604800)


def test_the_policy_is_written_line_by_line_as_the_rfc_has_it():
    assert POLICY.document == (
        b"version: STSv1\r\nmode: enforce\r\n"
        b"mx: mx1.example.org\r\nmx: mx2.example.net\r\nmax_age: 604800\r\n"
    )
    assert MtaSts.parse(POLICY.document) == POLICY


def test_checkdmarc_reads_policy_and_record_as_we_meant_them():
    read = checkdmarc.mta_sts.parse_mta_sts_policy(POLICY.document.decode())["policy"]
    assert (read["mode"], read["max_age"]) == ("enforce", 604800)
    assert read["mx"] == ["mx1.example.org", "mx2.example.net"]
    assert checkdmarc.mta_sts.parse_mta_sts_record(POLICY.text)["tags"]["id"] == POLICY.id


@pytest.mark.parametrize(
    "other",
    [
        MtaSts("testing", POLICY.mx, POLICY.max_age),
        MtaSts("enforce", POLICY.mx[:1], POLICY.max_age),
        MtaSts("enforce", POLICY.mx, 604801),
    ],
)
def test_the_id_changes_with_the_policy_and_with_nothing_else(other):
    assert other.id != POLICY.id
    assert MtaSts("enforce", POLICY.mx, 604800).id == POLICY.id
    assert policy_id([POLICY.text]) == POLICY.id
    assert len(POLICY.id) <= 32


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (MtaSts("enforce", (), 604800), "no MX would stop all mail"),
        (MtaSts("testing", ("relative",), 604800), "ends in a dot"),
        (MtaSts("testing", ("a.example.",), 31_557_601), "max_age is 0 to"),
    ],
)
def test_a_policy_that_would_stop_mail_is_refused(policy, said):
    with pytest.raises(RecordError, match=said):
        _ = policy.document


def test_a_policy_that_ends_names_no_mx():
    assert MtaSts.parse(MtaSts("none", (), 86400).document) == MtaSts("none", (), 86400)


def test_senders_take_bare_line_feeds_and_pass_over_what_they_do_not_know():
    text = b"version: STSv1\nmode:testing \nmode: enforce\nfuture: x\nmx: *.Example.org\nmax_age:\t86400\n"
    assert MtaSts.parse(text) == MtaSts("testing", ("*.example.org.",), 86400)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "lacks `version"),
        (b"<html>", "no `name: value`"),
        (b"\xff", "no text"),
        (b"version: STSv2\nmode: none\nmax_age: 1\n", "lacks `version"),
        (b"version: STSv1\nmax_age: 1\n", "mode is none, testing or enforce, not left out"),
        (b"version: STSv1\nmode: on\nmax_age: 1\n", "not on"),
        (b"version: STSv1\nmode: none\n", "max_age is not"),
        (b"version: STSv1\nmode: none\nmax_age: 99999999999\n", "max_age is not"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\n", "names no mx"),
    ],
)
def test_a_document_that_is_no_policy_says_why(document, said):
    with pytest.raises(RecordError, match=said):
        MtaSts.parse(document)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("mx1.example.org.", True),
        ("MX.wild.example.", True),
        ("a.mx.wild.example.", False),
        ("wild.example.", False),
        ("mx2.example.org.", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host, covered):
    assert MtaSts("enforce", ("mx1.example.org.", "*.wild.example."), 86400).covers(host) is covered


def test_the_record_of_others_at_its_name_is_passed_over_and_two_are_none():
    assert policy_id(["something else"]) is None
    assert policy_id([POLICY.text, "something else"]) == POLICY.id
    with pytest.raises(RecordError, match="2 MTA-STS records"):
        policy_id([POLICY.text, POLICY.text.upper().replace("V=STSV1", "v=STSv1")])
    with pytest.raises(RecordError, match="not an id"):
        policy_id(["v=STSv1; id=2026-11-30"])
    assert not is_mta_sts("v=STSv10; id=1")


def test_each_mode_tells_the_operator_what_it_does():
    reasons = {MtaSts(mode, POLICY.mx, 86400).entry("example.org.").reason for mode in ("none", "testing")}
    entry = POLICY.entry("example.org.")
    assert (entry.name, len(reasons | {entry.reason})) == ("_mta-sts.example.org.", 3)
    assert policy_host("example.org.") == "mta-sts.example.org."


def test_checkdmarc_reads_where_reports_go():
    record = TlsRpt(("mailto:tls@example.org", "https://reports.example.org/v1/tls"))
    read = checkdmarc.smtp_tls_reporting.parse_smtp_tls_reporting_record(record.text)
    assert tuple(read["tags"]["rua"]["value"]) == record.rua
    assert TlsRpt.parse(record.text) == record
    assert record.entry("example.org.").name == "_smtp._tls.example.org."


@pytest.mark.parametrize(
    "uri", ["tls@example.org", "http://example.org/", "mailto:a,b@example.org", "https://x;y"]
)
def test_what_takes_no_tls_report_is_refused(uri):
    with pytest.raises(RecordError, match="not a mailto: or https: place"):
        _ = TlsRpt((uri,)).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=TLSRPTv2; rua=mailto:a@example.org", "not a TLS-RPT record"),
        ("v=TLSRPTv1;", "at least one place"),
        ("v=TLSRPTv1; rua", "not a tag=value list"),
    ],
)
def test_a_tls_rpt_record_that_senders_ignore_says_why(text, said):
    with pytest.raises(RecordError, match=said):
        TlsRpt.parse(text)


def certificate(key) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx1.example.org")])
    start = datetime(2026, 11, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=90))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(params=["ecdsa", "rsa"])
def key(request):
    return (
        ec.generate_private_key(ec.SECP256R1())
        if request.param == "ecdsa"
        else rsa.generate_private_key(65537, 2048)
    )


def test_a_tlsa_record_is_the_digest_of_the_public_key_and_outlives_certificates(key):
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = Tlsa.of_private_key(pem(key))
    assert record.text == f"3 1 1 {hashlib.sha256(spki).hexdigest()}"
    assert record.matches(certificate(key))
    assert not record.matches(certificate(ec.generate_private_key(ec.SECP256R1())))
    assert Tlsa.parse(canonical_value("TLSA", record.text)) == record
    assert record.entry("mx1.example.org.", 25, "why").name == "_25._tcp.mx1.example.org."


def test_others_tlsa_records_are_matched_by_what_they_say(key):
    der = certificate(key)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for record in (
        Tlsa(3, 0, 0, der.hex()),
        Tlsa(3, 0, 1, hashlib.sha256(der).hexdigest()),
        Tlsa(2, 1, 2, hashlib.sha512(spki).hexdigest()),
    ):
        assert record.matches(der)
    assert not Tlsa(3, 9, 1, hashlib.sha256(der).hexdigest()).matches(der)
    assert not Tlsa(3, 1, 9, hashlib.sha256(spki).hexdigest()).matches(der)


def test_what_is_no_key_certificate_or_record_is_refused_and_not_shown():
    with pytest.raises(RecordError, match="not an unencrypted private key") as error:
        Tlsa.of_private_key("secret")
    assert "secret" not in str(error.value)
    with pytest.raises(RecordError, match="not a TLSA value"):
        Tlsa.parse("3 1 1")
    with pytest.raises(RecordError, match="not a certificate"):
        Tlsa(3, 1, 1, "00").matches(b"x")
    assert tlsa_name("mx.example.", 465) == "_465._tcp.mx.example."

"""What `mailwright certificates` says to its operator, and refuses before anything happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailwright.certificate import new_key, request
from mailwright.command import certificates
from mailwright.command import certificates_report as report
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Certificate, Needs
from mailwright.model.role import Result, Role, Settings, Wanted
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.rollover.subject import pinned, places, subjects

NAMES = ("mx1.example.org.", "mx.example.org.")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def made(key, names=NAMES, days=30):
    """A PEM certificate for a PEM key."""
    private = load_pem_private_key(key.encode(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An Authority")])
    hosts = x509.SubjectAlternativeName([x509.DNSName(each.removesuffix(".")) for each in names])
    start, end = NOW - timedelta(days=60), NOW + timedelta(days=days)
    leaf = x509.CertificateBuilder(name, name, private.public_key(), 1, start, end)
    leaf = leaf.add_extension(hosts, critical=False)
    return leaf.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


KEY, OTHER = new_key("ecdsa"), new_key("ecdsa")


def site(secrets=None, certificate=None, *, pinned_at=(25,)):
    """One machine with one certificate whose key is among the secrets."""
    mine = certificate or Certificate(
        "smtp", NAMES, pinned=tuple((name, port) for name in NAMES for port in pinned_at)
    )
    serves = Role("postfix", Settings, lambda _: None, needs=lambda _: Needs(certificates=(mine,)), after=())
    gives = Role(
        "certificates",
        Settings,
        lambda _: None,
        secrets=lambda _: {f"certificate/smtp/{part}": Wanted("") for part in ("privkey", "fullchain")},
        after=(),
    )
    fleet = {
        "owner": {"name": "Test", "postmaster": "postmaster@example.org"},
        "machines": [
            {
                "name": "mx1",
                "fqdn": "mx1.example.org",
                "ipv4": "192.0.2.1",
                "roles": {"postfix": {}, "certificates": {}},
            }
        ],
    }
    given = GivenSecrets({"certificate/smtp/privkey": KEY} | (secrets or {}))
    return Site(Fleet.model_validate(fleet), (gives, serves), given)


@pytest.fixture
def status(monkeypatch):
    """Returns a function: what lies on the machine to what is reported of it."""

    def ask(chain, key=KEY, secrets=None, silence=""):
        def run(_):
            def answer(_command):
                if silence:
                    raise UnknownError(silence)
                return Result(0, "", "")

            return answer

        digest = public_digest(key)
        monkeypatch.setattr(report, "runner", run)
        monkeypatch.setattr(
            report.batch, "parse", lambda _: {0: Result(0, chain, ""), 1: Result(0, f"{digest}  -\n", "")}
        )
        the_site = site(secrets)
        (found,) = report.reports(the_site, the_site.fleet.machines, NOW.timestamp())
        return found

    return ask


def public_digest(key):
    digest = hashes.Hash(hashes.SHA256())
    public = load_pem_private_key(key.encode(), None).public_key()
    digest.update(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def test_status_says_until_when_for_whom_and_by_whom(status):
    found = status(made(KEY))
    assert found.line == "mx1  smtp  ecdsa  until 2026-12-22T00:00:00Z (30 days)"
    assert list(found.details) == [
        "names: mx.example.org, mx1.example.org",
        "issuer: CN=An Authority",
        "pinned at port 25",
    ]
    assert json.loads(json.dumps(found.data()))["not_after"] == "2026-12-22T00:00:00Z"


@pytest.mark.parametrize(
    ("chain", "key", "says"),
    [
        (made(KEY, days=-1), KEY, "expired"),
        (made(OTHER), KEY, "its key is another"),
        (made(KEY, NAMES[:1]), KEY, "does not cover mx.example.org."),
        ("", KEY, "there is no certificate"),
    ],
)
def test_status_says_what_is_wrong(status, chain, key, says):
    assert status(chain, key).fault == says


def test_a_machine_that_does_not_answer_is_no_fault(status):
    found = status("", silence="no route to host")
    assert (found.fault, found.silence) == ("", "no route to host")


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ({"next-privkey": OTHER}, "a next key waits"),
        (
            {"next-privkey": OTHER, "announced": "2026-11-21T00:00:00Z"},
            "announced since 2026-11-21T00:00:00Z",
        ),
        ({"old-privkey": OTHER}, "the key before it is still published"),
    ],
)
def test_status_says_where_a_roll_over_stands(status, secrets, says):
    found = status(made(KEY), secrets={f"certificate/smtp/{part}": value for part, value in secrets.items()})
    assert says in found.coming


def test_a_request_is_for_the_key_and_every_name():
    asked = x509.load_pem_x509_csr(request(KEY, NAMES).encode())
    names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx1.example.org", "mx.example.org"]
    assert asked.public_key() == load_pem_private_key(KEY.encode(), None).public_key()
    assert asked.is_signature_valid


def test_no_key_is_announced_that_no_machine_would_be_given(monkeypatch):
    monkeypatch.setattr(certificates, "open_site", lambda _: site())
    with pytest.raises(MailwrightError, match="no machine serves smtp with an RSA key"):
        certificates.request(Path("prod.yaml"), "smtp", "rsa")


def test_what_is_rolled_over_is_pinned_and_deployed_by_those_who_give_and_serve_it():
    subject = pinned(site(), None)
    assert (subject.name, subject.provided, subject.names) == ("smtp", True, NAMES)
    assert subject.roles == {"postfix", "certificates"}
    assert [(p.name, p.address, p.port) for p in places(site(), subject)] == [
        ("mx1.example.org", "192.0.2.1", 25)
    ]


def test_a_key_that_nothing_pins_is_not_rolled_over():
    assert [s.name for s in subjects(site(pinned_at=()))] == ["smtp"]
    with pytest.raises(MailwrightError, match="no TLSA record pins a key of this fleet"):
        pinned(site(pinned_at=()), None)
    with pytest.raises(MailwrightError, match="no TLSA record pins the key of web; name one of smtp"):
        pinned(site(), "web")

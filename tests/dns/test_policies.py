"""SPF, DKIM, DMARC, MX and PTR say what we mean, by our own reading and by that of others."""

from __future__ import annotations

import base64
from ipaddress import ip_address, ip_network

import checkdmarc.dmarc
import checkdmarc.spf
import dkim
import dns.resolver
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from maildns.errors import RecordError
from maildns.policy.dkim import DkimKey, is_live_key, selector_name
from maildns.policy.dmarc import Dmarc, is_dmarc
from maildns.policy.hosts import mx, null_mx, pointer, reverse_name
from maildns.policy.spf import NOBODY, Spf, is_spf


class NoDns:
    """A resolver for oracles that would otherwise ask the world."""

    lifetime = 1.0

    def resolve(self, *_: object, **__: object) -> None:
        raise dns.resolver.NXDOMAIN


def pem(key, encryption=None, form=PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
MESSAGE = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("private", "signing_key", "algorithm"),
    [
        (pem(RSA), pem(RSA, form=PrivateFormat.TraditionalOpenSSL).encode(), b"rsa-sha256"),
        (pem(ED25519), base64.b64encode(ED25519.private_bytes_raw()), b"ed25519-sha256"),
    ],
    ids=["rsa", "ed25519"],
)
def test_dkimpy_verifies_with_the_published_key_what_the_private_key_signed(private, signing_key, algorithm):
    signed = dkim.sign(MESSAGE, b"s1", b"example.org", signing_key, signature_algorithm=algorithm)
    entry = DkimKey.from_private(private).entry("example.org.", "s1", "why")
    zone = {entry.name.encode(): entry.value.encode()}
    assert dkim.verify(signed + MESSAGE, dnsfunc=lambda name, **_: zone.get(name))


@pytest.mark.parametrize("private", [pem(RSA), pem(ED25519)])
def test_a_published_key_is_read_back_as_it_was_derived(private):
    key = DkimKey.from_private(private)
    assert DkimKey.parse(key.text) == key
    assert (
        DkimKey.parse(f" v = DKIM1 ;k={key.algorithm};\n t=s; p={key.public[:20]} {key.public[20:]} ;") == key
    )
    assert is_live_key("s1._domainkey.example.org.", key.text)
    assert not is_live_key("example.org.", key.text)


@pytest.mark.parametrize(
    ("private", "said"),
    [
        ("not-a-key", "not an unencrypted private key"),
        (pem(RSA, BestAvailableEncryption(b"x")), "not an unencrypted private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA or Ed25519"),
    ],
)
def test_what_cannot_sign_is_refused_and_not_shown(private, said):
    with pytest.raises(RecordError, match=said) as error:
        DkimKey.from_private(private)
    assert not any(line in str(error.value) for line in private.splitlines())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=DKIM2; p=", "not a DKIM1 record"),
        ("k=rsa", "no p= tag"),
        ("p=????", "no rsa public key"),
        ("k=ed25519; p=AAAA", "no ed25519 public key"),
        (DkimKey.from_private(pem(ED25519)).text.replace("ed25519", "rsa"), "no rsa public key"),
        ("v=DKIM1; p=; p=", "not a tag=value list"),
        ("hello", "not a tag=value list"),
    ],
    ids=["version", "no key", "not base64", "short", "other kind", "twice", "no tags"],
)
def test_a_record_that_verifiers_ignore_says_why(text, said):
    with pytest.raises(RecordError, match=said):
        DkimKey.parse(text)
    assert not is_live_key("s._domainkey.example.org.", text)


def test_a_revoked_key_is_read_and_is_not_live():
    assert DkimKey.parse("v=DKIM1; p=").public == ""
    assert not is_live_key("s._domainkey.example.org.", "v=DKIM1; p=")


ADDRESSES = (ip_address("2001:db8::1"), ip_address("192.0.2.9"), ip_network("198.51.100.0/28"))


def test_spf_lists_addresses_and_checkdmarc_reads_the_same():
    text = Spf(addresses=ADDRESSES, all="~all").text
    assert text == "v=spf1 ip4:192.0.2.9 ip4:198.51.100.0/28 ip6:2001:db8::1 ~all"
    read = checkdmarc.spf.parse_spf_record(text, "example.org", resolver=NoDns())
    assert [m["value"] for m in read["parsed"]["mechanisms"]] == [
        "192.0.2.9",
        "198.51.100.0/28",
        "2001:db8::1",
    ]
    assert (read["parsed"]["all"], read["dns_lookups"], read["warnings"]) == ("softfail", 0, [])


def test_spf_names_its_includes_without_the_final_dot():
    assert Spf(include=("_spf.Example.net.",)).text == "v=spf1 include:_spf.example.net -all"


def test_spf_that_receivers_would_give_up_on_is_refused():
    names = tuple(f"n{n}.example.net." for n in range(10))
    assert Spf(include=names).text.count("include:") == 10
    with pytest.raises(RecordError, match="11 lookups"):
        _ = Spf(include=names, own_address=True).text
    with pytest.raises(RecordError, match="ends in a dot"):
        _ = Spf(include=("relative",)).text
    with pytest.raises(RecordError, match="SPF ends in one of"):
        _ = Spf(all="+all").text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("v=spf1", True),
        ("V=SPF1 -all", True),
        ("v=spf10 -all", False),
        ("v=spf1;-all", False),
        (NOBODY.text, True),
    ],
)
def test_spf_is_known_by_its_first_word(text, yes):
    assert is_spf(text) is yes


@pytest.mark.parametrize(
    "policy",
    [
        Dmarc(),
        Dmarc("quarantine", "reject", alignment="strict"),
        Dmarc(
            "reject", rua=("mailto:a@example.org", "mailto:b@example.org!10m"), ruf=("mailto:c@example.org",)
        ),
    ],
)
def test_checkdmarc_reads_every_tag_as_we_meant_it(policy):
    read = checkdmarc.dmarc.parse_dmarc_record(policy.text, "example.org", resolver=NoDns())
    tags = {name: tag["value"] for name, tag in read["tags"].items() if tag["explicit"]}
    assert tags["p"] == policy.policy
    assert tags.get("sp") == policy.subdomain_policy
    assert tags.get("adkim", "r") == tags.get("aspf", "r") == policy.alignment[0]
    rua = [f"{u['scheme']}:{u['address']}" for u in tags.get("rua", [])]
    assert rua == [uri.split("!")[0] for uri in policy.rua]
    assert is_dmarc(policy.text)


@pytest.mark.parametrize("uri", ["dmarc@example.org", "mailto:x", "https://example.org/", "mailto:a,b@c.org"])
def test_what_is_no_report_address_is_refused(uri):
    with pytest.raises(RecordError, match="not a report address"):
        _ = Dmarc(rua=(uri,)).text


def test_other_organisations_must_agree_to_reports():
    policy = Dmarc(rua=("mailto:a@reports.example.net", "mailto:b@mail.example.org", "mailto:c@example.org"))
    (entry,) = policy.authorisations("example.org.")
    assert (entry.name, entry.value) == ("example.org._report._dmarc.reports.example.net.", "v=DMARC1")


def test_mx_in_order_of_preference():
    entries = list(mx("example.org.", ["mx1.example.org.", "MX2.example.org."]))
    assert [e.value for e in entries] == ["10 mx1.example.org.", "20 mx2.example.org."]
    assert null_mx("x.example.org.", "why").value == "0 ."
    for wrong in (["a.example.", "A.example."], ["."]):
        with pytest.raises(RecordError, match="different host names"):
            list(mx("example.org.", wrong))


def test_reverse_names():
    assert reverse_name(ip_address("192.0.2.1")) == "1.2.0.192.in-addr.arpa."
    entry = pointer(ip_address("2001:db8::1"), "mx.example.org.")
    assert entry.name == "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa."


def test_where_a_selector_lies():
    assert selector_name("example.org.", "s1") == "s1._domainkey.example.org."

"""Pins that a signature is verified as the world would, by one that somebody else's software has made."""

import base64
import re

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailwright.model.errors import UnknownError
from mailwright.model.role import Result
from roles import signing

DOMAIN = "brightpost.example"
MESSAGE = (
    f"From: <verify@{DOMAIN}>\r\nSubject: mailwright verify\r\n"
    "Message-ID: <verify@mailwright.invalid>\r\n\r\nhello\r\n"
).encode()
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
OVERSIGNED = [b"from", b"subject", b"message-id", b"from", b"to", b"subject", b"reply-to"]


def secret(key):
    if key is ED25519:
        return base64.b64encode(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public(key):
    form = (
        (Encoding.Raw, PublicFormat.Raw)
        if key is ED25519
        else (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(key.public_key().public_bytes(*form)).decode()


def signature(key, message=MESSAGE, selector="r2026", domain=DOMAIN):
    """A signature's value by dkimpy."""
    algorithm = b"ed25519-sha256" if key is ED25519 else b"rsa-sha256"
    made = dkim.sign(
        message, selector.encode(), domain.encode(), secret(key), canonicalize=(b"relaxed", b"relaxed"),
        signature_algorithm=algorithm, include_headers=OVERSIGNED,
    )  # fmt: skip
    return re.sub(r"\s*\r\n\s+", " ", made.decode().partition(":")[2]).strip()


def judged(answer, key, signers=1):
    check = signing.signs(DOMAIN, "r2026", [f"/spool/rsa-{n}.sock" for n in range(signers)], "look")
    shown = "".join(f"signer /spool/rsa-{n}.sock\n{answer}" for n in range(signers))
    return check.judge(Result(0, f'{shown}"v=DKIM1; k=rsa; p={key}"\n', ""))


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_good_signature_is_one_and_a_changed_message_has_none(key):
    assert judged(f"added DKIM-Signature: {signature(key)}\n", public(key), signers=2) is None
    for changed in (MESSAGE.replace(b"hello", b"hallo"), MESSAGE.replace(b"verify\r", b"verified\r")):
        found = judged(f"added DKIM-Signature: {signature(key, changed)}\n", public(key))
        assert found == "rsa-0.sock: its signature is wrong"


def test_a_signature_by_another_key_than_the_published_is_a_fault():
    other = public(rsa.generate_private_key(65537, 2048))
    assert judged(f"added DKIM-Signature: {signature(RSA)}\n", other) == "rsa-0.sock: its signature is wrong"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", "it does not sign"),
        ("away: No such file or directory\n", "it is away: No such file or directory"),
        (f"added DKIM-Signature: {signature(RSA, selector='old')}\n", f"it signs by old of {DOMAIN}"),
        (f"added DKIM-Signature: {signature(RSA, domain='x.example')}\n", "it signs by r2026 of x.example"),
    ],
)
def test_a_signer_that_does_not_do_its_work_is_named(answer, found):
    assert judged(answer, public(RSA)) == f"rsa-0.sock: {found}"


def test_without_a_published_key_nothing_is_verified():
    check = signing.signs(DOMAIN, "r2026", ["/spool/rsa-0.sock"], "look")
    with pytest.raises(UnknownError):
        check.judge(Result(9, "signer /spool/rsa-0.sock\n;; no servers could be reached\n", ""))
    with pytest.raises(UnknownError):
        check.judge(Result(0, f'"v=DKIM1; k=rsa; p={public(RSA)}"\n', "perl: not found"))

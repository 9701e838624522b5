"""Certificates that the operator provides: which secrets they are, and is the pair fit to be served? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailwright.model.errors import SecretError
from mailwright.model.names import DnsName
from mailwright.model.needs import Certificate, Pair

CHAIN, PRIVATE_KEY = "fullchain", "privkey"
"""What the secrets hold of a certificate that the operator provides."""
NEXT_CHAIN, NEXT_KEY, OLD_KEY, ANNOUNCED = "next-fullchain", "next-privkey", "old-privkey", "announced"
"""What they hold of a roll-over: the pair that comes next and since when every server has shown its key,
and the key that was served before, until no machine does any more."""


_KINDS = {"ecdsa": ec.EllipticCurvePrivateKey, "rsa": rsa.RSAPrivateKey}


def secret_name(certificate: Certificate, part: str, pair: Pair | None = None) -> str:
    """The name of the secret that holds a part of a certificate; `pair`: of which, else its first."""
    return f"certificate/{certificate.name}/{pair.prefix if pair else ''}{part}"


def new_key(algorithm: str) -> str:
    """A new key as PEM (PKCS8): ECDSA P-256, or RSA of 2048 bits, for servers that old clients ask."""
    made: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if algorithm == "rsa":
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        made = ec.generate_private_key(ec.SECP256R1())
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def request(key: str, names: Iterable[str]) -> str:
    """What an authority must sign for a PEM key to be served under some names: a request in PEM (PKCS10)."""
    hosts = [DnsName.parse(name).bare for name in names]
    private = load_pem_private_key(key.encode(), password=None)
    if not isinstance(private, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise SecretError("the key is neither an ECDSA nor an RSA key")
    # The subject stays empty: names longer than 64 characters have no place there (RFC 5280, ub-common-name).
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
    )
    return made.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def faults(
    chain: bytes, key: bytes, names: Iterable[str], now: datetime, algorithm: str | None = None
) -> list[str]:
    """Say what is wrong with a PEM chain (leaf first) and its PEM key for serving `names`; empty: nothing.

    `algorithm`: `ecdsa` or `rsa`, where the key must be of one. Nothing of the key is in the answer.
    """
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        return ["the chain is no PEM certificate"]
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return ["the key is no PEM private key without a passphrase"]
    leaf, found = certificates[0], []
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if leaf.public_key().public_bytes(*spki) != private.public_key().public_bytes(*spki):
        found.append("the key is not that of the chain's first certificate")
    if algorithm and not isinstance(private, _KINDS[algorithm]):
        found.append(f"the key is no {algorithm.upper()} key")
    if now < leaf.not_valid_before_utc:
        found.append(f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d}")
    if now >= leaf.not_valid_after_utc:
        found.append(f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    found += uncovered(leaf, names)
    for lower, upper in pairwise(certificates):
        if lower.issuer != upper.subject:
            found.append(f"out of order: {lower.subject.rfc4514_string()} was not issued by the next one")
    return found


def uncovered(leaf: x509.Certificate, names: Iterable[str]) -> list[str]:
    """Say which names a certificate is not valid for."""
    served = names_of(leaf)
    return [f"does not cover {name}" for name in names if not _covers(served, name)]


def names_of(leaf: x509.Certificate) -> set[str]:
    """The DNS names that a certificate is for, without final dots."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}


def _covers(served: set[str], name: str) -> bool:
    """RFC 6125, 6.4.3: a wildcard stands for exactly one whole label."""
    bare = DnsName.parse(name).bare
    _, _, parent = bare.partition(".")
    return bare in served or f"*.{parent}" in served

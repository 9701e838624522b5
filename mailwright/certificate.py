"""Certificates that the operator provides: which secrets they are, and is the pair fit to be served? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailwright.model.names import DnsName
from mailwright.model.needs import Certificate, Pair

CHAIN, PRIVATE_KEY, NEXT_KEY = "fullchain", "privkey", "next-privkey"
"""What the secrets hold of a certificate. The next key may lie there long before its certificate."""


_KINDS = {"ecdsa": ec.EllipticCurvePrivateKey, "rsa": rsa.RSAPrivateKey}


def secret_name(certificate: Certificate, part: str, pair: Pair | None = None) -> str:
    """The name of the secret that holds a part of a certificate; `pair`: of which, else its first."""
    return f"certificate/{certificate.name}/{pair.prefix if pair else ''}{part}"


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
    served = _names(leaf)
    found += [f"does not cover {name}" for name in names if not _covers(served, name)]
    for lower, upper in pairwise(certificates):
        if lower.issuer != upper.subject:
            found.append(f"out of order: {lower.subject.rfc4514_string()} was not issued by the next one")
    return found


def _names(leaf: x509.Certificate) -> set[str]:
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

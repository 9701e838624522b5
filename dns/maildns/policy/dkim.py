"""DKIM key records (RFC 6376 section 3.6.1, RFC 8463 for Ed25519)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from maildns.errors import RecordError
from maildns.policy.tags import read_tags
from maildns.records import Entry

MIN_RSA_BITS = 1024  # RFC 8301 section 3.2: verifiers reject less


@dataclass(frozen=True)
class DkimKey:
    """The public half of a signing key. An empty `public` is a revoked key."""

    algorithm: str
    """`rsa` or `ed25519`."""
    public: str
    """Base64: SubjectPublicKeyInfo for RSA, the 32 raw octets for Ed25519."""

    @classmethod
    def from_private(cls, pem: str) -> DkimKey:
        """Derive the public half from a PEM private key.

        Raises:
            RecordError: not a private key, of another kind, or too short. The key is never shown.
        """
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise RecordError("not an unencrypted private key in PEM format") from None
        if isinstance(key, Ed25519PrivateKey):
            raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return cls("ed25519", base64.b64encode(raw).decode())
        if isinstance(key, RSAPrivateKey):
            if key.key_size < MIN_RSA_BITS:
                raise RecordError(f"an RSA key of {key.key_size} bits; receivers reject it (RFC 8301)")
            der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return cls("rsa", base64.b64encode(der).decode())
        raise RecordError(f"a DKIM key is RSA or Ed25519, not {type(key).__name__}")

    @classmethod
    def parse(cls, text: str) -> DkimKey:
        """Read a published record as a verifier does.

        Raises:
            RecordError: a verifier would ignore the record; the message says why.
        """
        tags = read_tags(text, "RFC 6376 section 3.2")
        if tags.get("v", "DKIM1") != "DKIM1":
            raise RecordError(f"not a DKIM1 record: v={tags['v'][:20]}")
        if "p" not in tags:
            raise RecordError("no p= tag, so no key (RFC 6376 section 3.6.1)")
        key = cls(tags.get("k", "rsa"), re.sub(r"\s+", "", tags["p"]))
        key._require_usable()
        return key

    def _require_usable(self) -> None:
        if not self.public:
            return
        try:
            raw = base64.b64decode(self.public, validate=True)
            if self.algorithm == "ed25519":
                Ed25519PublicKey.from_public_bytes(raw)
                return
            public = load_der_public_key(raw)
        except (binascii.Error, ValueError, UnsupportedAlgorithm):
            raise RecordError(f"p= holds no {self.algorithm} public key") from None
        if self.algorithm != "rsa" or not isinstance(public, RSAPublicKey):
            raise RecordError(f"p= does not hold a key of the kind k={self.algorithm}")

    @property
    def text(self) -> str:
        """The record."""
        return f"v=DKIM1; k={self.algorithm}; p={self.public}"

    def entry(self, domain: str, selector: str, reason: str) -> Entry:
        """The key as the TXT value of its selector under `domain`."""
        return Entry(selector_name(domain, selector), "TXT", self.text, reason)


def selector_name(domain: str, selector: str) -> str:
    """Where verifiers look the key up."""
    return f"{selector}._domainkey.{domain}"


def is_live_key(name: str, text: str) -> bool:
    """Whether a TXT value at `name` is a DKIM key that verifiers would use today."""
    key = _key_at(name, text)
    return key is not None and bool(key.public)


def is_revoked_key(name: str, text: str) -> bool:
    """Whether a TXT value at `name` says that a DKIM key is revoked."""
    key = _key_at(name, text)
    return key is not None and not key.public


def _key_at(name: str, text: str) -> DkimKey | None:
    if "_domainkey" not in name.split("."):
        return None
    try:
        return DkimKey.parse(text)
    except RecordError:
        return None

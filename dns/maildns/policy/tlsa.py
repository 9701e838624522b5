"""TLSA records: DNSSEC says which key a mail server holds (RFC 6698, RFC 7671, RFC 7672)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256, sha512

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from maildns.errors import RecordError
from maildns.records import Entry

_VALUE = re.compile(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+([0-9A-Fa-f\s]+)")
_SPKI = Encoding.DER, PublicFormat.SubjectPublicKeyInfo


@dataclass(frozen=True)
class Tlsa:
    """A certificate association (RFC 6698 section 2.1).

    What we publish is `3 1 1`: the server's own key by its SHA-256. It outlives renewed certificates
    and needs no authority (RFC 7671 section 5.1); mail servers publish usages 2 and 3 only (RFC 7672 3.1.3).
    """

    usage: int
    """3 is the server's own, 2 an authority above it; 0 and 1 mean nothing to mail servers."""
    selector: int
    """0 is the whole certificate, 1 its public key."""
    matching: int
    """0 is all of it, 1 its SHA-256, 2 its SHA-512."""
    data: str
    """Lower-case hex."""

    @classmethod
    def of_private_key(cls, pem: str) -> Tlsa:
        """`3 1 1` for a server that holds this PEM private key.

        Raises:
            RecordError: not a private key. It is never shown.
        """
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise RecordError("not an unencrypted private key in PEM format") from None
        return cls(3, 1, 1, sha256(key.public_key().public_bytes(*_SPKI)).hexdigest())

    @classmethod
    def parse(cls, value: str) -> Tlsa:
        """Read a value in presentation format.

        Raises:
            RecordError: not a TLSA value.
        """
        match = _VALUE.fullmatch(value.strip())
        if match is None:
            raise RecordError(f"not a TLSA value: {value[:80]!r}")
        return cls(int(match[1]), int(match[2]), int(match[3]), re.sub(r"\s", "", match[4]).lower())

    def matches(self, certificate: bytes) -> bool:
        """Whether a certificate (DER) is the one the record is about; its names and dates are not looked at.

        Raises:
            RecordError: not a certificate.
        """
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            kinds = {0: certificate, 1: parsed.public_key().public_bytes(*_SPKI)}
        except (ValueError, UnsupportedAlgorithm):
            raise RecordError("not a certificate in DER format, or one with a key of no known kind") from None
        chosen = kinds.get(self.selector)
        if chosen is None:
            return False
        forms = {0: chosen.hex(), 1: sha256(chosen).hexdigest(), 2: sha512(chosen).hexdigest()}
        return forms.get(self.matching) == self.data

    @property
    def text(self) -> str:
        """The value in presentation format."""
        return f"{self.usage} {self.selector} {self.matching} {self.data}"

    def entry(self, host: str, port: int, reason: str) -> Entry:
        """The record for a TCP port of a host."""
        return Entry(tlsa_name(host, port), "TLSA", self.text, reason)


def tlsa_name(host: str, port: int) -> str:
    """Where clients look the record of a TCP port up (RFC 6698 section 3)."""
    return f"_{port}._tcp.{host}"

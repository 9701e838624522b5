"""Whether a mail server's certificates fit its TLSA records (RFC 7672). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from maildns.policy.tlsa import Tlsa

ANCHOR, OWN = 2, 3
"""The usages that mean something to mail servers (RFC 7672 section 3.1)."""


def mismatch(records: Sequence[Tlsa], chain: Sequence[bytes], host: str, now: datetime) -> str | None:
    """Why a sender that honours DANE would not deliver; `None` where it would.

    `chain` is in DER, the server's own certificate first; `host` has no final dot.
    """
    usable = [r for r in records if r.usage in (ANCHOR, OWN)]
    if not usable:
        return "no record has usage 2 or 3, the only ones for mail (RFC 7672 section 3.1.3)"
    if not chain:
        return "the server shows no certificate"
    if any(r.usage == OWN and r.matches(chain[0]) for r in usable):
        return None  # name and dates do not count (RFC 7672 section 3.1.1)
    anchored = [i for r in usable if r.usage == ANCHOR for i, c in enumerate(chain) if r.matches(c)]
    if not anchored:
        return "no record fits a certificate that it shows"
    return _broken([x509.load_der_x509_certificate(c) for c in chain[: min(anchored) + 1]], host, now)


def _broken(chain: Sequence[x509.Certificate], host: str, now: datetime) -> str | None:
    """What is wrong on the way from the server's certificate to the anchor (RFC 7672 section 3.1.2)."""
    for below, above in pairwise(chain):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return f"{below.subject.rfc4514_string()} is not signed by {above.subject.rfc4514_string()}"
    for each in chain:
        if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
            return f"{each.subject.rfc4514_string()} is not valid now"
    wildcard = f"*.{host.partition('.')[2]}"
    fits = {host, wildcard} & {name.lower() for name in _names(chain[0])}
    return None if fits else f"the certificate is not for {host}"


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    return names.get_values_for_type(x509.DNSName) if isinstance(names, x509.SubjectAlternativeName) else []

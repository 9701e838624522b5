"""TLS-RPT (RFC 8460): where senders report how TLS with the domain's MX went."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maildns.errors import RecordError
from maildns.policy.tags import read_tags
from maildns.records import Entry

# A comma, an exclamation mark and a semicolon inside a URI must be percent-encoded (RFC 8460 section 3).
_URI = re.compile(r"(mailto:[^@\s,;!]+@[A-Za-z0-9.-]+|https://[^\s,;!]+)")


@dataclass(frozen=True)
class TlsRpt:
    """Who hears of failed and successful TLS: MTA-STS and DANE fail in silence without."""

    rua: tuple[str, ...]
    """`mailto:` or `https://` URIs."""

    @property
    def text(self) -> str:
        """The record.

        Raises:
            RecordError: no place for reports, or one that is neither `mailto:` nor `https://`.
        """
        if not self.rua:
            raise RecordError("a TLS-RPT record names at least one place for reports")
        for uri in self.rua:
            if not _URI.fullmatch(uri):
                raise RecordError(f"not a mailto: or https: place for reports: {uri[:80]!r}")
        return f"v=TLSRPTv1; rua={','.join(self.rua)}"

    def entry(self, domain: str) -> Entry:
        """The TXT value of `_smtp._tls` under `domain`."""
        reason = f"where senders report how TLS with the MX of {domain.removesuffix('.')} went"
        return Entry(f"_smtp._tls.{domain}", "TXT", self.text, reason)

    @classmethod
    def parse(cls, text: str) -> TlsRpt:
        """Read a published record.

        Raises:
            RecordError: senders would ignore it.
        """
        if not is_tls_rpt(text):
            raise RecordError(f"not a TLS-RPT record: {text[:40]!r}")
        uris = read_tags(text, "RFC 8460 section 3", twice=True).get("rua", "").split(",")
        record = cls(tuple(uri.strip() for uri in uris if uri.strip()))
        _ = record.text
        return record


def is_tls_rpt(text: str) -> bool:
    """Whether senders take this TXT value for a TLS-RPT record (RFC 8460 section 3)."""
    return re.match(r"v=TLSRPTv1\s*;", text) is not None

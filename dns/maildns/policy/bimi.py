"""BIMI: the logo that mailbox providers show beside a domain's mail.

Not an RFC: draft-brand-indicators-for-message-identification, section 4, as providers implement it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from maildns.errors import RecordError
from maildns.policy.dmarc import Dmarc
from maildns.policy.tags import read_tags
from maildns.records import Entry

_HTTPS = re.compile(r"https://[^\s;,\"]+")


@dataclass(frozen=True)
class Bimi:
    """Where the logo and the certificate for it are."""

    logo: str
    """`https://` URL of an SVG file (profile SVG Tiny PS). Published empty: no logo is to be shown."""
    certificate: str | None = None
    """`https://` URL of the mark certificate in PEM."""

    @property
    def text(self) -> str:
        """The record.

        Raises:
            RecordError: a URL that is none, or not HTTPS.
        """
        for url in filter(None, (self.logo, self.certificate)):
            if not _HTTPS.fullmatch(url):
                raise RecordError(f"not an https:// URL: {url[:80]!r}")
        return f"v=BIMI1; l={self.logo}; a={self.certificate or ''}"

    def entry(self, domain: str, dmarc: Dmarc, selector: str = "default") -> Entry:
        """The TXT value of the selector under `domain`, whose policy is `dmarc`.

        Raises:
            RecordError: as `text`, or no provider would show the logo under that policy.
        """
        about = domain.removesuffix(".")
        if why := too_weak(dmarc):
            raise RecordError(f"{about}: {why}")
        return Entry(f"{selector}._bimi.{domain}", "TXT", self.text, f"the logo beside mail of {about}")

    @classmethod
    def parse(cls, text: str) -> Bimi:
        """Read a published record.

        Raises:
            RecordError: providers would ignore it.
        """
        if not is_bimi(text):
            raise RecordError(f"not a BIMI record: {text[:40]!r}")
        tags = read_tags(text, "the BIMI draft, section 4.2")
        record = cls(tags.get("l", ""), tags.get("a") or None)
        _ = record.text
        return record


def is_bimi(text: str) -> bool:
    """Whether providers take this TXT value for a BIMI record."""
    return re.match(r"v=BIMI1\s*(;|$)", text) is not None


def too_weak(dmarc: Dmarc) -> str | None:
    """Why no provider shows a logo under this policy; `None` where it may."""
    if dmarc.policy == "none" or dmarc.subdomain_policy == "none":
        return "BIMI needs a DMARC policy of quarantine or reject, for subdomains too"
    return None

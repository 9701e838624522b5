"""Which DMARC record applies to a domain, and what is aligned with it. Pure: DNS is handed in.

By the tree walk of RFC 9989 section 4.10, not by the list of public suffixes of RFC 7489: a list is one more
thing to keep fresh, and both find the same where an organisation publishes at its own domain, as we do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from maildns.errors import RecordError
from maildns.policy.dmarc import is_dmarc
from maildns.policy.tags import read_tags

Texts = Callable[[str], tuple[str, ...]]
"""The TXT values of a name; raises whatever the caller's lookup raises."""

LONGEST = 8
"""Labels beyond which the walk jumps to seven: at most eight questions."""


@dataclass(frozen=True)
class Found:
    """A DMARC record and where it is."""

    domain: str
    tags: dict[str, str]

    def policy_for(self, domain: str) -> str:
        """The policy for mail from `domain`: `sp` for what is below the record's own."""
        own = self.tags.get("p", "none")
        return own if domain == self.domain else self.tags.get("sp", own)


def walk(domain: str, texts: Texts) -> Iterator[Found]:
    """The records on the way up from a domain, the nearest first."""
    labels = domain.removesuffix(".").split(".")
    while labels:
        name = ".".join(labels) + "."
        found = _record(name, texts)
        if found:
            yield found
            if found.tags.get("psd") in ("y", "n"):
                return
        labels = labels[1:] if len(labels) < LONGEST else labels[-(LONGEST - 1) :]


def policy_of(domain: str, texts: Texts) -> Found | None:
    """The record that receivers apply to mail from a domain: its own, or its organisation's."""
    records = list(walk(domain, texts))
    if not records:
        return None
    if records[0].domain == domain:
        return records[0]
    top = _organisation(domain, records)
    return next((r for r in records if r.domain == top), records[-1])


def organisation(domain: str, texts: Texts) -> str:
    """The organisational domain; the domain itself where no record says more."""
    return _organisation(domain, list(walk(domain, texts)))


def aligned(author: str, other: str, *, strict: bool, texts: Texts) -> bool:
    """Whether an authenticated domain (of SPF or DKIM) vouches for the author's domain."""
    if author == other or strict:
        return author == other
    return organisation(author, texts) == organisation(other, texts)


def _organisation(domain: str, records: list[Found]) -> str:
    for record in records:
        psd = record.tags.get("psd")
        if psd == "n":
            return record.domain
        if psd == "y" and record.domain != domain:
            return _child_towards(record.domain, domain)
    return records[-1].domain if records else domain


def _child_towards(above: str, domain: str) -> str:
    """The domain one label below `above` on the way to `domain`."""
    labels = domain.removesuffix(".").split(".")
    depth = above.count(".") + 1
    return ".".join(labels[-depth:]) + "."


def _record(domain: str, texts: Texts) -> Found | None:
    """The one record at a domain; with two, receivers apply none (RFC 7489 section 6.6.3)."""
    records = [text for text in texts(f"_dmarc.{domain}") if is_dmarc(text)]
    if len(records) != 1:
        return None
    try:
        return Found(domain, read_tags(records[0], "RFC 7489 section 6.3"))
    except RecordError:
        return None

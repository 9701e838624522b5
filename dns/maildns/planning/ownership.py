"""Whose a value is: markers, TXT records of ours in the zone itself.

A marker says which values of one set one owner has published. It lies at

    DIGEST._maildns.ZONE  TXT  "v=maildns1; owner=OWNER; type=A; values=1f0e...,77ab...; name=NAME"

One flat branch below the apex, with a digest as the label, has room for any name: the apex, a
wildcard, `_dmarc`, a name at the length limit. It can neither stand beside a CNAME nor below
a zone cut, and answers for no wildcard. A TXT record can be held by every provider there is.
Values are named by digest, so that in a set that others share, ours are told from theirs, and an
edit by hand is seen for what it is. docs/decisions/dns-ownership.md has the reasons.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from maildns.errors import RecordError
from maildns.names import within
from maildns.records import RrKey, RRset, rrset

LABEL = "_maildns"
TTL = 3600

_OWNER = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_MARKER = re.compile(
    rf"v=maildns1; owner=({_OWNER.pattern}); type=([A-Z0-9]+); values=([0-9a-f,]+); name=(\S+)"
)


@dataclass(frozen=True)
class Marker:
    """That `owner` published these values of the set `key`."""

    owner: str
    key: RrKey
    values: frozenset[str]
    """Digests, as `value_digest` gives them."""

    def name(self, zone: str) -> str:
        """Where the marker lies: never the same for two owners or two sets."""
        digest = sha256("\0".join((self.owner, *self.key)).encode()).digest()[:15]
        return f"{base64.b32encode(digest).decode().lower()}.{LABEL}.{zone}"

    def rrset(self, zone: str) -> RRset:
        """The marker as the zone holds it.

        Raises:
            RecordError: an owner that is not lower-case letters, digits, dots and hyphens.
        """
        if not _OWNER.fullmatch(self.owner):
            raise RecordError(
                f"an owner is lower-case letters, digits, dots and hyphens: {self.owner[:80]!r}"
            )
        name, type_ = self.key
        values = ",".join(sorted(self.values))
        text = f"v=maildns1; owner={self.owner}; type={type_}; values={values}; name={name}"
        return rrset(
            self.name(zone), "TXT", TTL, [text], [f"marks {name} {type_} as published by {self.owner}"]
        )

    def owns(self, value: str) -> bool:
        """Whether the value is one of those published."""
        return value_digest(value) in self.values


def mark(owner: str, key: RrKey, values: Iterable[str]) -> Marker:
    """The marker of these canonical values."""
    return Marker(owner, key, frozenset(map(value_digest, values)))


def value_digest(value: str) -> str:
    """64 bits of SHA-256: told apart are the few values of one set, nobody gains by a collision."""
    return sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def is_marker_name(name: str, zone: str) -> bool:
    """Whether the name lies in the branch that markers have to themselves."""
    return within(name, f"{LABEL}.{zone}")


def read_markers(rrsets: Iterable[RRset], zone: str) -> tuple[Marker, ...]:
    """All markers of all owners; a text that does not belong where it lies is none."""
    found = []
    for each in rrsets:
        if each.type == "TXT" and is_marker_name(each.name, zone):
            markers = (_parse(text) for text in sorted(each.rdata))
            found += [m for m in markers if m is not None and m.name(zone) == each.name]
    return tuple(found)


def marked_key(change_set: RRset) -> RrKey | None:
    """Which set a marker is about, `None` where the text is no marker."""
    return next((m.key for m in map(_parse, sorted(change_set.rdata)) if m), None)


def _parse(text: str) -> Marker | None:
    match = _MARKER.fullmatch(text)
    if match is None:
        return None
    owner, type_, values, name = match.groups()
    return Marker(owner, (name, type_), frozenset(values.split(",")))

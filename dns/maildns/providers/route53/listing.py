"""A hosted zone as Amazon lists it, sorted into what records can say and what they cannot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import dns.exception

from maildns.provider import ProviderError
from maildns.providers.route53.codec import Raw, decode, key_of, special
from maildns.records import RrKey, RRset


@dataclass(frozen=True)
class Listing:
    """A zone as Amazon lists it; the apex SOA, which moves by itself, is left out."""

    raw: Mapping[RrKey, Raw]
    """The simple sets."""
    table: Mapping[RrKey, RRset]
    """All sets, an opaque one with what it is in place of values."""
    opaque: Mapping[RrKey, str]
    """What cannot be said in records: aliases and sets with a routing policy."""
    digest: str

    @classmethod
    def of(cls, zone: str, record_sets: Iterable[Raw]) -> Listing:
        """Sort out what is there."""
        content = [raw for raw in record_sets if raw["Type"] != "SOA"]
        table: dict[RrKey, RRset] = {}
        opaque: dict[RrKey, str] = {}
        simple: dict[RrKey, Raw] = {}
        for raw in content:
            try:
                key = key_of(raw)
            except dns.exception.DNSException as error:
                raise ProviderError(f"{zone} at Route 53: {raw['Name']!r} cannot be read ({error})") from None
            what = special(raw)
            if what is None:
                try:
                    simple[key], table[key] = raw, decode(raw)
                except (dns.exception.DNSException, ValueError):
                    what = "a set whose values cannot be read"
            if what is not None:
                others = table[key].rdata if key in table else frozenset()
                table[key] = RRset(*key, raw.get("TTL", 0), others | {what})
                opaque[key] = what
        return cls(simple, table, opaque, _digest(content))


def _digest(content: Iterable[Raw]) -> str:
    lines = sorted(json.dumps(_ordered(raw), sort_keys=True) for raw in content)
    return sha256("\n".join(lines).encode()).hexdigest()


def _ordered(raw: Raw) -> dict[str, Any]:
    values = sorted(r["Value"] for r in raw.get("ResourceRecords", ()))
    return {**raw, "ResourceRecords": values}

"""A zone as Cloudflare holds it: records with ids, seen as sets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from maildns.errors import RecordError
from maildns.planning.ownership import Marker, is_marker_name, read_markers
from maildns.providers.cloudflare.codec import PROXIABLE, name_of, ttl_of, value_of
from maildns.providers.cloudflare.comments import marks
from maildns.records import RrKey, RRset

PROXIED = "(through Cloudflare's proxy, which mail cannot pass)"
"""Follows the value of a record that is proxied: what the world sees is another value."""

_SISTERS = {"A": "AAAA", "AAAA": "A"}

_COUNTS = (
    "id", "name", "type", "content", "data", "priority", "ttl", "proxied", "comment", "modified_on",
)  # fmt: skip
"""What of a record makes the state of a zone."""


@dataclass(frozen=True)
class Record:
    """One record. `value` is canonical; `comment` is empty where there is none."""

    id: str
    name: str
    type: str
    value: str
    ttl: int
    proxied: bool
    comment: str

    @property
    def key(self) -> RrKey:
        """What identifies its set."""
        return (self.name, self.type)

    @property
    def shown(self) -> str:
        """The value as a plan must see it: a proxied one is never what a fleet wants."""
        return f"{self.value} {PROXIED}" if self.proxied else self.value


@dataclass(frozen=True)
class State:
    """All records of a zone at one moment. `etag` changes with any of them."""

    zone: str
    records: tuple[Record, ...]
    etag: str

    @cached_property
    def by_key(self) -> Mapping[RrKey, tuple[Record, ...]]:
        """The records of each set, oldest spelling and all."""
        table: dict[RrKey, list[Record]] = {}
        for record in self.records:
            table.setdefault(record.key, []).append(record)
        return {key: tuple(group) for key, group in table.items()}

    @cached_property
    def opaque(self) -> Mapping[RrKey, str]:
        """What is there without records of its own.

        A CNAME at the apex is no alias to the world: Cloudflare answers with the addresses of its target,
        and other types lie beside it (https://developers.cloudflare.com/dns/cname-flattening/).
        """
        targets = ", ".join(record.value for record in self.by_key.get((self.zone, "CNAME"), ()))
        what = f"an alias of {targets}, which Cloudflare resolves itself"
        return {(self.zone, type_): what for type_ in _SISTERS} if targets else {}

    @cached_property
    def table(self) -> Mapping[RrKey, RRset]:
        """The sets, with every marker as a TXT set wherever it is really kept."""
        sets = {key: _set(key, group) for key, group in self.by_key.items()}
        flattened = sets.pop((self.zone, "CNAME"), None)
        if flattened:
            sets |= {k: RRset(*k, flattened.ttl, frozenset({what})) for k, what in self.opaque.items()}
        for record in self.records:
            sister = (record.name, _SISTERS.get(record.type, ""))
            if record.proxied and sister[1] and sister not in sets:
                # One proxied address has the whole name answered by the proxy, in both families.
                note = f"of the {record.type} record beside it {PROXIED}"
                sets[sister] = RRset(*sister, record.ttl, frozenset({note}))
        for marker in self._markers(sets.values()):
            rrset = marker.rrset(self.zone)
            sets[rrset.key] = rrset
        return sets

    def _markers(self, sets: Iterable[RRset]) -> tuple[Marker, ...]:
        """Those that comments hold, together with what records say of the same sets."""
        values: dict[tuple[str, RrKey], set[str]] = {}
        for record in self.records:
            for owner, digest in marks(record.comment):
                values.setdefault((owner, record.key), set()).add(digest)
        if values:
            for marker in read_markers(sets, self.zone):
                if (marker.owner, marker.key) in values:
                    values[marker.owner, marker.key] |= marker.values
        return tuple(Marker(owner, key, frozenset(digests)) for (owner, key), digests in values.items())


def read_state(zone: str, raws: Iterable[Mapping[str, Any]]) -> State:
    """What the API listed."""
    raws = sorted(raws, key=lambda raw: str(raw["id"]))
    told = json.dumps([[raw.get(field) for field in _COUNTS] for raw in raws], sort_keys=True)
    return State(zone, tuple(map(_record, raws)), sha256(told.encode()).hexdigest()[:32])


def _record(raw: Mapping[str, Any]) -> Record:
    proxied = raw["type"] in PROXIABLE and bool(raw.get("proxied"))
    try:
        name = name_of(raw["name"])
    except RecordError:
        name = f"{raw['name']}.".lower()  # somebody else's, and nothing that we could want
    comment = raw.get("comment") or ""
    return Record(str(raw["id"]), name, raw["type"], value_of(raw), ttl_of(raw), proxied, comment)


def _set(key: RrKey, records: Iterable[Record]) -> RRset:
    """TTLs are each record's own; resolvers go by the smallest (RFC 2181 section 5.2)."""
    records = tuple(records)
    return RRset(*key, min(r.ttl for r in records), frozenset(r.shown for r in records))


def is_marker(rrset: RRset, zone: str) -> bool:
    """Whether a set is one that markers live in."""
    return rrset.type == "TXT" and is_marker_name(rrset.name, zone)

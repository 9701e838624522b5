"""From changes of sets to one batch of operations on records.

A batch is carried out as deletes, patches, puts, posts, whole or not at all
(https://developers.cloudflare.com/dns/manage-dns-records/how-to/batch-record-changes/). A value that
takes another's place is a patch of the same record: one write for Cloudflare to spread, not two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from maildns.planning.order import by_unit, in_batches
from maildns.planning.ownership import Marker, read_markers, value_digest
from maildns.provider import Change, ProviderError
from maildns.providers.cloudflare.codec import PROXIABLE, api_name, fields_of
from maildns.providers.cloudflare.comments import remarked
from maildns.providers.cloudflare.state import Record, State, is_marker
from maildns.records import RrKey, RRset


@dataclass
class Operations:
    """The lists of one batch, as the API takes them."""

    deletes: list[dict[str, Any]] = field(default_factory=list)
    patches: list[dict[str, Any]] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.deletes) + len(self.patches) + len(self.posts)

    def __iadd__(self, other: Operations) -> Self:
        self.deletes += other.deletes
        self.patches += other.patches
        self.posts += other.posts
        return self


@dataclass(frozen=True)
class Limits:
    """What a zone's plan allows; as `of_plan` gives it."""

    operations: int
    """In one batch."""
    comment: int
    """Characters."""

    @classmethod
    def of_plan(cls, plan: str) -> Limits:
        """Those of a plan by its `legacy_id`; of one that we do not know, the smallest."""
        paid = plan in {"pro", "business", "enterprise"}
        return cls(3500, 500) if paid else cls(200, 100)


def batches(
    changes: Sequence[Change], state: State, limits: Limits, *, comments: bool
) -> Iterator[list[Change]]:
    """Split between units only, each batch within the limit.

    Raises:
        ProviderError: a unit fits no batch.
    """

    def size(unit: Sequence[Change]) -> int:
        count = len(operations(unit, state, limits, comments=comments))
        if count > limits.operations:
            name = unit[0].unit
            raise ProviderError(
                f"{name}: {count} records to write at once, and Cloudflare takes {limits.operations} here"
            )
        return count

    return in_batches(changes, size, limits.operations)


def operations(changes: Iterable[Change], state: State, limits: Limits, *, comments: bool) -> Operations:
    """What to write so that the changes are made. Markers go where `comments` says, or where they fit."""
    all_ = Operations()
    for unit in by_unit(changes).values():
        all_ += _Unit(unit, state, limits, comments=comments).operations()
    return all_


@dataclass
class _Row:
    """One record as it will be. `record` is what it is made of, none where it is new."""

    key: RrKey
    value: str
    ttl: int
    record: Record | None
    comment: str

    def operation(self) -> tuple[str, dict[str, Any]] | None:
        """Which list it belongs in, and what to write there; `None` where it is so already."""
        was = self.record
        if was is None:
            name, type_ = self.key
            post: dict[str, Any] = {"name": api_name(name), "type": type_, "ttl": self.ttl}
            post |= fields_of(type_, self.value) | self._unproxied()
            return "posts", post | ({"comment": self.comment} if self.comment else {})
        patch: dict[str, Any] = {}
        if was.shown != self.value:
            patch |= fields_of(self.key[1], self.value) | self._unproxied() | {"ttl": self.ttl}
        elif was.ttl != self.ttl:
            patch["ttl"] = self.ttl
        if was.comment != self.comment:
            patch["comment"] = self.comment
        return ("patches", {"id": was.id, **patch}) if patch else None

    def _unproxied(self) -> dict[str, Any]:
        return {"proxied": False} if self.key[1] in PROXIABLE else {}


class _Unit:
    """The changes that are made together, worked out on the records."""

    def __init__(self, unit: Iterable[Change], state: State, limits: Limits, *, comments: bool) -> None:
        self.state, self.limits, self.comments = state, limits, comments
        self.rows: list[_Row] = []
        self.gone: list[Record] = []
        self.sets: list[Change] = []
        self.markers: list[Change] = []
        for change in unit:
            either = change.new or change.old
            marker = either is not None and is_marker(either, state.zone)
            (self.markers if marker else self.sets).append(change)

    def operations(self) -> Operations:
        for change in self.sets:
            self._set(change)
        for change in self.markers:
            self._marker(change)
        done = Operations(deletes=[{"id": record.id} for record in self.gone])
        for row in self.rows:
            operation = row.operation()
            if operation is not None:
                getattr(done, operation[0]).append(operation[1])
        return done

    def _set(self, change: Change) -> None:
        """The records of one set afterwards; what goes lends its record to what comes."""
        new = change.new.rdata if change.new else frozenset()
        retimed = change.old is None or change.new is None or change.old.ttl != change.new.ttl
        ttl = change.new.ttl if change.new else 0
        free: list[Record] = []
        held: set[str] = set()
        for record in self.state.by_key.get(change.key, ()):
            if record.shown in new:
                held.add(record.shown)
                # A neighbour's own TTL stays his as long as the set's does not change.
                kept = ttl if retimed else record.ttl
                self.rows.append(_Row(change.key, record.shown, kept, record, record.comment))
            else:
                free.append(record)
        for value in sorted(new - held):
            record_ = free.pop(0) if free else None
            self.rows.append(_Row(change.key, value, ttl, record_, record_.comment if record_ else ""))
        self.gone += free

    def _marker(self, change: Change) -> None:
        """Put one owner's marker of one set where it belongs, and take it away everywhere else."""
        zone = self.state.zone
        sides = [side for side in (change.old, change.new) if side is not None]
        known = read_markers(sides, zone)
        if not known:  # somebody's text in our branch
            self._set(change)
            return
        owner, key = known[-1].owner, known[-1].key
        wanted = known[-1] if change.new is not None else None
        rows = self._rows_of(key)
        fits = wanted is not None and self.comments and self._comment(rows, owner, wanted)
        if not fits:
            for row in rows:
                row.comment = remarked(row.comment, owner, None)
        place = change.key
        records = self.state.by_key.get(place, ())
        if wanted is None or fits:
            self.gone += records
        else:
            text = wanted.rrset(zone)
            old = RRset(*place, records[0].ttl, frozenset(r.shown for r in records)) if records else None
            self._set(Change(old, text, change.reason, change.unit))

    def _rows_of(self, key: RrKey) -> list[_Row]:
        """The rows of a set; one that only its marker changes is looked up now."""
        rows = [row for row in self.rows if row.key == key]
        if not rows and key not in {change.key for change in self.sets}:
            rows = [_Row(key, r.shown, r.ttl, r, r.comment) for r in self.state.by_key.get(key, ())]
            self.rows += rows
        return rows

    def _comment(self, rows: Iterable[_Row], owner: str, marker: Marker) -> bool:
        """Mark the rows that are the owner's; whether there was room on all of them."""
        marked: list[tuple[_Row, str]] = []
        left = set(marker.values)
        for row in rows:
            digest = value_digest(row.value)
            mine = digest if digest in marker.values else None
            left -= {digest}
            marked.append((row, remarked(row.comment, owner, mine)))
        if left or any(len(comment) > self.limits.comment for _, comment in marked):
            return False
        for row, comment in marked:
            row.comment = comment
        return True

"""What one ChangeResourceRecordSets request may hold, and cutting a plan to that size.

Route 53 Developer Guide, "Quotas": a request has at most 1,000 ResourceRecord elements and 32,000
characters in their values; an UPSERT counts twice. We send none: a DELETE must name the set exactly
as it is and a CREATE must find none, so the two together are a compare-and-swap that Amazon itself makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maildns.planning.order import by_unit
from maildns.provider import Change, ProviderError
from maildns.providers.route53.codec import TYPES, Raw, encode, encode_value
from maildns.records import RrKey, RRset

MAX_ELEMENTS = 1000
"""ResourceRecord elements of a request."""

MAX_CHARACTERS = 32_000
"""In all values of a request."""

MAX_VALUE = 4000
"""Characters of one value as it is sent: quotes, escapes and the blanks between chunks count."""

MAX_VALUES = 400
"""Of one set."""


@dataclass(frozen=True)
class Batch:
    """What one request does: Amazon makes all of it or nothing."""

    changes: tuple[Change, ...]
    deletes: tuple[Raw, ...]
    """As Amazon listed them, to the letter."""
    creates: tuple[Raw, ...]

    @property
    def elements(self) -> int:
        """ResourceRecord elements."""
        return len(self._values)

    @property
    def characters(self) -> int:
        """Of all values."""
        return sum(map(len, self._values))

    @property
    def fits(self) -> bool:
        """Whether Amazon takes it in one request."""
        return self.elements <= MAX_ELEMENTS and self.characters <= MAX_CHARACTERS

    @property
    def _values(self) -> list[str]:
        return [r["Value"] for raw in (*self.deletes, *self.creates) for r in raw["ResourceRecords"]]

    def request(self) -> list[dict[str, Any]]:
        """The Change elements. Amazon checks them in order: a type that another replaces must go first."""
        return [
            *({"Action": "DELETE", "ResourceRecordSet": raw} for raw in self.deletes),
            *({"Action": "CREATE", "ResourceRecordSet": raw} for raw in self.creates),
        ]

    def __add__(self, other: Batch) -> Batch:
        """Both in one request."""
        return Batch(self.changes + other.changes, self.deletes + other.deletes, self.creates + other.creates)


def batches(changes: Iterable[Change], listed: Mapping[RrKey, Raw]) -> Iterator[Batch]:
    """The fewest requests for the changes in this order; a unit is never divided.

    Raises:
        ProviderError: one unit alone is more than a request may hold.
        RecordError: a value is not one of its type.
    """
    open_ = Batch((), (), ())
    for unit in by_unit(changes).values():
        alone = _batch(unit, listed)
        if not alone.fits:
            raise ProviderError(
                f"{unit[0].key[0]}: what changes here is too large for one request of Route 53 "
                f"({alone.elements} values of at most {MAX_ELEMENTS}, {alone.characters} characters of at "
                f"most {MAX_CHARACTERS}); nothing was done"
            )
        together = open_ + alone
        if together.fits:
            open_ = together
        else:
            yield open_
            open_ = alone
    if open_.changes:
        yield open_


def _batch(unit: Sequence[Change], listed: Mapping[RrKey, Raw]) -> Batch:
    deletes = tuple(listed[c.key] for c in unit if c.old)
    creates = tuple(encode(c.new) for c in unit if c.new)
    return Batch(tuple(unit), deletes, creates)


def unholdable(each: RRset) -> Iterator[str]:
    """Why Route 53 cannot hold a set, one sentence each."""
    where = f"{each.name} {each.type}"
    if each.type not in TYPES:
        yield f"{where}: Route 53 has no records of type {each.type}"
        return
    if each.type == "NS" and each.name.startswith("*."):
        yield f"{where}: Route 53 takes no wildcard for NS"
    if len(each.rdata) > MAX_VALUES:
        yield f"{where}: {len(each.rdata)} values; Route 53 holds {MAX_VALUES} in a set"
    sizes = [len(encode_value(each.type, value)) for value in each.rdata]
    if max(sizes, default=0) > MAX_VALUE:
        yield f"{where}: a value of {max(sizes)} characters as it is sent; Route 53 takes {MAX_VALUE}"
    elif sum(sizes) > MAX_CHARACTERS:
        yield f"{where}: {sum(sizes)} characters in all; one request of Route 53 takes {MAX_CHARACTERS}"

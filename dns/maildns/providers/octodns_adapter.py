"""Any provider of octoDNS as one of ours.

octoDNS plans from whole zones; here maildns plans, and octoDNS reads and writes: `populate` is our
`fetch`, and what is to change goes as an octoDNS plan of exactly these records to `apply`. No record
that is not ours is created, changed or deleted, nor is a zone.

What octoDNS does not give us, and what follows from it:

- No compare-and-swap. The zone is read again right before it is written, and must be as it was
  planned from; an edit in the moment between (one reading and one request) is not seen. It
  is only lost if it is at a set that we write.
- No atomicity. A plan goes in one call; whether that is one request is the provider's affair (PowerDNS:
  yes). The zone is read afterwards until it holds what was sent.
- Types that a provider's class does not read (`SUPPORTS`) cannot be seen, so neither can conflicts with them.
  A record that it cannot read hides all types that mail has no use for, and then only providers that are
  known to write set by set are let write: others put a zone there as a whole.

Limits met so far, by provider:

- 2026-11, octodns-powerdns 1.2: disabled records are read as if they were served, and enabled when their
  set is written.
- 2026-11, octodns-powerdns 1.2: SPF (type 99), DNAME and OPENPGPKEY records are not read.
- 2026-11, octodns-powerdns 1.2: a URI with a blank in its target, or an HTTPS record with an odd ech, stops
  the reading of a zone.
- 2026-11, octodns-powerdns 1.2: takes texts in presentation format, quotation marks and backslashes escaped.
- 2026-11, PowerDNS 4.7: the serial moves only if the zone's SOA-EDIT-API says so (DEFAULT; octoDNS
  sets it only on zones that it makes); without it secondaries see no change.
- 2026-11, PowerDNS 4.7: a CNAME beside other records is refused (422), the whole request with it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from octodns.provider.base import BaseProvider
from octodns.provider.plan import Plan
from octodns.record import Create, Delete, Record, Update, ValidationError
from octodns.zone import Zone

from maildns.errors import RecordError
from maildns.planning.order import gained, lost
from maildns.provider import Change, ConflictError, ProviderError, Snapshot
from maildns.providers.octodns_class import asking, hush, populated, provider_class
from maildns.providers.octodns_records import (
    PLAIN,
    PRESENTATION,
    TextDialect,
    beyond_us,
    by_key,
    identity,
    is_opaque,
    record_of,
    rrset_of,
)
from maildns.records import RrKey, RRset

_DIALECTS = {"octodns_powerdns": PRESENTATION}
"""By the provider's top package; all others are trusted with what octoDNS itself defines."""

_SET_BY_SET = {"octodns_powerdns"}
"""Packages known to write nothing but the sets that change, so that what was not read is safe."""

SETTLE = 15.0
"""Seconds until a provider shows in reading what it took in writing."""


@dataclass(frozen=True)
class Octodns:
    """A provider of octoDNS, by the name of its class."""

    provider: str
    """For instance `octodns_powerdns.PowerDnsProvider`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What its constructor takes, as octoDNS's own configuration has it."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """More of that; no message shows these values."""
    settle: float = SETTLE
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def fetch(self, zone: str) -> Snapshot:
        """Read a whole zone. `etag` is a digest of all that octoDNS reads."""
        return self._snapshot(self._populate(self._open(), zone)[0])

    def apply(self, zone: str, changes: Sequence[Change], etag: str) -> None:
        """Hand all changes to the provider in one octoDNS plan, and see that it then holds them."""
        if not changes:
            return
        provider = self._open()
        existing, whole = self._populate(provider, zone)
        if _digest(existing) != etag:
            raise ConflictError(f"{zone} was changed since it was read; nothing was done, plan again")
        if not whole and self._package not in _SET_BY_SET:
            raise ProviderError(
                f"{zone} holds a record that {self.provider} cannot read, which is lost if it writes "
                f"zones as a whole; take it out at the provider first. Nothing was done"
            )
        plan = self._plan(provider, existing, changes)
        try:
            with self._asking(f"changing {zone}"):
                provider.apply(plan)
        except ProviderError as error:
            self._after_failure(zone, changes, error)
            return
        self._confirm(zone, changes)

    def audit(self, rrsets: Iterable[RRset]) -> tuple[str, ...]:
        """What the provider's class does not support, or octoDNS refuses in a dry run."""
        provider = self._open()
        faults = ((each, self._fault(provider, each)) for each in rrsets)
        return tuple(f"{each.name} {each.type}: {fault}" for each, fault in faults if fault)

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return asking(f"{self.provider}, {what}", self.secrets.values())

    @property
    def _dialect(self) -> TextDialect:
        return _DIALECTS.get(self._package, PLAIN)

    @property
    def _package(self) -> str:
        return self.provider.split(".", 1)[0]

    def _open(self) -> BaseProvider:
        """A new instance each time: many keep the zones they have read, and would compare with those."""
        made = provider_class(self.provider)
        with self._asking("its options"):
            provider = made("mailwright", **self.options, **self.secrets)
        hush(provider.log)
        if getattr(provider, "apply_disabled", False):
            raise ProviderError(f"{self.provider}: its option apply_disabled is set, so nothing would happen")
        return provider

    def _populate(self, provider: BaseProvider, name: str) -> tuple[Zone, bool]:
        """The zone, and whether all was read that the class supports."""
        with self._asking(f"reading {name}"):
            zone, exists, whole = populated(provider, name)
        if exists is False:  # `None` is from before octoDNS asked for an answer
            raise ProviderError(
                f"{self.provider} holds no zone {name}; make it there first, mailwright makes none"
            )
        return zone, whole

    def _snapshot(self, zone: Zone) -> Snapshot:
        held = [(record, rrset_of(record, self._dialect)) for record in zone.records]
        rrsets = sorted((each for _, each in held), key=lambda each: each.key)
        beyond = {each.key: beyond_us(r) for r, each in held if beyond_us(r) or is_opaque(each)}
        opaque = {key: f"a {what}" if what else "more than a record can say" for key, what in beyond.items()}
        return Snapshot(zone.name, tuple(rrsets), _digest(zone), opaque)

    def _plan(self, provider: BaseProvider, existing: Zone, changes: Sequence[Change]) -> Plan:
        held = by_key(existing, self._dialect)
        made = [self._change(change, held, existing) for change in changes]
        self._refuse_what_is_bent(provider, existing.name, [c.new for c in made if c.new])
        desired = _changed(existing, made)
        if existing.root_ns and not provider.SUPPORTS_ROOT_NS:
            desired.remove_record(existing.root_ns)
        with self._asking(f"planning {existing.name}"):
            shown = provider._process_existing_zone(existing.copy(), desired)  # noqa: SLF001 - as BaseProvider.plan
        return Plan(shown, desired, made, exists=True)

    def _change(self, change: Change, held: Mapping[RrKey, Record], zone: Zone) -> Any:  # noqa: ANN401
        """One change as octoDNS has it."""
        old = held.get(change.key)
        if old is not None and (beyond_us(old) or is_opaque(rrset_of(old, self._dialect))):
            raise ProviderError(
                f"{change.key[0]} {change.key[1]} does more than a record here can say; change it at the "
                f"provider. Nothing was done"
            )
        if change.new is None:
            return Delete(old)
        new = record_of(change.new, zone, self._dialect, like=old)
        return Create(new) if old is None else Update(old, new)

    def _refuse_what_is_bent(self, provider: BaseProvider, name: str, records: list[Record]) -> None:
        """Some providers write something else instead of what they cannot do."""
        zone = Zone(name, [])
        for record in records:
            zone.add_record(record, lenient=True)
        wanted = {record: identity(record) for record in records}
        with self._asking(f"planning {name}"):
            processed = provider._process_desired_zone(zone.copy())  # noqa: SLF001 - as BaseProvider.plan
        kept = {record: identity(record) for record in processed.records}
        for record, data in wanted.items():
            if kept.get(record) != data:
                raise ProviderError(
                    f"{self.provider} would write {record.fqdn} {record._type} otherwise; nothing was done"  # noqa: SLF001
                )

    def _after_failure(self, zone: str, changes: Sequence[Change], error: ProviderError) -> None:
        """Return when all was done nevertheless; many providers make their requests one by one.

        Raises:
            ProviderError: the error, and how far it went.
        """
        try:
            held = {r.key: r for r in self.fetch(zone).rrsets}
        except ProviderError:
            raise ProviderError(f"{error}; what was done is not known, plan again") from None
        done = sum(_holds(held.get(c.key), c) for c in changes)
        if done < len(changes):
            how_far = f"{done} of {len(changes)} sets are as sent" if done else "nothing was done"
            raise ProviderError(f"{error}; {how_far}, plan again") from None

    def _confirm(self, zone: str, changes: Sequence[Change]) -> None:
        """Read until the zone holds the changes."""
        end = self.clock() + self.settle
        wait = 0.2
        while True:
            try:
                held = {r.key: r for r in self.fetch(zone).rrsets}
            except ProviderError as error:
                raise ProviderError(f"{zone} was changed, but is not seen: {error}") from None
            wrong = [c for c in changes if not _holds(held.get(c.key), c)]
            if not wrong:
                return
            if self.clock() >= end:
                break
            self.pause(wait)
            wait = min(wait * 2, 4.0)
        name, type_ = wrong[0].key
        has = held.get(wrong[0].key)
        what = f"holds {', '.join(sorted(has.rdata))} with TTL {has.ttl}" if has else "holds nothing"
        raise ProviderError(
            f"{self.provider} took the changes of {zone}, but {name} {type_} {what} ({len(wrong)} of "
            f"{len(changes)} sets are not as sent); plan again"
        )

    def _fault(self, provider: BaseProvider, each: RRset) -> str:
        if each.type not in provider.SUPPORTS:
            return f"{self.provider} does not support the type"
        if each.type == "PTR" and len(each.rdata) > 1 and not provider.SUPPORTS_MULTIVALUE_PTR:
            return f"{self.provider} holds one PTR at a name"
        if each.type == "TXT":
            return next(filter(None, map(self._dialect.fault, sorted(each.rdata))), "")
        above = Zone(each.name.split(".")[-2] + ".", [])  # nothing may count as an apex that is none
        try:
            record_of(each, above, self._dialect, lenient=False)
        except RecordError as error:
            return str(error).partition(": ")[2]
        except ValidationError as error:
            return "; ".join(map(str, error.reasons))
        return ""


def _digest(zone: Zone) -> str:
    records = sorted((r.fqdn, r._type, identity(r)) for r in zone.records)  # noqa: SLF001
    return hashlib.sha256(repr(records).encode()).hexdigest()


def _changed(existing: Zone, changes: Sequence[Any]) -> Zone:
    desired = existing.copy()
    for change in changes:
        if change.existing is not None:
            desired.remove_record(change.existing)
    for change in changes:
        if change.new is not None:
            desired.add_record(change.new, lenient=True)
    return desired


def _holds(held: RRset | None, change: Change) -> bool:
    """Whether a change is there; others may have added to the set meanwhile."""
    values = held.rdata if held else frozenset()
    ttl_right = change.new is None or (held is not None and held.ttl == change.new.ttl)
    return gained(change) <= values and not lost(change) & values and ttl_right

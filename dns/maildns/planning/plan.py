"""The plan: from a zone as it is to a zone as it should be, touching nothing of anybody else's.

Pure. Who owns what is read from markers (`maildns.planning.ownership`); one rule decides every set:

- a value that a marker of ours names is ours, every other value is somebody's;
- where parties share a set (`maildns.names.shared`), we add and remove our values and leave the
  rest; a foreign value of the same kind (a second SPF record) is a conflict;
- everywhere else a foreign value that is not what we want is a conflict;
- a foreign value that is exactly what we want becomes ours; adopting a set makes it ours first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from maildns.errors import RecordError
from maildns.names import challenge, shared, within
from maildns.planning.guards import Limits, Refusal, refusals
from maildns.planning.order import additive_first
from maildns.planning.ownership import Marker, is_marker_name, mark, read_markers, value_digest
from maildns.provider import Change, Snapshot
from maildns.records import RrKey, RRset, text_tag


@dataclass(frozen=True)
class Conflict:
    """A set that is not ours and stands in the way; nothing is planned for it."""

    key: RrKey
    sentence: str
    adoptable: bool = True
    """Whether adopting `key` would resolve it."""


@dataclass(frozen=True)
class ZonePlan:
    """What to do in one zone, and what forbids doing it."""

    zone: str
    etag: str
    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    gone: int = field(default=0, compare=False)
    """How many of our sets are wanted no longer."""
    owned: int = field(default=0, compare=False)
    """How many sets were ours before."""

    @property
    def blocked(self) -> bool:
        """Whether it may not be applied as it is."""
        return bool(self.conflicts or self.refusals)


def plan_zone(
    snapshot: Snapshot,
    desired: Iterable[RRset],
    owner: str,
    *,
    adopt: AbstractSet[RrKey] = frozenset(),
    allow: AbstractSet[str] = frozenset(),
    limits: Limits = Limits(),  # noqa: B008 - frozen
    scope: Callable[[str], bool] = lambda _: True,
) -> ZonePlan:
    """Compare a zone with what should be in it.

    `adopt` names sets to take over from whoever made them, `allow` the refusals to overrule, each
    as the refusal's flag spells it. Only names for which `scope` holds are looked at.

    Raises:
        RecordError: a set is desired that may not be planned here: outside the zone, SOA or NS at
            the apex, an ACME challenge, or two sets with one key.
    """
    return _Planner(snapshot, desired, owner, adopt).plan(allow, limits, scope)


def applied(rrsets: Iterable[RRset], changes: Iterable[Change]) -> tuple[RRset, ...]:
    """The sets of a zone after some changes."""
    table = {r.key: r for r in rrsets}
    for change in changes:
        table.pop(change.key, None)
        if change.new is not None:
            table[change.key] = change.new
    return tuple(table[key] for key in sorted(table))


class _Planner:
    """The state of one comparison."""

    def __init__(
        self, snapshot: Snapshot, desired: Iterable[RRset], owner: str, adopt: AbstractSet[RrKey]
    ) -> None:
        self.snapshot = snapshot
        self.zone = snapshot.zone
        self.owner = owner
        self.current = {r.key: r for r in snapshot.rrsets}
        self.desired = _by_key(desired, self.zone)
        markers = read_markers(snapshot.rrsets, self.zone)
        self.markers = {m.key: m for m in markers if m.owner == owner and not _untouchable(m.key, self.zone)}
        self.others = {(m.key, v): m.owner for m in markers if m.owner != owner for v in m.values}
        """Who else published what: (set, digest of the value) to the owner."""
        self.cuts = [
            (r.name, r.type)
            for r in snapshot.rrsets
            if (r.type == "NS" and r.name != self.zone) or r.type == "DNAME"
        ]
        self.adopt = self._adoptable(adopt)
        self.conflicts: list[Conflict] = []

    def plan(self, allow: AbstractSet[str], limits: Limits, scope: Callable[[str], bool]) -> ZonePlan:
        changes: list[Change] = []
        keys = [key for key in sorted({*self.desired, *self.markers, *self.adopt}) if scope(key[0])]
        for key in keys:
            changes += self._settle(key)
        self._refuse_cname_neighbours(changes)
        gone = sum(key in self.markers and key not in self.desired for key in keys)
        forbidden = refusals(self.zone, changes, owned=len(self.markers), gone=gone, limits=limits)
        return ZonePlan(
            self.zone,
            self.snapshot.etag,
            additive_first(changes, self.zone),
            tuple(self.conflicts),
            tuple(r for r in forbidden if r.flag not in allow),
            gone,
            len(self.markers),
        )

    def _adoptable(self, adopt: AbstractSet[RrKey]) -> frozenset[RrKey]:
        """The sets to adopt, each of which must stand in the way of something wanted."""
        wanted: dict[str, set[str]] = {}
        for name, type_ in self.desired:
            wanted.setdefault(name, set()).add(type_)
        for name, type_ in adopt:
            types = wanted.get(name, set())
            blocks = type_ in types or "CNAME" in types or (types and type_ == "CNAME")
            if (name, type_) not in self.current or not blocks:
                raise RecordError(f"{name} {type_}: nothing to adopt, it is in nobody's way")
            if (name, type_) in self.snapshot.opaque:
                what = self.snapshot.opaque[name, type_]
                raise RecordError(f"{name} {type_} is {what}, which cannot be adopted: delete it by hand")
        return frozenset(adopt)

    def _settle(self, key: RrKey) -> list[Change]:
        """What happens to one set and its marker."""
        have, want = self.current.get(key), self.desired.get(key)
        values = have.rdata if have else frozenset()
        wanted = want.rdata if want else frozenset()
        ours = self._ours(key, values, wanted)
        foreign = values - ours - wanted
        if key not in self.adopt:
            foreign |= {v for v in values if (key, value_digest(v)) in self.others}
        if want and self._conflicting(key, foreign - (ours & wanted), wanted):
            return []
        new = self._merged(key, have, want, foreign)
        changes = []
        if new != have:
            changes.append(Change(have, new, self._reason(key, have, new), unit=key[0]))
        return changes + self._remark(key, wanted)

    def _ours(self, key: RrKey, values: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
        if key in self.adopt:
            if not (wanted and shared(*key)):  # where nothing is wanted, the set as a whole is in the way
                return values
            kinds = {text_tag(v) for v in wanted}
            return frozenset(v for v in values if text_tag(v) in kinds)
        marker = self.markers.get(key)
        return frozenset(v for v in values if marker and marker.owns(v))

    def _conflicting(self, key: RrKey, foreign: frozenset[str], wanted: frozenset[str]) -> bool:
        cut = next((c for c in self.cuts if _hides(c, key[0])), None)
        if cut is not None:
            sentence = f"{cut[0]} {cut[1]} gives this name away; publish it there"
            self.conflicts.append(Conflict(key, sentence, adoptable=False))
            return True
        if key in self.snapshot.opaque:
            sentence = f"is {self.snapshot.opaque[key]}, which is not ours to change"
            self.conflicts.append(Conflict(key, sentence, adoptable=False))
            return True
        kinds = {text_tag(v) for v in wanted} if shared(*key) else None
        clash = sorted(v for v in foreign if kinds is None or text_tag(v) in kinds)
        if clash:
            self.conflicts.append(Conflict(key, f"holds {', '.join(clash)}, {self._whose(key, clash)}"))
        return bool(clash)

    def _whose(self, key: RrKey, values: Iterable[str]) -> str:
        marked = {self.others.get((key, d)) for d in mark("", key, values).values} - {None}
        return (
            f"published by {', '.join(map(str, sorted(marked, key=str)))}" if marked else "which is not ours"
        )

    def _merged(
        self, key: RrKey, have: RRset | None, want: RRset | None, foreign: frozenset[str]
    ) -> RRset | None:
        """The set afterwards: theirs and ours."""
        why = dict(want.explained()) if want else {}
        values = foreign | frozenset(why)
        if not values:
            return None
        # One TTL for the whole set (RFC 2181 section 5.2): that of those who share it with us.
        source = have if have and foreign else want or have
        ttl = source.ttl if source else 0
        return RRset(*key, ttl, values, tuple(why.get(v, "") for v in sorted(values)))

    def _reason(self, key: RrKey, have: RRset | None, new: RRset | None) -> str:
        if key not in self.desired:
            return "no longer wanted by the fleet"
        if new is not None and have is not None and new.rdata == have.rdata:
            return f"TTL {have.ttl} becomes {new.ttl}"
        return "; ".join(dict.fromkeys(r for r in self.desired[key].reasons if r))

    def _remark(self, key: RrKey, wanted: frozenset[str]) -> list[Change]:
        """The marker's change, in one unit with its record's."""
        known = self.markers.get(key)
        new = mark(self.owner, key, wanted).rrset(self.zone) if wanted else None
        place = Marker(self.owner, key, frozenset()).name(self.zone)
        old = self.current.get((place, "TXT"))
        if (old.rdata if old else None) == (new.rdata if new else None):
            return []
        reason = "no longer ours" if new is None else "now ours" if known is None else "ours, changed"
        return [Change(old, new, reason, unit=key[0])]

    def _refuse_cname_neighbours(self, changes: list[Change]) -> None:
        """Servers drop one of the two without a word, so it must not come to that (RFC 2181 10.1)."""
        after: dict[str, dict[str, RRset]] = {}
        for each in applied(self.snapshot.rrsets, changes):
            after.setdefault(each.name, {})[each.type] = each
        for name in sorted({c.key[0] for c in changes}):
            held = after.get(name, {})
            if "CNAME" in held and len(held) > 1:
                for type_ in sorted(set(held) - {t for n, t in self.desired if n == name}):
                    sentence = "a CNAME and other records cannot share a name, and this is not ours"
                    adoptable = (name, type_) not in self.snapshot.opaque
                    self.conflicts.append(Conflict((name, type_), sentence, adoptable))


def _by_key(desired: Iterable[RRset], zone: str) -> Mapping[RrKey, RRset]:
    table: dict[RrKey, RRset] = {}
    for each in desired:
        if not within(each.name, zone):
            raise RecordError(f"{each.name} is not in the zone {zone}")
        if _untouchable(each.key, zone):
            raise RecordError(f"{each.name} {each.type} is never planned")
        if each.key in table:
            raise RecordError(f"{each.name} {each.type} is wanted twice")
        table[each.key] = each
    return table


def _untouchable(key: RrKey, zone: str) -> bool:
    """The zone's own spine, ACME challenges and the markers' branch."""
    name, type_ = key
    return (name == zone and type_ in {"NS", "SOA"}) or challenge(name) or is_marker_name(name, zone)


def _hides(cut: RrKey, name: str) -> bool:
    """Whether a delegation or DNAME answers for the name instead of this zone."""
    place, type_ = cut
    return within(name, place) and (type_ == "NS" or name != place)

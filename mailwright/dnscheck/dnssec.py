"""Each zone's chain of trust, the signatures of what we publish in it, and its proofs of absence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial

from maildns.asking.authority import AskError
from maildns.judging.check import State, Verdict
from maildns.judging.dnssec import BogusError, Keys, Lasts, proved
from maildns.names import longest_zone
from maildns.records import RrKey
from mailwright.dnscheck.asking import Asking, Remembered
from mailwright.dnscheck.delegation import zones_of
from mailwright.dnscheck.task import Task
from mailwright.zones import Zones

KIND = "dnssec"

NOBODY = "mailwright-asks-whether-this-exists"
"""A label that no zone has, to see its absence proved."""

CHAIN_REMEDY = (
    "make the DS at the parent match the zone's key, or remove it there; until then resolvers refuse the zone"
)
SIGN_REMEDY = "let the zone's signer sign it anew, and look why it did not"


def tasks(wanted: Zones, asking: Asking) -> Iterator[Task]:
    """One for each zone."""
    zones = zones_of(wanted, asking)
    keys = [each.key for zone in wanted.zones for each in zone.rrsets] + [r.key for r in wanted.by_hand]
    placed: dict[str | None, list[RrKey]] = {}
    ours = frozenset(zones)
    for key in keys:
        placed.setdefault(longest_zone(key[0], ours), []).append(key)
    for zone in zones:
        yield Task(KIND, zone, partial(_check, zone, placed.get(zone, []), asking))


def _check(zone: str, published: Iterable[RrKey], asking: Asking) -> Iterator[Verdict]:
    try:
        chain = asking.chain(zone)
        signed = bool(asking.message(zone, zone, "DNSKEY").answer)
    except BogusError as error:
        yield Verdict(zone, "chain of trust", State.FAULT, str(error), KIND, CHAIN_REMEDY)
        return
    except AskError as error:
        yield Verdict(zone, "chain of trust", State.UNKNOWN, str(error), KIND)
        return
    if chain.keys is None:
        yield _unsigned(zone, chain.why, signed=signed, anchored=bool(asking.world.anchors))
        return
    yield Verdict(zone, "chain of trust", State.OK, "from the trust anchor down to the zone's keys", KIND)
    questions = [*published, (zone, "SOA"), (zone, "NS"), (f"{NOBODY}.{zone}", "A")]
    for server in asking.answering(zone):
        yield _signatures(zone, server, questions, chain.keys, asking.now)


def _unsigned(zone: str, why: str, *, signed: bool, anchored: bool) -> Verdict:
    what = "chain of trust"
    if not signed:
        return Verdict(zone, what, State.OK, f"unsigned, as it should then be: {why}", KIND)
    if not anchored:
        return Verdict(zone, what, State.UNKNOWN, "signed, but the lab has no trust anchor to judge by", KIND)
    return Verdict(zone, what, State.OK, f"signed, yet nobody validates it: {why}", KIND)


def _signatures(zone: str, server: Remembered, questions: Iterable[RrKey], keys: Keys, now: float) -> Verdict:
    """Everything that one server shows of the zone is signed, for some time to come."""
    what = f"signatures at {server}"
    faults: list[str] = []
    soonest: Lasts = keys.lasts
    count = 0
    for name, type_ in questions:
        try:
            found = proved(server.query(name, type_), name, type_, keys, now)
        except BogusError as error:
            faults.append(str(error))
        except AskError as error:
            return Verdict(zone, what, State.UNKNOWN, str(error), KIND)
        else:
            count += 1
            soonest = min(soonest, found.lasts, key=lambda lasts: lasts.expiration)
    if faults:
        return Verdict(zone, what, State.FAULT, "; ".join(dict.fromkeys(faults)), KIND, SIGN_REMEDY)
    until = datetime.fromtimestamp(soonest.expiration, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if soonest.ends_soon(now):
        sentence = f"signatures should have been renewed by now: the first expires on {until}"
        return Verdict(zone, what, State.FAULT, sentence, KIND, SIGN_REMEDY)
    return Verdict(zone, what, State.OK, f"{count} answers are proved, none expires before {until}", KIND)

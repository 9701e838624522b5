"""The chain of trust from an anchor down to a zone (RFC 4035 section 5). Pure: told how to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dns.message
import dns.name

from maildns.judging.dnssec import Anchors, BogusError, Keys, proved, supported, trusted_keys
from maildns.names import longest_zone
from maildns.records import to_rdata

Ask = Callable[[str, str, str], dns.message.Message]
"""(zone, name, type) to what one of the zone's servers answers; raises AskError when none does."""


@dataclass(frozen=True)
class Chain:
    """Where the chain to a zone leads."""

    zone: str
    keys: Keys | None
    """The zone's keys; `None` where it counts as unsigned."""
    why: str
    """For a zone that counts as unsigned, who says so."""


def chain_to(zone: str, anchors: Anchors, ask: Ask, now: float) -> Chain:
    """Follow the delegations from the nearest anchor down.

    Raises:
        BogusError: it is broken; the message says where.
        AskError: a zone on the way cannot be asked.
    """
    start = longest_zone(zone, anchors)
    if start is None:
        return Chain(zone, None, "no trust anchor covers it")
    keys = trusted_keys(start, ask(start, start, "DNSKEY"), anchors[start], now)
    for name in _between(start, zone):
        answer = proved(ask(keys.zone, name, "DS"), name, "DS", keys, now)
        if answer.insecure_cut:
            return Chain(zone, None, f"{keys.zone} proves that {name} is delegated without a DS record")
        if not answer.values:
            continue  # a label without a zone of its own
        anchored = tuple(to_rdata("DS", value) for value in sorted(answer.values))
        if not supported(anchored):
            return Chain(zone, None, f"{keys.zone} has only DS records for {name} that nobody can verify")
        keys = trusted_keys(name, ask(name, name, "DNSKEY"), anchored, now)
    if keys.zone != zone:
        raise BogusError(f"{keys.zone} proves that {zone} is not delegated: validating resolvers see nothing")
    return Chain(zone, keys, "")


def _between(start: str, zone: str) -> list[str]:
    """The names below `start` down to `zone`, top first."""
    top, name = dns.name.from_text(start), dns.name.from_text(zone)
    depths = range(len(top.labels) + 1, len(name.labels) + 1)
    return [name.split(depth)[1].to_text() for depth in depths]

"""Every record that the fleet wants, as the authoritative servers give it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from maildns.judging.check import State, Verdict, check_fcrdns, check_mx_targets, check_rrset
from maildns.policy.hosts import reverse_name
from maildns.policy.spf import is_spf
from maildns.records import RRset
from mailwright.dnscheck.asking import Asking
from mailwright.dnscheck.task import Task
from mailwright.zones import SENDS, Zones

PUBLISH = "publish it: `mailwright dns apply`"
BY_HAND = "publish it where the zone is held: `mailwright dns plan` shows the value"
AT_RENTER = "have it set by whoever rents out the address"


def tasks(wanted: Zones, asking: Asking, unsaid: Mapping[str, str]) -> Iterator[Task]:
    """One for each set, and one for each sending address.

    `unsaid` are domains of which nobody says what their SPF policy should be now, and why that is so.
    """
    held = [(each, PUBLISH) for zone in wanted.zones for each in zone.rrsets]
    for each, remedy in [*held, *((each, _by_hand(each)) for each in wanted.by_hand)]:
        known = each if each.name not in unsaid else replace(each, rdata=_others(each.rdata), reasons=())
        yield Task("records", each.name, partial(_records, known, remedy, asking))
    for name, why in unsaid.items():
        yield Task("records", name, partial(_unsaid, name, why))
    ours = {each.name for each, remedy in held if remedy == PUBLISH}
    for machine in asking.fleet.with_role(SENDS):
        for ip in machine.addresses:
            host, reverse = str(machine.fqdn), reverse_name(ip)
            remedy = PUBLISH if reverse in ours else AT_RENTER
            yield Task("fcrdns", host, partial(_fcrdns, host, str(ip), reverse, remedy, asking))


def _others(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value in values if not is_spf(value))


def _unsaid(name: str, why: str) -> Iterator[Verdict]:
    yield Verdict(name, "SPF", State.UNKNOWN, why.removesuffix("; nothing is changed"), "records")


def _by_hand(wanted: RRset) -> str:
    return AT_RENTER if wanted.type == "PTR" else BY_HAND


def _records(wanted: RRset, remedy: str, asking: Asking) -> Iterator[Verdict]:
    yield from _advised(check_rrset(wanted, asking), "records", remedy)
    if wanted.type == "MX":
        yield from _advised(check_mx_targets(wanted, asking), "records", PUBLISH)


def _fcrdns(host: str, ip: str, reverse: str, remedy: str, asking: Asking) -> Iterator[Verdict]:
    yield from _advised([check_fcrdns(host, ip, reverse, asking)], "fcrdns", remedy)


def _advised(verdicts: Iterable[Verdict], kind: str, remedy: str) -> Iterator[Verdict]:
    for verdict in verdicts:
        yield replace(verdict, kind=kind, remedy=remedy if verdict.state is State.FAULT else "")

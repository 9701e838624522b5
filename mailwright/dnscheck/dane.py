"""TLSA records against the certificates that mail servers really show on port 25."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from maildns.asking.authority import AskError
from maildns.asking.dial import UnreachedError, WrongError
from maildns.asking.starttls import PORT, served_chain
from maildns.errors import RecordError
from maildns.judging.check import State, Verdict
from maildns.judging.dane import mismatch
from maildns.judging.dnssec import BogusError
from maildns.policy.tlsa import Tlsa, tlsa_name
from mailwright.dnscheck.asking import Asking
from mailwright.dnscheck.task import Task
from mailwright.zones import Zones

KIND = "tlsa"

ROLL = "publish the key in use and wait for the old TTL, or give the server the key that is published"


def tasks(wanted: Zones, asking: Asking) -> Iterator[Task]:
    """One for each host with a TLSA record of ours for port 25."""
    prefix = tlsa_name("", PORT)
    for each in [*(r for zone in wanted.zones for r in zone.rrsets), *wanted.by_hand]:
        if each.type == "TLSA" and each.name.startswith(prefix):
            host = each.name.removeprefix(prefix)
            yield Task(KIND, host, partial(_check, host, asking))


def _check(host: str, asking: Asking) -> Iterator[Verdict]:
    try:
        values = asking.values(tlsa_name(host, PORT), "TLSA")
        records = [Tlsa.parse(value) for value in sorted(values)]
        addresses = asking.addresses(host)
    except AskError as error:
        yield Verdict(host, "TLSA", State.UNKNOWN, str(error), KIND)
        return
    except RecordError as error:
        yield Verdict(host, "TLSA", State.FAULT, str(error), KIND, "`mailwright dns apply`")
        return
    if not records:
        sentence = "there should be a TLSA record, and there is none: senders do without DANE"
        yield Verdict(host, "TLSA", State.FAULT, sentence, KIND, "publish it: `mailwright dns apply`")
        return
    yield Verdict(host, "TLSA", State.OK, f"{len(records)} published", KIND)
    yield _secured(host, asking)
    for address in addresses:
        yield _at(host, address, records, asking)


def _secured(host: str, asking: Asking) -> Verdict:
    """Without DNSSEC nobody looks at a TLSA record (RFC 7672 section 2.2)."""
    try:
        chain = asking.chain(asking.zone_of(host))
    except (AskError, BogusError) as error:
        return Verdict(host, "TLSA is signed", State.UNKNOWN, str(error), KIND)
    if chain.keys is None and not asking.world.anchors:
        sentence = "the lab has no trust anchor to judge by"
        return Verdict(host, "TLSA is signed", State.UNKNOWN, sentence, KIND)
    if chain.keys is None:
        sentence = (
            f"should lie in a zone that resolvers validate, and does not: {chain.why}; senders ignore it"
        )
        return Verdict(
            host, "TLSA is signed", State.FAULT, sentence, KIND, "sign the zone, or drop the record"
        )
    return Verdict(host, "TLSA is signed", State.OK, "in a zone that resolvers validate", KIND)


def _at(host: str, address: str, records: list[Tlsa], asking: Asking) -> Verdict:
    what = f"certificate at {address}"
    name = host.removesuffix(".")
    helo = str(asking.fleet.machines[0].fqdn).removesuffix(".")
    try:
        chain = served_chain(name, address, helo, asking.dial)
        why = mismatch(records, chain, name, datetime.fromtimestamp(asking.now, UTC))
    except UnreachedError as error:
        return Verdict(host, what, State.UNKNOWN, str(error), KIND)
    except (WrongError, RecordError) as error:
        remedy = "`mailwright verify` the host: port 25 should offer STARTTLS"
        return Verdict(host, what, State.FAULT, str(error), KIND, remedy)
    if why:
        return Verdict(host, what, State.FAULT, f"should fit a TLSA record: {why}", KIND, ROLL)
    waiting = f"; of {len(records)} records the others wait for a roll-over" if len(records) > 1 else ""
    return Verdict(host, what, State.OK, f"fits{waiting}", KIND)

"""The drift of the DNS: a plan of the zones, read the other way round."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.planning.order import gained, lost
from maildns.planning.ownership import is_marker_name
from maildns.planning.plan import ZonePlan
from maildns.provider import Change
from mailwright.dnsplan import Plans, plan_site
from mailwright.drift.finding import Finding
from mailwright.drift.machine import MachineDrift
from mailwright.drift.report import DNS
from mailwright.model.errors import DnsError
from mailwright.model.site import Site


def drift_of_zones(site: Site) -> MachineDrift:
    """What a plan of the zones would put right: records that changed, came or went.

    Zones hold no record of an apply: what the fleet file has come to say since is among it.
    """
    try:
        plans = plan_site(site)
    except DnsError as error:
        return MachineDrift(DNS, unknown=str(error))
    findings = tuple(finding for zone in plans.zones for finding in _of_zone(zone))
    blind = tuple(f"zone {unread.zone}" for unread in plans.unread)
    return MachineDrift(DNS, findings=findings, unknown=_unread(plans) if not findings else "", blind=blind)


def _unread(plans: Plans) -> str:
    return "; ".join(f"{unread.zone} cannot be read: {unread.sentence}" for unread in plans.unread)


def _of_zone(plan: ZonePlan) -> Iterator[Finding]:
    for change in plan.changes:
        if not is_marker_name(change.key[0], plan.zone):
            yield from _of_change(change)
    for conflict in plan.conflicts:
        name, type_ = conflict.key
        # What we published is marked value by value: another value at its place is somebody else's.
        what = "changed" if conflict.adoptable else "in conflict"
        back = (
            (f"to have it back: mailwright dns apply --adopt {name}/{type_}",) if conflict.adoptable else ()
        )
        yield Finding(f"DNS record {what}", f"{name} {type_}", text=(conflict.sentence, *back))


def _of_change(change: Change) -> Iterator[Finding]:
    subject = " ".join(change.key)
    found, wanted = sorted(lost(change)), sorted(gained(change))
    if not found and not wanted and change.old and change.new:
        yield Finding("DNS TTL changed", subject, str(change.new.ttl), str(change.old.ttl))
    elif len(found) == 1 and len(wanted) == 1:
        yield Finding("DNS record changed", subject, _plain(wanted[0]), _plain(found[0]))
    else:
        yield from (Finding("DNS record missing", subject, before=_plain(value)) for value in wanted)
        yield from (Finding("DNS record added", subject, after=_plain(value)) for value in found)


def _plain(value: str) -> str:
    """Octets that no terminal shows are escaped."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

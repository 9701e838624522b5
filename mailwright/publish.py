"""Between a site and its DNS providers: plan every zone, apply, and see that the world has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from maildns.authority import Missing, wait_until_served
from maildns.errors import MaildnsError
from maildns.order import by_unit, only_removes
from maildns.plan import ZonePlan, plan_zone
from maildns.planfile import Choices, digest
from maildns.provider import Provider, Snapshot
from maildns.records import RrKey, RRset
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.providers import provider_of
from mailwright.world import World
from mailwright.zones import Zone, Zones, desired

DEADLINE = 60.0
"""Seconds that authoritative servers have to serve what was published."""

ALL = Choices()
"""Every zone, nothing adopted, nothing overruled."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plans:
    """The plan of every zone of a site."""

    zones: tuple[ZonePlan, ...]
    by_hand: tuple[RRset, ...]
    providers: Mapping[str, str]
    """Zone to the fleet file's name of its provider."""

    kept: Mapping[str, frozenset[RrKey]] = field(default_factory=dict)
    """Zone to the sets that are left for later: a second plan may still want to change those."""

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return any(plan.changes for plan in self.zones)

    @property
    def blocked(self) -> bool:
        """Whether something forbids doing it."""
        return any(plan.blocked for plan in self.zones)

    @property
    def digest(self) -> str:
        """What would be done, as one number."""
        return digest(self.zones)


def plan_site(site: Site, choices: Choices = ALL) -> Plans:
    """Read every zone of the site and compare it with what it should hold.

    Raises:
        DnsError: a zone cannot be read, or a record may not be published.
        SecretError: a DKIM or TSIG key is missing.
    """
    wanted = desired(site)
    zones = _chosen(wanted, choices)
    with as_dns_error():
        providers = {zone.name: provider_of(site, zone.provider) for zone in zones}
        _refuse_what_cannot_be_held(zones, providers)
        plans = tuple(
            _plan_zone(site, zone, providers[zone.name].fetch(zone.name), choices) for zone in zones
        )
    by_hand = () if choices.only else wanted.by_hand
    return Plans(plans, by_hand, {zone.name: zone.provider for zone in zones})


def without_removals(plans: Plans) -> Plans:
    """The part of a plan that adds and replaces; what only goes is `kept` for later.

    Machines that are about to change need the one beforehand, and may need the other until afterwards.
    """
    zones: list[ZonePlan] = []
    kept: dict[str, frozenset[RrKey]] = {}
    for plan in plans.zones:
        units = by_unit(plan.changes).values()
        now = [c for unit in units if not only_removes(unit, plan.zone) for c in unit]
        kept[plan.zone] = frozenset(c.key for c in plan.changes) - {c.key for c in now}
        zones.append(replace(plan, changes=tuple(now)))
    return replace(plans, zones=tuple(zones), kept=kept)


def apply_plans(site: Site, plans: Plans, deadline: float = DEADLINE, say: Say = lambda _: None) -> None:
    """Publish, plan again, which may find only what is kept, and ask every authoritative server.

    Zones are published one after the other; when one fails, the next plan is what is left.

    Raises:
        DnsError: refused, moved meanwhile, not what the provider then holds, or not served in time.
    """
    if plans.blocked:
        raise DnsError("the plan has conflicts or refusals; nothing was done")
    todo = [plan for plan in plans.zones if plan.changes]
    for plan in todo:
        with as_dns_error():
            provider_of(site, plans.providers[plan.zone]).apply(plan.zone, plan.changes, plan.etag)
        say(f"published {plan.zone}")
    after = plan_site(site, Choices(only=tuple(plan.zone for plan in plans.zones)))
    left = [p.zone for p in after.zones if p.blocked or _keys(p) - plans.kept.get(p.zone, frozenset())]
    if left:
        raise DnsError(
            f"published, but a second plan is not empty for {', '.join(left)}; look at it with `dns plan`"
        )
    missing = [m for plan in todo for m in _unserved(site, plan, deadline, say)]
    if missing:
        lines = "; ".join(f"{m.key[0]} {m.key[1]}: {m.why}" for m in missing)
        raise DnsError(f"published, but not served everywhere within {deadline:g} s: {lines}")


def _keys(plan: ZonePlan) -> frozenset[RrKey]:
    return frozenset(change.key for change in plan.changes)


@contextmanager
def as_dns_error() -> Iterator[None]:
    """Turn maildns's errors into ours: the library knows nothing of mailwright."""
    try:
        yield
    except MaildnsError as error:
        raise DnsError(str(error)) from None


def _chosen(wanted: Zones, choices: Choices) -> tuple[Zone, ...]:
    known = {zone.name for zone in wanted.zones}
    for name in choices.only:
        if name not in known:
            raise DnsError(
                f"{name} is no zone that the fleet file gives a provider; there are {', '.join(known)}"
            )
    names = {each.name for zone in wanted.zones for each in zone.rrsets}
    for name, type_ in choices.adopt:
        if name not in names:
            raise DnsError(f"{name} {type_}: nothing to adopt, the fleet wants nothing at this name")
    return tuple(zone for zone in wanted.zones if not choices.only or zone.name in choices.only)


def _refuse_what_cannot_be_held(zones: Iterable[Zone], providers: Mapping[str, Provider]) -> None:
    for zone in zones:
        for sentence in providers[zone.name].audit(zone.rrsets):
            raise DnsError(f"{zone.name}: {sentence}")


def _plan_zone(site: Site, zone: Zone, snapshot: Snapshot, choices: Choices) -> ZonePlan:
    names = {r.name for r in zone.rrsets}
    return plan_zone(
        snapshot,
        zone.rrsets,
        site.fleet.dns.owner,
        adopt=frozenset(key for key in choices.adopt if key[0] in names),
        allow=frozenset(choices.allow) | site.keyring.released(),
    )


def _unserved(site: Site, plan: ZonePlan, deadline: float, say: Say) -> tuple[Missing, ...]:
    with as_dns_error():
        servers = World(site.fleet).servers(plan.zone)
    missing = wait_until_served(dict.fromkeys(servers, plan.changes), deadline)
    behind = {m.server for m in missing}
    say(f"{plan.zone} is served by {', '.join(str(s) for s in servers if s not in behind) or 'nobody'}")
    return missing

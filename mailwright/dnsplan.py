"""From a site to the plan of each of its zones: read them all, several at a time, and compare."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from maildns.errors import MaildnsError
from maildns.names import longest_zone
from maildns.planning.guards import Refusal, refusals_across, unannounced
from maildns.planning.order import announces, only_removes, parts
from maildns.planning.plan import ZonePlan, plan_zone
from maildns.planning.planfile import Choices, digest
from maildns.policy.spf.flatten import Flattened
from maildns.provider import ProviderError, Snapshot
from maildns.records import RrKey, RRset
from mailwright.includes import refuse_losses, with_includes
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.providers import Providers
from mailwright.zones import Zone, Zones, desired

ALL = Choices()
"""Every zone, nothing adopted, nothing overruled."""

AT_ONCE = 8
"""Zones that are read or written at a time; how fast one may go is the provider's own affair."""

MANY = 20
"""Zones from which on progress is worth a line."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Unread:
    """A zone that could not be read, so that nobody knows what is to do there."""

    zone: str
    sentence: str


@dataclass(frozen=True)
class Plans:
    """The plan of every zone of a site."""

    zones: tuple[ZonePlan, ...]
    by_hand: tuple[RRset, ...]
    providers: Mapping[str, str]
    """Zone to the fleet file's name of its provider."""

    kept: Mapping[str, frozenset[RrKey]] = field(default_factory=dict)
    """Zone to the sets that are left for later: a second plan may still want to change those."""
    unread: tuple[Unread, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """What is refused because of all zones together."""
    only: tuple[str, ...] = ()
    """What the plan is limited to, as `Choices.only`."""
    opened: Providers | None = field(default=None, compare=False, repr=False)
    """What the zones were read with."""
    includes: Mapping[str, Flattened] = field(default_factory=dict, compare=False)
    """What flattened includes stood for then: a second plan wants the same."""

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return any(plan.changes for plan in self.zones)

    @property
    def blocked(self) -> bool:
        """Whether something forbids doing it."""
        return bool(self.unread or self.refusals) or any(plan.blocked for plan in self.zones)

    @property
    def digest(self) -> str:
        """What would be done, as one number."""
        return digest(self.zones)


def plan_site(
    site: Site, choices: Choices = ALL, *, opened: Providers | None = None, say: Say = lambda _: None
) -> Plans:
    """Read every zone of the site and compare it with what it should hold.

    A zone that cannot be read is told in the plan, which is then blocked.

    Raises:
        DnsError: no zone can be read, a record may not be published, or a choice fits nothing.
        SecretError: a DKIM or TSIG key is missing.
    """
    site = with_includes(site, choices.only)
    if opened is None:
        refuse_losses(site, choices.only, choices.allow)
    wanted = desired(site)
    scopes = _scopes(site, wanted, choices)
    zones = tuple(zone for zone in wanted.zones if zone.name in scopes)
    opened = opened or Providers(site)
    with as_dns_error():
        _refuse_what_cannot_be_held(zones, opened)
        snapshots, unread = _read(zones, opened, say)
        plans = tuple(
            _keys_known(
                _plan_zone(site, zone, snapshots[zone.name], choices, scopes[zone.name]),
                unannounced(snapshots[zone.name].rrsets, wanted.in_use),
                choices,
            )
            for zone in zones
            if zone.name in snapshots
        )
    across = refusals_across((plan.gone, plan.owned) for plan in plans)
    return Plans(
        plans,
        () if choices.only else wanted.by_hand,
        {zone.name: zone.provider for zone in zones},
        unread=unread,
        refusals=tuple(r for r in across if r.flag not in choices.allow),
        only=choices.only,
        opened=opened,
        includes=site.includes,
    )


def without_removals(plans: Plans) -> Plans:
    """The part of a plan that adds and replaces; what only goes, and what announces, is `kept` for later.

    Machines that are about to change need the one beforehand, and may need what goes until afterwards.
    What they shall serve is announced once they do.
    """
    zones: list[ZonePlan] = []
    kept: dict[str, frozenset[RrKey]] = {}
    for plan in plans.zones:
        later = frozenset(
            change.key
            for part in parts(plan.changes, plan.zone)
            if only_removes(part, plan.zone) or announces(part)
            for change in part
        )
        kept[plan.zone] = later
        zones.append(replace(plan, changes=tuple(c for c in plan.changes if c.key not in later)))
    return replace(plans, zones=tuple(zones), kept=kept)


@contextmanager
def as_dns_error() -> Iterator[None]:
    """Turn maildns's errors into ours: the library knows nothing of mailwright."""
    try:
        yield
    except MaildnsError as error:
        raise DnsError(str(error)) from None


_Scope = Callable[[str], bool]
"""Whether a plan looks at a name."""


def _scopes(site: Site, wanted: Zones, choices: Choices) -> dict[str, _Scope]:
    """The zones to plan, each with the names to look at."""
    names = {each.name for zone in wanted.zones for each in zone.rrsets}
    for name, type_ in choices.adopt:
        if name not in names:
            raise DnsError(f"{name} {type_}: nothing to adopt, the fleet wants nothing at this name")
    zones = [zone.name for zone in wanted.zones]
    if not choices.only:
        return dict.fromkeys(zones, _everything)
    domains = {str(domain.name): str(domain.zone or domain.name) for domain in site.fleet.domains}
    scopes: dict[str, list[_Scope]] = {}
    for name in choices.only:
        zone = name if name in zones else domains.get(name)
        if zone not in zones:
            known = ", ".join(dict.fromkeys([*zones, *(d for d, z in domains.items() if z in zones)]))
            raise DnsError(f"{name} is no zone or domain that the fleet gives a provider; there are {known}")
        scope = _everything if name == zone else _names_of(name, domains)
        scopes.setdefault(zone, []).append(scope)
    return {zone: _any_of(found) for zone, found in scopes.items()}


def _everything(_: str) -> bool:
    return True


def _names_of(domain: str, domains: Container[str]) -> _Scope:
    """The names of a mail domain that lives in a parent's zone: those nearer to it than to another."""
    return lambda name: longest_zone(name, domains) == domain


def _any_of(scopes: list[_Scope]) -> _Scope:
    return lambda name: any(scope(name) for scope in scopes)


def _refuse_what_cannot_be_held(zones: Iterable[Zone], opened: Providers) -> None:
    said = [f"{z.name}: {sentence}" for z in zones for sentence in opened[z.provider].audit(z.rrsets)]
    if said:
        raise DnsError(said[0] + (f" (and {len(said) - 1} more like it)" if len(said) > 1 else ""))


def _read(
    zones: tuple[Zone, ...], opened: Providers, say: Say
) -> tuple[dict[str, Snapshot], tuple[Unread, ...]]:
    snapshots: dict[str, Snapshot] = {}
    unread: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reading = {pool.submit(opened[zone.provider].fetch, zone.name): zone.name for zone in zones}
        for done, future in enumerate(as_completed(reading), start=1):
            try:
                snapshots[reading[future]] = future.result()
            except ProviderError as error:
                unread[reading[future]] = str(error)
            if len(zones) >= MANY and done % (len(zones) // 10) == 0:
                say(f"read {done} of {len(zones)} zones")
    failed = tuple(Unread(zone.name, unread[zone.name]) for zone in zones if zone.name in unread)
    if failed and not snapshots:
        more = f" (and {len(failed) - 1} more zones like it)" if len(failed) > 1 else ""
        raise DnsError(failed[0].sentence + more)
    return snapshots, failed


def _plan_zone(site: Site, zone: Zone, snapshot: Snapshot, choices: Choices, scope: _Scope) -> ZonePlan:
    names = {r.name for r in zone.rrsets}
    return plan_zone(
        snapshot,
        zone.rrsets,
        site.fleet.dns.owner,
        adopt=frozenset(key for key in choices.adopt if key[0] in names and scope(key[0])),
        allow=frozenset(choices.allow) | site.keyring.released(),
        scope=scope,
    )


def _keys_known(plan: ZonePlan, forbidden: Iterable[Refusal], choices: Choices) -> ZonePlan:
    """The plan, refused where a machine would use a key that the world has no record of."""
    said = {*choices.allow, *(r.flag for r in plan.refusals)}
    more = tuple(r for r in forbidden if r.flag not in said)
    return replace(plan, refusals=(*plan.refusals, *more))

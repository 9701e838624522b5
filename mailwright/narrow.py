"""Publish some names of the fleet and change nothing else of their zones: the rest is left to `apply`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from maildns.asking.authority import wait_until_served
from maildns.asking.proof import ZoneProof
from maildns.names import longest_zone
from maildns.planning.plan import plan_zone
from maildns.provider import Change, Provider, Snapshot
from maildns.records import RrKey, RRset
from mailwright.dnsplan import as_dns_error
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.providers import provider_of
from mailwright.publish import DEADLINE
from mailwright.world import World
from mailwright.zones import zone_providers


@dataclass
class Narrow:
    """Publishes names, a few at a time."""

    world: World
    say: Callable[[str], None] = lambda _: None
    _told: list[str] = field(default_factory=list, init=False)
    """What was asked to be done by hand: once is enough."""

    def publish(
        self,
        site: Site,
        wanted: Iterable[RRset],
        keys: Collection[RrKey],
        allow: Collection[str] = (),
        *,
        lasting: bool = False,
    ) -> None:
        """Make the zones hold `wanted` of the sets `keys`, and none of ours at their names beside it.

        `allow`: refusals that are overruled. `lasting`: do not shorten how long a set may be kept, because
        whoever waits for caches goes by what it says. Servers that are late are not complained of: look
        afterwards.

        Raises:
            DnsError: a zone cannot be read or changed, or somebody else's record stands at a name; all
                others were seen to by then.
        """
        wanted = tuple(wanted)
        providers = zone_providers(site.fleet)
        zones: dict[str | None, set[RrKey]] = {}
        for key in keys:
            zones.setdefault(longest_zone(key[0], providers), set()).add(key)
        failed: list[str] = []
        for zone, inside in zones.items():
            job = _Job(site, zone or "", tuple(r for r in wanted if r.key in inside), inside, allow, lasting)
            if zone and (provider := providers[zone]):
                try:
                    with as_dns_error():
                        self._publish(job, provider_of(site, provider))
                except DnsError as error:
                    failed.append(str(error))
            else:
                self._by_hand(job)
        if failed:
            raise DnsError("; ".join(failed))

    def _by_hand(self, job: _Job) -> None:
        gone = set(job.keys) - {each.key for each in job.wanted}
        lines = [
            f"publish by hand: {each.name} {each.type} {value}"
            for each in job.wanted
            for value in sorted(each.rdata)
        ]
        for line in (*lines, *(f"delete by hand: {name} {type_}" for name, type_ in sorted(gone))):
            if line not in self._told:
                self._told.append(line)
                self.say(line)

    def _publish(self, job: _Job, provider: Provider) -> None:
        zone = job.zone
        changes, etag = self._changes(job, provider.fetch(zone))
        if not changes:
            return
        provider.apply(zone, changes, etag)
        if self._changes(job, provider.fetch(zone))[0]:
            raise DnsError(f"{zone}: published, but a second plan is not empty; look at it with `dns plan`")
        self.say(f"published {', '.join(sorted({c.key[0] for c in changes} & job.names))}")
        servers, proof = self.world.servers(zone), ZoneProof(zone, self.world.anchored(zone))
        wait_until_served(dict.fromkeys(servers, changes), DEADLINE, proof=proof)

    def _changes(self, job: _Job, held: Snapshot) -> tuple[tuple[Change, ...], str]:
        """The part of a zone's plan that is about some names, and the state of the zone it is for."""
        wanted = job.wanted
        if job.lasting:
            ttls = {each.key: each.ttl for each in held.rrsets}
            wanted = tuple(replace(r, ttl=max(r.ttl, ttls.get(r.key, 0))) for r in wanted)
        plan = plan_zone(held, wanted, job.site.fleet.dns.owner, allow=frozenset(job.allow))
        obstacles = [c.sentence for c in plan.conflicts if c.key[0] in job.names]
        obstacles += [r.sentence for r in plan.refusals if r.flag.partition("=")[2] in job.names]
        if obstacles:
            raise DnsError(f"{job.zone}: {'; '.join(obstacles)}")
        return tuple(c for c in plan.changes if c.unit in job.names), plan.etag


@dataclass(frozen=True)
class _Job:
    """What one zone must hold of some sets."""

    site: Site
    zone: str
    wanted: tuple[RRset, ...]
    keys: Collection[RrKey]
    allow: Collection[str]
    lasting: bool

    @property
    def names(self) -> set[str]:
        """Where it is looked, and nothing is left of ours that is not wanted."""
        return {name for name, _ in self.keys}

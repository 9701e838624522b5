"""Publish plans: stage by stage over all zones, and see that the world has it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from maildns.asking.authority import wait_until_served
from maildns.asking.proof import ZoneProof
from maildns.errors import MaildnsError
from maildns.planning.ownership import is_marker_name
from maildns.planning.planfile import Choices
from maildns.planning.stages import Stage, stages
from maildns.provider import Change, ConflictError, Provider
from mailwright.dnsplan import ALL, AT_ONCE, Plans, Say, as_dns_error, plan_site, without_removals
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.providers import Providers
from mailwright.world import World

__all__ = [
    "ALL",
    "DEADLINE",
    "ApplyError",
    "Failed",
    "Outcome",
    "Plans",
    "apply_plans",
    "as_dns_error",
    "plan_site",
    "without_removals",
]

DEADLINE = 60.0
"""Seconds that authoritative servers have to serve what was published."""


@dataclass(frozen=True)
class Failed:
    """A zone whose provider failed in a change: some of it may be done, which the sentence says."""

    zone: str
    sentence: str


@dataclass(frozen=True)
class Outcome:
    """What an apply has done."""

    published: tuple[str, ...] = ()
    """The zones that were changed; after a failure perhaps not in all that was planned."""
    servers: tuple[str, ...] = ()
    """Every server that was asked, and served what was changed by then."""
    failed: tuple[Failed, ...] = ()


class ApplyError(DnsError):
    """An apply that did not come to its end, with what it has done until then."""

    def __init__(self, sentence: str, outcome: Outcome) -> None:
        """Keep the outcome beside the line."""
        self.outcome = outcome
        super().__init__(sentence)


def apply_plans(site: Site, plans: Plans, deadline: float = DEADLINE, say: Say = lambda _: None) -> Outcome:
    """Publish, plan again, which may find only what is kept, and ask every authoritative server.

    What is only removed goes last, once every server serves what was added. When a zone fails, those
    under way are finished and no other is begun; the next plan is what is left.

    Raises:
        ApplyError: refused, moved meanwhile, not what the provider then holds, or not served in time.
    """
    if plans.blocked:
        raise ApplyError("the plan has conflicts, refusals or unread zones; nothing was done", Outcome())
    run = _Run(site, plans, deadline, say)
    try:
        for stage in stages({plan.zone: plan.changes for plan in plans.zones if plan.changes}):
            if stage.removes:
                run.await_served("published, but nothing removed: it is")
            run.publish(stage)
        run.require_nothing_left()
        run.await_served("published, but")
    except DnsError as error:
        raise ApplyError(str(error), run.outcome) from None
    return run.outcome


class _Run:
    """One apply: what was changed already, and what the world has yet to be asked for."""

    def __init__(self, site: Site, plans: Plans, deadline: float, say: Say) -> None:
        self._site = replace(site, includes=plans.includes)
        self._plans = plans
        self._deadline = deadline
        self._say = say
        self._opened = plans.opened or Providers(site)
        self._world = World(site.fleet)
        self._etags = {plan.zone: plan.etag for plan in plans.zones}
        self._unseen: dict[str, list[Change]] = {}
        self.moved: set[str] = set()
        """Zones that are not as they were when planned, because we changed them."""
        self.servers: set[str] = set()
        self._failed: tuple[Failed, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What was done so far."""
        return Outcome(tuple(sorted(self.moved)), tuple(sorted(self.servers)), self._failed)

    def publish(self, stage: Stage) -> None:
        """Change the zones of a stage, several at a time."""
        failed = _for_each(stage.changes, lambda zone: self._publish(zone, stage.changes[zone]))
        if failed:
            self._failed = tuple(Failed(zone, str(error)) for zone, error in failed.items())
            first, *others = self._failed
            for each in others:
                self._say(f"failed: {each.zone}: {each.sentence}")
            more = f" (and {len(others)} more zones failed)" if others else ""
            done = "1 zone was" if len(self.moved) == 1 else f"{len(self.moved)} zones were"
            rest = f"; {done} changed, the next plan is what is left"
            raise DnsError(f"{first.sentence}{more}{rest if self.moved else ''}")

    def _publish(self, zone: str, changes: Sequence[Change]) -> None:
        provider = self._opened[self._plans.providers[zone]]
        again = zone in self.moved
        provider.apply(zone, changes, _reread(provider, zone, changes) if again else self._etags[zone])
        self.moved.add(zone)
        # A marker was written with its record, and is no business of name servers where comments hold it.
        real = [c for c in changes if not is_marker_name(c.key[0], zone)]
        self._unseen.setdefault(zone, []).extend(real)
        self._say(f"published {zone}")

    def require_nothing_left(self) -> None:
        """Plan again; only what is kept for later may be found."""
        if not self.moved:
            return
        only = self._plans.only or tuple(sorted(self.moved))
        try:
            after = plan_site(self._site, Choices(only=only), opened=self._opened)
        except DnsError as error:
            raise DnsError(f"published, but there is no second plan: {error}") from None
        kept = self._plans.kept
        left = [
            p.zone for p in after.zones if p.blocked or {c.key for c in p.changes} - kept.get(p.zone, set())
        ]
        left += [unread.zone for unread in after.unread]
        if left:
            raise DnsError(
                f"published, but a second plan is not empty for {', '.join(left)}; look at it with `dns plan`"
            )

    def await_served(self, but: str) -> None:
        """Wait until every authoritative server serves what was changed since the last time."""
        waiting, self._unseen = self._unseen, {}
        missing: list[str] = []
        failed = _for_each(waiting, lambda zone: missing.extend(self._missing(zone, waiting[zone])))
        if failed:
            raise DnsError(f"{but} not seen everywhere: {next(iter(failed.values()))}")
        if missing:
            lines = "; ".join(sorted(missing))
            raise DnsError(f"{but} not served everywhere within {self._deadline:g} s: {lines}")

    def _missing(self, zone: str, changes: Iterable[Change]) -> list[str]:
        servers = self._world.servers(zone)
        proof = ZoneProof(zone, self._world.anchored(zone))
        missing = wait_until_served(dict.fromkeys(servers, changes), self._deadline, proof=proof)
        behind = {m.server for m in missing}
        serving = [str(server) for server in servers if server not in behind]
        self.servers.update(serving)
        self._say(f"{zone} is served by {', '.join(serving) or 'nobody'}")
        return [f"{m.key[0]} {m.key[1]}: {m.why}" for m in missing]


def _reread(provider: Provider, zone: str, changes: Iterable[Change]) -> str:
    """The state of a zone that we have changed; what is yet to change must be as it was planned from."""
    snapshot = provider.fetch(zone)
    held = {r.key: r for r in snapshot.rrsets}
    for change in changes:
        if held.get(change.key) != change.old:
            name, type_ = change.key
            raise ConflictError(f"{name} {type_} was changed by somebody else meanwhile; plan again")
    return snapshot.etag


def _for_each(
    zones: Collection[str] | Mapping[str, object], work: Callable[[str], None]
) -> dict[str, MaildnsError]:
    """Do it for every zone, several at a time; after a failure, begin no other. The zones that failed."""
    pool = ThreadPoolExecutor(AT_ONCE)
    futures = {pool.submit(work, zone): zone for zone in zones}
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    errors = {zone: future.exception() for future, zone in futures.items() if not future.cancelled()}
    for error in errors.values():
        if error is not None and not isinstance(error, MaildnsError):
            raise error
    return {zone: error for zone, error in errors.items() if isinstance(error, MaildnsError)}

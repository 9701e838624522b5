"""What `mailwright dkim status` knows of each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from maildns.judging.check import State as Verdict
from maildns.rotation import LIVE, Key, Ring, Sight, State, Timing
from mailwright.command.dkim_hosts import UNKNOWN, ask
from mailwright.dkim.outlook import Next, known_timing, outlook
from mailwright.dkim.world import RealEffects, longest_queue
from mailwright.model.domains import Domain
from mailwright.model.errors import MailwrightError
from mailwright.model.keyring import stamp
from mailwright.model.site import Site

_WATCHED = (*LIVE, State.REVOKED)


@dataclass(frozen=True)
class Report:
    """One key, as it should be and as it is."""

    domain: str
    key: Key
    next: Next
    sight: Sight | None
    """What the servers show; `None` where there is nothing to be seen yet or any more."""
    hosts: Mapping[str, str]
    """For a key that hosts are to sign with: each host with what is wrong, or with nothing."""
    warning: str = ""

    @property
    def verdict(self) -> Verdict:
        """Fault, unknown or ok."""
        wrong = [w for w in self.hosts.values() if w]
        if (self.sight and self.sight.lacking) or any(not w.startswith(UNKNOWN) for w in wrong):
            return Verdict.FAULT
        return Verdict.UNKNOWN if wrong or (self.sight and self.sight.silent) else Verdict.OK

    @property
    def line(self) -> str:
        """The key in one line."""
        key = self.key
        since = f"since {stamp(key.since)}" if key.since is not None else "since nobody knows when"
        named = f"{self.domain}  {key.algorithm}  {key.selector}  {key.state}"
        return f"{named} {since}{f'; {self.next}' if self.next.what else ''}"

    @property
    def details(self) -> Iterator[str]:
        """What servers and hosts say."""
        if self.sight:
            bad = (*self.sight.lacking, *self.sight.silent)
            yield f"servers: {'; '.join(bad) or 'all show it'}"
        if self.hosts:
            by_line: dict[str, list[str]] = {}
            for host, why in self.hosts.items():
                by_line.setdefault(why, []).append(host)
            bad = tuple(f"{', '.join(hosts)}: {why}" for why, hosts in by_line.items() if why)
            yield f"hosts: {'; '.join(bad) or 'all sign with it'}"
        if self.warning:
            yield f"warning: {self.warning}"

    def data(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "domain": self.domain,
            "algorithm": self.key.algorithm,
            "selector": self.key.selector,
            "state": self.key.state,
            "since": _stamp(self.key.since),
            "seen": _stamp(self.key.seen),
            "standby": self.key.standby,
            "next": self.next.what,
            "at": _stamp(self.next.at),
            "servers": {"lacking": self.sight.lacking, "silent": self.sight.silent} if self.sight else None,
            "hosts": dict(self.hosts),
            "warning": self.warning or None,
            "verdict": self.verdict,
        }


def report(site: Site, effects: RealEffects, now: int, *, hosts: bool) -> list[Report]:
    """Look at every key that is not gone."""
    found = ask(site) if hosts else {}
    timing = known_timing(site.fleet, longest_queue(site))
    reports = []
    for domain in site.fleet.domains:
        ring = _with_first_keys(site, domain)
        for key in ring.keys:
            if key.state is not State.DELETED or key.seen is None:
                name = f"{domain.name.bare}/{key.selector}"
                signs = found if key == ring.signer(key.algorithm) else {}
                lines = {host: each.line(name) for host, each in signs.items()}
                sight = _sight(effects, domain, key)
                warning = _warning(domain, key, timing, now)
                step = outlook(ring, key, timing)
                reports.append(Report(domain.name.bare, key, step, sight, lines, warning))
    return reports


def _sight(effects: RealEffects, domain: Domain, key: Key) -> Sight | None:
    if key.state not in _WATCHED:
        return None
    try:
        return effects.look(effects.site.keyring, domain, key)
    except MailwrightError as error:
        return Sight(0, silent=(str(error),))


def _warning(domain: Domain, key: Key, timing: Timing, now: int) -> str:
    if key.state is not State.SIGNING:
        return ""
    if key.algorithm not in {k.algorithm for k in domain.dkim}:
        return "not in the fleet file any more: `mailwright dkim retire` it once `apply` has run everywhere"
    if key.since is None:
        return "its age is not known; `mailwright dkim rotate --due` begins to count"
    days = (now - key.since) // 86_400
    return f"it has signed for {days} days" if now - key.since > timing.max_age else ""


def _with_first_keys(site: Site, domain: Domain) -> Ring:
    ring = site.keyring.ring(domain.name)
    first = (
        Key(k.selector, k.algorithm, State.SIGNING, None) for k in domain.dkim if not ring.signer(k.algorithm)
    )
    return Ring((*first, *ring.keys))


def _stamp(seconds: int | None) -> str | None:
    return None if seconds is None else stamp(seconds)

"""The hosts' part in a rotation: have them sign with other keys, and see for oneself that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mailwright.command.hosts import converge
from mailwright.dkim.effects import SIGNS
from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Machine
from mailwright.model.site import Site
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence
from mailwright.verify.gather import Gathering, evidence
from mailwright.verify.ssh import runner
from mailwright.zones import SENDS

UNKNOWN = "no answer: "
"""How the line of a host begins that cannot be asked."""


@dataclass(frozen=True)
class Hosts:
    """All machines that sign."""

    repository: Path
    shim: Path
    say: Callable[[str], None]

    def deploy(self, site: Site) -> Mapping[str, str]:
        """Have every host sign as the site says, and ask each whether it does.

        Nothing but the signing role is deployed: what else is due on a host waits for `apply`. Returns each
        host with what is wrong, or with nothing once it is proved. The fleet is read from its files anew,
        so what the site says must have been written down.
        """
        names = [machine.name for machine in site.fleet.with_role(SIGNS)]
        if not names:
            return {}
        problems = converge(self.repository, self.shim, names, (SIGNS,), self.say)
        return {name: problems.get(name) or fault for name, fault in faults(site).items()}

    def signing(self, site: Site) -> Mapping[str, str]:
        """Ask each host whether it signs as the site says."""
        return faults(site)

    def stopped(self, site: Site) -> Mapping[str, str]:
        """Ask each host whether its signers, and what hands mail to them, are as the site says."""
        return faults(site, (SIGNS, SENDS))


def faults(site: Site, roles: Iterable[str] = (SIGNS,), key: str = "") -> dict[str, str]:
    """As `Found.line` of every signing host, asked anew."""
    return {host: found.line(key) for host, found in ask(site, roles).items()}


@dataclass(frozen=True)
class Found:
    """What is not as it should be on a host."""

    wrong: tuple[tuple[str, str], ...] = ()
    """What was looked at, and what was found."""
    silence: str = ""
    """Why it cannot be asked."""

    def line(self, key: str = "") -> str:
        """In one line; empty where nothing is wrong. `key` (`DOMAIN/SELECTOR`): leave out other keys' lines.

        That a host does not answer is a line like any other; it begins with `UNKNOWN`.
        """
        if self.silence:
            return f"{UNKNOWN}{self.silence}"
        wrong = [
            found for name, found in self.wrong if not key or _PUBLISHED not in name or name.endswith(key)
        ]
        return wrong[0] + (f", and {len(wrong) - 1} more" if wrong[1:] else "") if wrong else ""


_PUBLISHED = "signs with the published key"
"""How the role's check is called that is about one key."""


def ask(site: Site, roles: Iterable[str] = (SIGNS,)) -> dict[str, Found]:
    """Ask every signing host what is not as some of its roles say."""
    machines = site.fleet.with_role(SIGNS)
    chosen = frozenset(roles)
    jobs: dict[str, Callable[[], Evidence]] = {
        machine.name: partial(_evidence, site, machine, chosen) for machine in machines
    }
    gathering = Gathering(jobs)
    try:
        return {machine.name: _judged(site, machine, chosen, gathering) for machine in machines}
    finally:
        gathering.close()


def _evidence(site: Site, machine: Machine, roles: frozenset[str]) -> Evidence:
    plan = site.plan(machine)
    mine = [e for e in expectations(plan) if e.role in roles]
    return evidence(runner(machine), plan.merged, mine)


def _judged(site: Site, machine: Machine, roles: frozenset[str], gathering: Gathering) -> Found:
    try:
        seen = gathering.of(machine.name)
        found = [(e, e.judge(seen)) for e in expectations(site.plan(machine)) if e.role in roles]
    except UnknownError as error:
        return Found(silence=str(error))
    return Found(tuple((e.name, f"{_place(e.name)}{fault.found}") for e, fault in found if fault))


def _place(name: str) -> str:
    """A check's finding is a sentence; what is found of a file or a unit needs its name."""
    return "" if name.startswith("check-") else f"{name}: "

"""`mailwright upgrade`: what is done to a machine in its turn, and who is asked about before."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

import typer

from mailwright.command.console import note, problem, say
from mailwright.command.converging import converge
from mailwright.command.hosts import MachinePlan, Run, read_plan
from mailwright.command.inventory import repository
from mailwright.command.plan import shim_of
from mailwright.command.turns import Turns, require_as_shown
from mailwright.model.errors import ConvergeError
from mailwright.model.fleet import Fleet
from mailwright.model.site import Site
from mailwright.rolling.order import alone_in
from mailwright.rolling.terms import Terms
from mailwright.upgrading.hand import Hand
from mailwright.upgrading.pending import Pending
from mailwright.verify.ssh import runner


class Reboot(StrEnum):
    """Whether machines are rebooted that owe it."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True)
class How:
    """What the operator's options say."""

    security: bool = False
    reboot: Reboot = Reboot.AUTO
    removable: tuple[str, ...] = ()
    """Packages that may be removed."""
    release: int | None = None
    """The release of Debian to go to; `None`: the machines stay with theirs."""

    @property
    def command(self) -> str:
        """What goes on with a run that was stopped."""
        words = ["upgrade", *(["--security"] if self.security else [])]
        words += ["--reboot never"] if self.reboot is Reboot.NEVER else []
        words += [f"--remove {name}" for name in self.removable]
        words += [f"--release {self.release}"] if self.release else []
        return " ".join(words)

    def due(self, pending: Pending) -> bool:
        """Whether there is something to do on a machine."""
        owes = bool(pending.owed.reboot or pending.owed.restarts) and self.reboot is Reboot.AUTO
        return bool(pending.updates) or pending.interrupted or owes


@dataclass
class Upgrade:
    """An upgrade of some machines that has been planned."""

    site: Site
    inventory: Path
    how: How
    shown: Mapping[str, Pending]
    """What the operator was shown, by machine."""
    deploys: Mapping[str, MachinePlan]
    """What a deploy would change on them, likewise."""
    turns: Turns
    done: dict[str, str] = field(default_factory=dict)
    """What was done on each machine that had its turn."""

    @classmethod
    def of(
        cls,
        site: Site,
        inventory: Path,
        how: How,
        plans: tuple[Sequence[Pending], Sequence[MachinePlan]],
        *,
        terms: Terms,
        size: int,
        yes: bool,
    ) -> Self:
        """Ask about machines that nobody stands in for, and say in which order it will go.

        `plans`: what is pending on each machine, and what a deploy would change there.
        """
        deploys = {plan.name: plan for plan in plans[1]}
        due = [p.name for p in plans[0] if how.due(p) or (p.name in deploys and deploys[p.name].changes)]
        left_out = agreed_alone(site.fleet, due, yes=yes)
        shown = {plan.name: plan for plan in plans[0] if plan.name not in left_out}
        turns = Turns.of(
            site,
            inventory,
            shown,
            terms,
            again=how.command,
            due=[name for name in due if name not in left_out],
            size=size,
            single=alone_ones(site.fleet, shown),
        )
        return cls(site, inventory, how, shown, deploys, turns)

    def run(self) -> int:
        """Let it happen and tell of it; the exit status."""
        report = self.turns.run(self._change)
        names = [name for name in self.shown if name not in report.left]
        width = max(map(len, names), default=0)
        for name in names:
            failed = name in report.failed
            done = self.done.get(name, "" if failed else "nothing to do")
            say(f"{name:{width}}  {'failed' if failed else 'ok':6}  {done}".rstrip())
        for name, why in report.failed.items():
            problem(f"{name}: {why}")
        self.turns.tell_rest()
        return 1 if report.failed else 0

    def _change(self, names: Sequence[str], leave: Callable[[], None]) -> Mapping[str, str]:
        """Upgrade machines, deploy to them, and reboot those that owe it; what went wrong, by name.

        The deploy comes before the reboot: a daemon of a newer release must not start with a configuration
        of before, and what the suite then proves is what comes up by itself.
        """
        now = {pending.name: pending for pending in asked(self.site, names, self.how)}
        for name in names:
            _require_as_shown(self.shown[name], now[name])
        plans = self._plans(names)
        if not any(map(self.how.due, now.values())) and not any(plan.changes for plan in plans):
            return {}
        note(f"{', '.join(names)}: leaving the traffic")
        leave()
        failed = side_by_side(names, lambda name: self._upgrade(now[name]))
        well = [name for name in names if name not in failed]
        if well:
            failed |= self._deploy(well)
        well = [name for name in well if name not in failed]
        return failed | side_by_side(well, self._settle)

    def _upgrade(self, pending: Pending) -> None:
        if not (pending.updates or pending.interrupted or pending.owed.restarts):
            return
        began, name = time.monotonic(), pending.name
        packages = f"{len(pending.updates)} package{'s' * (len(pending.updates) != 1)}"
        note(f"{name}: upgrading {packages}")
        hand = hand_of(self.site, name)
        if self.how.release:
            needs = self.site.plan(self.site.fleet.machine(name)).merged
            hand.change_release(self.how.release, needs)
        else:
            hand.upgrade(pending, self.how.removable, security=self.how.security)
        self.done[name] = f"{packages} upgraded ({time.monotonic() - began:.0f} s)"

    def _plans(self, names: Sequence[str]) -> list[MachinePlan]:
        if self.how.release:  # a deploy is for one release
            return []
        plans = deploy_plans(self.inventory, names)
        require_as_shown(self.deploys, plans)
        return plans

    def _deploy(self, names: Sequence[str]) -> dict[str, str]:
        """Give back what a package has taken: an upgrade may change files and units that are ours."""
        with Run(repository(self.inventory), shim_of(self.inventory), names) as run:
            plans = read_plan(run.events(), names)
            if failed := {plan.name: plan.problem for plan in plans if plan.problem}:
                return failed
            if not any(plan.changes for plan in plans):
                return {}
            note(f"{', '.join(names)}: deploying")
            results = converge(run, plans)
        return {name: result.problem for name, result in results.items() if result.problem}

    def _settle(self, name: str) -> None:
        """See that nothing is left, and reboot the machine if it owes that."""
        hand = hand_of(self.site, name)
        left = hand.look(self.how.removable).only(security=self.how.security)
        if left.problem or left.updates:
            still = ", ".join(update.name for update in left.updates)
            raise ConvergeError(left.problem or f"still to be upgraded after the upgrade: {still}")
        why = [*left.owed.reboot, *(f"{unit} runs on libraries of before" for unit in left.owed.restarts)]
        if not why and not self.how.release:
            return
        if self.how.reboot is Reboot.NEVER:
            problem(f"{name}: a reboot is owed ({', '.join(why)})")
            return
        began = time.monotonic()
        note(f"{name}: rebooting ({', '.join(why) or f'into Debian {self.how.release}'})")
        hand.reboot()
        if self.how.release:
            hand.have_changed()
        self.done[name] = (
            f"{self.done.get(name, 'no package upgraded')}, rebooted ({time.monotonic() - began:.0f} s)"
        )


def hand_of(site: Site, name: str) -> Hand:
    """The hand on a machine."""
    return Hand(name, runner(site.fleet.machine(name)), note)


def asked(site: Site, names: Sequence[str], how: How, *, refresh: bool = False) -> list[Pending]:
    """What is due on machines, all asked at the same time."""

    def ask(name: str) -> Pending:
        hand = hand_of(site, name)
        if how.release:
            return hand.look_ahead(how.release, site.plan(site.fleet.machine(name)).merged)
        return hand.look(how.removable, refresh=refresh).only(security=how.security)

    with ThreadPoolExecutor(max(1, len(names)), "upgrade") as pool:
        return list(pool.map(ask, names))


def deploy_plans(inventory: Path, names: Sequence[str]) -> list[MachinePlan]:
    """What a deploy would change on machines."""
    with Run(repository(inventory), shim_of(inventory), names, dry=True) as run:
        return read_plan(run.events(), names)


def side_by_side(names: Sequence[str], work: Callable[[str], None]) -> dict[str, str]:
    """Do the same on machines at the same time; what went wrong, by name."""

    def attempt(name: str) -> str:
        try:
            work(name)
        except ConvergeError as error:
            return str(error)
        return ""

    if len(names) == 1:  # here, where an interrupt reaches it
        said = [attempt(names[0])]
    else:
        with ThreadPoolExecutor(max(1, len(names)), "upgrade") as pool:
            said = list(pool.map(attempt, names))
    return {name: why for name, why in zip(names, said, strict=True) if why}


def alone_ones(fleet: Fleet, names: Collection[str]) -> dict[str, str]:
    """The machines whose work nobody does while they are upgraded, with the sentence that says so."""
    found = {}
    for name in names:
        if pools := ", ".join(pool.name for pool in alone_in(fleet, name)):
            found[name] = f"{name} serves {pools} alone"
        elif not fleet.balancers_of(name) and not fleet.balanced_by(name):
            found[name] = f"no balancer stands before {name}"
    return found


def agreed_alone(fleet: Fleet, names: Sequence[str], *, yes: bool) -> list[str]:
    """Ask about machines whose work nobody does meanwhile; the names of those that are to be left out."""
    left_out = []
    for name, why in alone_ones(fleet, names).items():
        means = "its services stop while packages are exchanged, and for a reboot; clients must try again"
        if not yes and not typer.confirm(f"{why}: {means}. Upgrade it, too?", err=True):
            left_out.append(name)
    return left_out


def _require_as_shown(shown: Pending, now: Pending) -> None:
    if now.problem:
        raise ConvergeError(now.problem)
    if other := [update.pinned for update in now.updates if update not in shown.updates]:
        raise ConvergeError(f"other updates are due than were shown ({', '.join(other)}); run this again")

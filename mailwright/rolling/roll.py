"""Change machines batch by batch while the fleet serves: the way for everything that restarts something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailwright.model.errors import DrainError, MailwrightError
from mailwright.rolling.order import Batch, alone_in
from mailwright.rolling.terms import ROLLING, Say, Terms
from mailwright.rolling.traffic import Traffic


class Change(Protocol):
    """What is done to the machines of a batch."""

    def __call__(self, names: Sequence[str], leave: Callable[[], None], /) -> Mapping[str, str]:
        """Change machines; returns what went wrong, by name, in one line each.

        Calls `leave`, which takes them out of the traffic, when it knows that something is due and before
        it does it. Raises a `MailwrightError` when nothing can be done at all.
        """


PATIENCE = 30.0
"""Seconds that a changed machine has to be found well."""

Prove = Callable[[Sequence[str]], Mapping[str, str]]
"""Looks at machines; returns what is not as it should be, or cannot be found out, by name."""


@dataclass
class Report:
    """How far a run has come; it is filled while the run goes on, for whoever interrupts it."""

    left: list[str] = field(default_factory=list)
    """Machines whose turn has not come."""
    done: list[str] = field(default_factory=list)
    """Machines that were changed, proved and taken back."""
    failed: dict[str, str] = field(default_factory=dict)
    """Machines that were not, with the reason. Out of the traffic, unless that says otherwise."""
    kept_out: dict[str, str] = field(default_factory=dict)
    """Machines of `done` that somebody had drained before, and that stay so, with the reason."""


@dataclass(frozen=True)
class Rolling:
    """One run over a fleet. Everything that it must remember is kept by the balancers.

    A killed run leaves machines drained with the reason `ROLLING`. The next one is given them too (see
    `Traffic.out`), and takes them back once they are proved.
    """

    traffic: Traffic
    change: Change
    prove: Prove
    terms: Terms = field(default_factory=lambda: Terms(ROLLING))
    say: Say = lambda _: None

    def run(self, batches: Sequence[Batch], report: Report) -> None:
        """Go from batch to batch, until one of its machines is not well: the fleet serves without it."""
        report.left = [name for batch in batches for name in batch]
        for batch in batches:
            report.left = [name for name in report.left if name not in batch]
            try:
                failed = self._batch(batch, report)
            except MailwrightError as error:
                failed = {name: str(error) for name in batch if name not in report.done}
            if failed:
                report.failed = failed
                return

    def _batch(self, batch: Batch, report: Report) -> dict[str, str]:
        alone = [name for name in batch if alone_in(self.traffic.fleet, name)]
        for name in alone:
            pools = ", ".join(pool.name for pool in alone_in(self.traffic.fleet, name))
            self.say(f"{name}: serves {pools} alone and is changed without being drained")

        def leave() -> None:
            self.traffic.leave([name for name in batch if name not in alone], self.terms)

        failed = {name: why for name, why in self.change(batch, leave).items() if why}
        failed |= self._red([name for name in batch if name not in failed])
        for name in batch:
            if name in failed:
                continue
            try:
                self.traffic.join(name, only=ROLLING)
            except DrainError as error:
                failed[name] = str(error)
                continue
            report.done.append(name)
            if reason := self.traffic.out().get(name):
                report.kept_out[name] = reason
                self.say(f"{name}: was drained before ({reason}) and stays so")
        return failed

    def _red(self, names: Sequence[str]) -> dict[str, str]:
        """What is not well, asked again for a while: a daemon that was restarted may still be on its way."""
        began = self.traffic.clock()
        while names:
            red = {name: why for name, why in self.prove(names).items() if why}
            if not red or self.traffic.clock() - began >= PATIENCE:
                return red
            self.traffic.pause(1)
        return {}

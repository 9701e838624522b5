"""What commands that change machine after machine have in common: the order, the proof and the last words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mailwright.command.console import note, problem, say
from mailwright.command.hosts import MachinePlan
from mailwright.command.leaving import traffic_of
from mailwright.model.errors import ConvergeError, MailwrightError
from mailwright.model.site import Site
from mailwright.rolling.order import Batch, batches
from mailwright.rolling.roll import Change, Report, Rolling
from mailwright.rolling.terms import ROLLING, Terms
from mailwright.rolling.traffic import Traffic
from mailwright.verify.report import WORDS, CheckReport, brief, counts, worst

_NAMED = 3
"""So many checks that fail are named in one line."""


@dataclass
class Turns:
    """A run over a fleet that has been planned: who has a turn, and when."""

    inventory: Path
    again: str
    """What goes on with it when it was stopped: `apply --rolling`."""
    traffic: Traffic
    terms: Terms
    turns: tuple[Batch, ...]
    """The machines with work to do, and those that an earlier run has left drained."""
    report: Report = field(default_factory=Report)

    @classmethod
    def of(
        cls,
        site: Site,
        inventory: Path,
        names: Collection[str],
        terms: Terms,
        *,
        again: str,
        due: Collection[str],
        size: int = 1,
        single: Collection[str] = (),
    ) -> Self:
        """Ask the balancers who is where, and say in which order it will go.

        `names` are the machines that the command is about, `due` those of them with work to do, and `again`
        is the command that goes on with it. `size` and `single` are those of `batches`.
        """
        traffic = traffic_of(site.fleet)
        answers = traffic.everybody()
        out = traffic.out(answers)
        left = [name for name in names if out.get(name) == ROLLING]
        holding = {name: len(state.holds) for name, state in answers.states.items()}
        turns = batches(site.fleet, {*due, *left}, size, holding=holding, out=out, single=single)
        for name in left:
            say(f"{name}  was left drained by a run that was stopped: it is gone on with", "bold")
        for name in out:
            if out[name] == ROLLING and name not in names:
                problem(
                    f"{name}  was left drained by a run that was stopped, and stays so: --limit leaves it out"
                )
        if turns:
            say(f"in this order: {', then '.join(' and '.join(turn) for turn in turns)}")
        return cls(inventory, again, traffic, terms, turns)

    def run(self, change: Change) -> Report:
        """Let it happen. Whoever interrupts it is told what is drained."""
        rolling = Rolling(self.traffic, change, self.prove, self.terms, note)
        try:
            rolling.run(self.turns, self.report)
        except KeyboardInterrupt:
            self.tell_rest()
            raise
        return self.report

    def tell_rest(self) -> None:
        """Say what was not begun, what is out of the traffic now, and how to go on."""
        if not self.report.failed and not self.report.left:
            return
        if self.report.left:
            problem(f"not begun: {', '.join(self.report.left)}")
        answers = self.traffic.everybody()
        out = [name for name, why in self.traffic.out(answers).items() if why == ROLLING]
        if answers.silent:
            problem(f"no answer: {answers.silence}")
        if out:
            problem(f"drained: {', '.join(out)}; the others serve")
            for name in out:
                note(f"to look at it: mailwright verify {self.inventory} --limit {name}")
                note(f"to take it back as it is: mailwright undrain {self.inventory} {name}")
        note(f"to go on, once it is mended: mailwright {self.again} {self.inventory}")

    def prove(self, names: Sequence[str]) -> Mapping[str, str]:
        """Run the suites of machines; what is wrong with each in one line, empty when nothing is."""
        from mailwright.command.suites import verified  # noqa: PLC0415 - pytest; most runs take no turns

        try:
            report = verified(self.inventory, names).report
        except MailwrightError as error:
            return dict.fromkeys(names, str(error))
        own = {machine.name: machine.checks for machine in report.machines}
        # What is said of no single machine is said of each of them.
        shared = _fault(report.together)
        found = {
            name: (_fault(own[name]) or shared) if name in own else "its suite did not run" for name in names
        }
        for name in names:
            if not found[name]:
                note(f"{name}: {counts(own[name]).get('pass', 0)} checks passed")
        return found


def require_planned(problems: Mapping[str, str]) -> None:
    """Refuse to begin where a machine would be found red in the middle of the run.

    `problems`: every machine that the command is about, with what keeps it from being planned, or nothing.

    Raises:
        ConvergeError: there is such a machine.
    """
    lost = [name for name, why in problems.items() if why]
    if lost:
        rest = " ".join(f"--limit {name}" for name, why in problems.items() if not why)
        raise ConvergeError(
            f"{', '.join(lost)} cannot be planned, so that nothing was begun"
            + (f"; to leave that out: {rest}" if rest else "")
        )


def require_as_shown(shown: Mapping[str, MachinePlan], plans: Sequence[MachinePlan]) -> None:
    """What the operator has agreed to is deployed, and nothing else.

    Raises:
        ConvergeError: something else is due on a machine, or it cannot be planned any more.
    """
    for plan in plans:
        if plan.problem:
            raise ConvergeError(plan.problem)
        other = [name for name, text in plan.changes if (name, text) not in shown[plan.name].changes]
        if other:
            raise ConvergeError(f"other changes are due than were shown ({', '.join(other)}); run this again")


def _fault(checks: Sequence[CheckReport]) -> str:
    """What is wrong with a machine by its suite, in one line; empty when all of it passed."""
    wrong = [brief(check) for check in checks if check.outcome in ("fail", "unknown")]
    if not wrong:
        return ""
    more = f", and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    return f"the suite is {WORDS[worst(checks)]}: {'; '.join(wrong[:_NAMED])}{more}"

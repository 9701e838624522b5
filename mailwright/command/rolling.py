"""`mailwright apply --rolling`: the deploy and the suite of a machine, for a rolling run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Self

from rich.console import Console

from mailwright.command.console import note, problem, say
from mailwright.command.converging import converge
from mailwright.command.hosts import MachinePlan, MachineResult, Run, read_plan
from mailwright.command.inventory import repository
from mailwright.command.leaving import traffic_of
from mailwright.command.plan import shim_of
from mailwright.command.verify import run_suites
from mailwright.model.errors import ConvergeError, MailwrightError
from mailwright.model.site import Site
from mailwright.rolling.order import Batch, batches
from mailwright.rolling.roll import Report, Rolling
from mailwright.rolling.terms import ROLLING, Terms
from mailwright.rolling.traffic import Traffic
from mailwright.verify.reporter import Reporter, Tally

_NAMED = 3
"""So many checks that fail are named in one line."""


@dataclass
class Deploy:
    """A rolling deploy that has been planned."""

    inventory: Path
    traffic: Traffic
    terms: Terms
    turns: tuple[Batch, ...]
    """The machines with changes, and those that an earlier run has left drained."""
    shown: dict[str, MachinePlan]
    """What the operator was shown, by machine."""
    results: dict[str, MachineResult] = field(default_factory=dict)
    report: Report = field(default_factory=Report)

    @classmethod
    def of(cls, site: Site, inventory: Path, plans: Sequence[MachinePlan], size: int, terms: Terms) -> Self:
        """Ask the balancers who is where, and say in which order it will go.

        Raises:
            ConvergeError: a machine could not be planned: it would be found red in the middle of the run.
        """
        lost = [plan.name for plan in plans if plan.problem]
        if lost:
            rest = " ".join(f"--limit {plan.name}" for plan in plans if not plan.problem)
            raise ConvergeError(
                f"{', '.join(lost)} cannot be planned, so that nothing was begun"
                + (f"; to leave that out: {rest}" if rest else "")
            )
        traffic = traffic_of(site.fleet)
        answers = traffic.everybody()
        out = traffic.out(answers)
        shown = {plan.name: plan for plan in plans}
        left = [name for name in shown if out.get(name) == ROLLING]
        due = [plan.name for plan in plans if plan.changes or plan.name in left]
        holding = {name: len(state.holds) for name, state in answers.states.items()}
        turns = batches(site.fleet, due, size, holding=holding, out=out)
        for name in left:
            say(f"{name}  was left drained by a run that was stopped: it is gone on with", "bold")
        for name in out:
            if out[name] == ROLLING and name not in shown:
                problem(
                    f"{name}  was left drained by a run that was stopped, and stays so: --limit leaves it out"
                )
        if turns:
            say(f"in this order: {', then '.join(' and '.join(turn) for turn in turns)}")
        return cls(inventory, traffic, terms, turns, shown)

    def run(self) -> dict[str, MachineResult]:
        """Let it happen; what was done on each machine, or why it was not.

        Whoever interrupts it is told what is drained.
        """
        self.results = {
            name: MachineResult(name, unchanged=plan.unchanged) for name, plan in self.shown.items()
        }
        rolling = Rolling(self.traffic, self._change, self._prove, self.terms, note)
        try:
            rolling.run(self.turns, self.report)
        except KeyboardInterrupt:
            self.tell_rest()
            raise
        for name, why in self.report.failed.items():
            self.results[name].problem = why
        for name in self.report.left:
            del self.results[name]
        return self.results

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
        note(f"to go on, once it is mended: mailwright apply --rolling {self.inventory}")

    def _change(self, names: Sequence[str], leave: Callable[[], None]) -> Mapping[str, str]:
        with Run(repository(self.inventory), shim_of(self.inventory), names) as run:
            plans = read_plan(run.events(), names)
            self._require_as_shown(plans)
            if not any(plan.changes for plan in plans):
                return {}
            note(f"{', '.join(names)}: leaving the traffic")
            leave()
            note(f"{', '.join(names)}: deploying")
            results = converge(run, plans)
        self.results |= results
        return {name: result.problem for name, result in results.items()}

    def _require_as_shown(self, plans: Sequence[MachinePlan]) -> None:
        """What the operator has agreed to is done, and nothing else."""
        for plan in plans:
            if plan.problem:
                raise ConvergeError(plan.problem)
            other = [name for name, text in plan.changes if (name, text) not in self.shown[plan.name].changes]
            if other:
                raise ConvergeError(
                    f"other changes are due than were shown ({', '.join(other)}); run this again"
                )

    def _prove(self, names: Sequence[str]) -> Mapping[str, str]:
        reporter = Reporter(Console(file=StringIO()))
        try:
            run_suites(self.inventory, names, reporter)
        except MailwrightError as error:
            return dict.fromkeys(names, str(error))
        # What is said of no single machine is said of each of them.
        common = [tally for about, tally in reporter.machines.items() if about not in names]
        shared = next(filter(None, map(_fault, common)), "")
        found = {name: _fault(reporter.machines.get(name)) or shared for name in names}
        for name in names:
            if not found[name]:
                note(f"{name}: {reporter.machines[name].counts['ok']} checks passed")
        return found


def _fault(tally: Tally | None) -> str:
    """What is wrong with a machine by its suite, in one line; empty when all of it passed."""
    if tally is None:
        return "its suite did not run"
    if tally.verdict == "ok":
        return ""
    heads = [_brief(report) for report in tally.reports]
    more = f", and {len(heads) - _NAMED} more" if len(heads) > _NAMED else ""
    return f"the suite is {tally.verdict}: {'; '.join(heads[:_NAMED])}{more}"


def _brief(report: str) -> str:
    """Which check it was and what it found, of a report in several lines."""
    head, *lines = report.splitlines()
    found = next((line.partition("found:")[2].strip() for line in lines if "found:" in line), "")
    return f"{head}: {found}" if found else head

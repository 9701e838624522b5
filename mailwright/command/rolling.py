"""`mailwright apply --rolling`: the deploy of a machine in its turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mailwright.command.console import note
from mailwright.command.converging import converge
from mailwright.command.hosts import MachinePlan, MachineResult, Run, read_plan
from mailwright.command.inventory import repository
from mailwright.command.plan import shim_of
from mailwright.command.turns import Turns, require_as_shown, require_planned
from mailwright.model.site import Site
from mailwright.rolling.terms import Terms


@dataclass
class Deploy:
    """A rolling deploy that has been planned."""

    inventory: Path
    turns: Turns
    shown: dict[str, MachinePlan]
    """What the operator was shown, by machine."""
    results: dict[str, MachineResult] = field(default_factory=dict)

    @classmethod
    def of(cls, site: Site, inventory: Path, plans: Sequence[MachinePlan], size: int, terms: Terms) -> Self:
        """Say in which order it will go.

        Raises:
            ConvergeError: a machine could not be planned.
        """
        require_planned({plan.name: plan.problem for plan in plans})
        shown = {plan.name: plan for plan in plans}
        due = [plan.name for plan in plans if plan.changes]
        turns = Turns.of(site, inventory, shown, terms, again="apply --rolling", due=due, size=size)
        return cls(inventory, turns, shown)

    def run(self) -> dict[str, MachineResult]:
        """Let it happen; what was done on each machine, or why it was not."""
        self.results = {
            name: MachineResult(name, unchanged=plan.unchanged) for name, plan in self.shown.items()
        }
        report = self.turns.run(self._change)
        for name, why in report.failed.items():
            self.results[name].problem = why
        for name in report.left:
            del self.results[name]
        return self.results

    def _change(self, names: Sequence[str], leave: Callable[[], None]) -> Mapping[str, str]:
        with Run(repository(self.inventory), shim_of(self.inventory), names) as run:
            plans = read_plan(run.events(), names)
            require_as_shown(self.shown, plans)
            if not any(plan.changes for plan in plans):
                return {}
            note(f"{', '.join(names)}: leaving the traffic")
            leave()
            note(f"{', '.join(names)}: deploying")
            results = converge(run, plans)
        self.results |= results
        return {name: result.problem for name, result in results.items()}

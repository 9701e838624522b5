"""What `make mutate` prints: a line a sabotage, what nobody sabotages, a table a role, and the score."""

from collections import defaultdict

from rich.console import Console
from rich.table import Table

_STYLES = {"killed": "green", "survived": "bold red", "collateral": "bold red", "broken": "bold red"}
_NOT_OF_A_ROLE = "every machine"


class Report:
    """Takes verdicts in as they are known; `passed`: every sabotage was killed, and none is missing."""

    def __init__(self, console=None):
        self.console = console or Console(highlight=False, soft_wrap=True, markup=False)
        self.verdicts = []
        self.missing = []
        self.stopped = []

    def verdict(self, verdict):
        self.verdicts.append(verdict)
        told = f": {verdict.told}" if verdict.told else ""
        line = f"{verdict.outcome:10} {verdict.sabotage.title} ({verdict.seconds:.1f} s){told}"
        self.console.print(line, style=_STYLES[verdict.outcome] if not verdict.good else None)

    def equivalent(self, machine, name, how):
        self.console.print(f"equivalent {machine}: {name}: {how.what}: {how.reason}", style="dim")

    def without(self, machine, names):
        self.missing += [f"{machine}: {name}" for name in names]

    def stop(self, reason):
        """A machine on which the rest could not be judged."""
        self.stopped.append(str(reason))
        self.console.print(f"stopped    {reason}", style="bold red")

    @property
    def score(self):
        """Per cent of the sabotages that turned exactly what they should red."""
        return 100 * sum(verdict.good for verdict in self.verdicts) / max(1, len(self.verdicts))

    @property
    def passed(self):
        return bool(self.verdicts) and self.score == 100 and not self.missing and not self.stopped

    def end(self, minutes):
        """The tables; whether all is well."""
        self.console.print()
        self.console.print(self._table())
        for line in self.missing:
            self.console.print(f"no sabotage for {line}", style="bold red")
        good = sum(verdict.good for verdict in self.verdicts)
        checks = len({(v.sabotage.machine, v.sabotage.target) for v in self.verdicts})
        self.console.print(
            f"\nscore {self.score:.1f} %: {good} of {len(self.verdicts)} sabotages turned exactly their check"
            f" red, and were undone; {checks} checks, {minutes:.0f} min",
            style="green" if self.passed else "bold red",
        )
        return self.passed

    def _table(self):
        table = Table("role", "checks", "sabotages", "killed", "survived", "collateral", "broken")
        by_role = defaultdict(list)
        for verdict in self.verdicts:
            by_role[verdict.sabotage.role or _NOT_OF_A_ROLE].append(verdict)
        for role, verdicts in by_role.items():
            outcomes = [verdict.outcome for verdict in verdicts]
            checks = {(v.sabotage.machine, v.sabotage.target) for v in verdicts}
            counts = (outcomes.count(word) for word in _STYLES)
            table.add_row(role, *map(str, (len(checks), len(outcomes), *counts)))
        return table

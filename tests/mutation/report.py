"""What `make mutate` prints: a line a sabotage, what nobody sabotages, a table a role, and the score."""

from collections import defaultdict

from rich.console import Console
from rich.table import Table

_STYLES = {"killed": "green", "survived": "bold red", "collateral": "bold red", "broken": "bold red"}
_NOT_OF_A_ROLE = "every machine"


class Report:
    """Takes verdicts in as they are known; `passed`: all that was chosen was killed, and nothing misses."""

    def __init__(self, console=None):
        self.console = console or Console(highlight=False, soft_wrap=True, markup=False)
        self.chosen = []
        self.verdicts = []
        self.equivalents = []
        self.missing = []
        self.unhealed = []

    def choose(self, sabotages):
        """What is going to be run."""
        self.chosen += sabotages

    def verdict(self, verdict):
        self.verdicts.append(verdict)
        told = f": {verdict.told}" if verdict.told else ""
        line = f"{verdict.outcome:10} {verdict.sabotage.title} ({verdict.seconds:.1f} s){told}"
        self.console.print(line, style=_STYLES[verdict.outcome] if not verdict.good else None)

    def equivalent(self, sabotage):
        """One that no check can see."""
        self.equivalents.append(sabotage.role)
        self.console.print(f"equivalent {sabotage.title}: {sabotage.how.reason}", style="dim")

    def without(self, machine, names):
        self.missing += [f"{machine}: {name}" for name in names]

    def stays(self, reason):
        """A machine that was not green again by itself."""
        self.unhealed.append(str(reason))
        self.console.print(f"unhealed   {reason}", style="bold red")

    @property
    def good(self):
        return sum(verdict.good for verdict in self.verdicts)

    @property
    def score(self):
        """Per cent of the sabotages that turned exactly what they should red."""
        return 100 * self.good / max(1, len(self.chosen))

    @property
    def passed(self):
        whole = self.good == len(self.chosen) == len(self.verdicts)
        return bool(self.chosen) and whole and not self.missing and not self.unhealed

    def end(self, minutes):
        """The tables; whether all is well."""
        self.console.print()
        self.console.print(self._table())
        for line in self.missing:
            self.console.print(f"no sabotage for {line}", style="bold red")
        if self.unhealed:
            self.console.print(f"a machine did not heal {len(self.unhealed)} times", style="bold red")
        checks = len({(v.sabotage.machine, v.sabotage.target) for v in self.verdicts})
        self.console.print(
            f"\nscore {self.score:.1f} %: {self.good} of {len(self.chosen)} sabotages turned exactly"
            f" their check red, and were undone; {checks} checks, {minutes:.0f} min",
            style="green" if self.passed else "bold red",
        )
        return self.passed

    def _table(self):
        table = Table("role", "checks", "sabotages", *_STYLES, "not run", "equivalent")
        rows = defaultdict(list)
        for sabotage in self.chosen:
            rows[sabotage.role].append(sabotage)
        for role, chosen in rows.items():
            outcomes = [verdict.outcome for verdict in self.verdicts if verdict.sabotage.role == role]
            counts = (
                len({(s.machine, s.target) for s in chosen}),
                len(chosen),
                *(outcomes.count(word) for word in _STYLES),
                len(chosen) - len(outcomes),
                self.equivalents.count(role),
            )
            table.add_row(role or _NOT_OF_A_ROLE, *map(str, counts))
        return table

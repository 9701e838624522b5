"""What `mailwright verify` prints: a line a machine as its checks come to an end, then what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from mailwright.command.console import note
from mailwright.model.fleet import Machine
from mailwright.verify.recorder import Listener
from mailwright.verify.report import (
    WORDS,
    CheckReport,
    MachineReport,
    Outcome,
    Report,
    counts,
    head,
    text,
    worst,
)
from mailwright.visible import visible

_TOGETHER = "all together"
"""The line of what concerns several machines."""
_STYLES: dict[Outcome, str] = {"fail": "red", "unknown": "yellow", "pass": "green", "skipped": "dim"}
_BAD: tuple[Outcome, ...] = ("fail", "unknown")
_NAMED = 5
"""So many of the machines that are still being asked are named."""


class Live(Listener):
    """Prints while a run goes on."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        """Write to `console`; `verbose` has a line for every check, too."""
        self.console = console
        self.verbose = verbose
        self._width = 0
        self._asked = 0
        self._waiting: list[str] = []
        self._status = console.status("")

    def begin(self, machines: Sequence[Machine], *, together: bool) -> None:
        """Say who is being asked, where somebody looks at a terminal."""
        if closed := [machine.name for machine in machines if machine.closed]:
            note(
                f"closed, and judged as such: {', '.join(closed)}; nobody reaches them, and they send no mail"
            )
        names = [machine.name for machine in machines]
        self._asked, self._waiting = len(names), names
        self._width = max(map(len, [*names, _TOGETHER if together else ""]))
        if self.console.is_terminal:
            self._status.start()
        self._show()

    def check(self, check: CheckReport) -> None:
        """Its line, where all are wanted."""
        if self.verbose:
            note = f" ({check.note})" if check.note else ""
            line = f"  {WORDS[check.outcome]:8}{check.id}{note}"
            self.console.print(Text(visible(line), style=_STYLES[check.outcome]))

    def machine(self, machine: MachineReport) -> None:
        """Its line."""
        self._waiting.remove(machine.name)
        self._line(machine.name, machine.checks, machine.seconds)
        self._show()

    def end(self, report: Report | None) -> None:
        """What is wrong, and the sum."""
        self._status.stop()
        if report is None:
            return
        if report.together:
            self._line(_TOGETHER, report.together, report.seconds)
        for check in report.checks:
            if check.outcome in _BAD:
                self.console.print()
                self.console.print(Text(visible(text(check)), style=_STYLES[check.outcome]))
        self.console.print()
        self.console.print(_sum(report))

    def changes(self, checks: Iterable[CheckReport], when: datetime) -> None:
        """Checks that are not what they were."""
        self.console.print(Text(when.isoformat(sep=" ", timespec="seconds"), style="bold"))
        for check in checks:
            said = text(check) if check.outcome in _BAD else head(check)
            said += f": {check.found}" if check.outcome == "skipped" else ""
            mark = (f"{WORDS[check.outcome]:8}", _STYLES[check.outcome])
            self.console.print(Text.assemble(mark, visible(said)))

    def _line(self, name: str, checks: Sequence[CheckReport], seconds: float) -> None:
        verdict = worst(checks)
        tally = counts(checks)
        said = ", ".join(f"{tally[o]} {word}" for o, word in WORDS.items() if o in tally)
        mark = (f"{name:{self._width}}  {WORDS[verdict]:8}", _STYLES[verdict])
        self.console.print(Text.assemble(mark, f"  {said}  ({seconds:.1f} s)"))

    def _show(self) -> None:
        more = len(self._waiting) - _NAMED
        names = ", ".join(self._waiting[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        done = self._asked - len(self._waiting)
        self._status.update(f"{done} of {self._asked} done; asking {names}" if names else "")


def _sum(report: Report) -> str:
    parts = [f"{counts(report.checks).get('pass', 0)} checks passed"]
    verdicts = Counter(machine.verdict for machine in report.machines)
    for outcome, word in WORDS.items():
        count = verdicts[outcome]
        parts += [f"{count} machine{'s' * (count > 1)} {word}"] if count else []
    if report.together:
        parts.append(f"{_TOGETHER} {WORDS[worst(report.together)]}")
    return f"{', '.join(parts)}  ({report.seconds:.1f} s)"

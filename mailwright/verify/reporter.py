"""What `mailwright verify` prints: a line a machine as its items come to an end, then what is wrong."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from rich.console import Console
from rich.text import Text

_TOGETHER = "all together"
"""The line of what concerns several machines."""
_STYLES = {"failed": "red", "unknown": "yellow", "ok": "green"}


@dataclass
class Tally:
    """What is known of a machine so far."""

    left: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """The worst of its outcomes."""
        return next((word for word in ("failed", "unknown") if self.counts[word]), "ok")


class Reporter:
    """A pytest plugin in the place of pytest's terminal reporter."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        """Write to `console`; `verbose` has a line for every item, too."""
        self.console = console
        self.verbose = verbose
        self.machines: dict[str, Tally] = {}
        self.began = time.monotonic()
        self.status = console.status("")
        self.status_shown = console.is_terminal

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Take the terminal reporter's place. Its options, which `addopts` may use, stay known."""
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            config.pluginmanager.unregister(terminal)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what each machine has before it."""
        for item in session.items:
            self.machines.setdefault(_property(item.user_properties, "machine"), Tally()).left += 1
        if self.status_shown:
            self.status.start()
        self._show()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one phase of one item."""
        machine = self.machines[_property(report.user_properties, "machine")]
        outcome = _outcome(report)
        if outcome:
            machine.counts[outcome] += 1
            if outcome in ("failed", "unknown"):
                machine.reports.append(report.longreprtext.strip())
            if self.verbose:
                notes = [f" ({value})" for key, value in report.user_properties if key == "note"]
                line = f"  {outcome:8}{_name(report.nodeid)}{''.join(notes)}"
                self.console.print(Text(line, style=_STYLES.get(outcome, "dim")))
        if report.when == "teardown":
            machine.left -= 1
            if machine.left == 0:
                self._line(_property(report.user_properties, "machine"), machine)
            self._show()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be imported is not silently empty."""
        if report.failed:
            self.console.print(Text(report.longreprtext, style="red"))

    def pytest_internalerror(self, excrepr: object) -> None:
        """The same for what goes wrong in a hook."""
        self.status.stop()
        self.console.print(Text(str(excrepr), style="red"))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Why the suite itself ended early; nothing where the operator did that."""
        if isinstance(excinfo.value, pytest.exit.Exception):
            self.status.stop()
            self.console.print(Text(excinfo.value.msg, style="red"))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """What is wrong, and the sum."""
        self.status.stop()
        for machine in self.machines.values():
            for text in machine.reports:
                self.console.print()
                self.console.print(Text(text, style=_STYLES[machine.verdict]))
        verdicts = Counter(machine.verdict for name, machine in self.machines.items() if name != _TOGETHER)
        parts = [f"{sum(machine.counts['ok'] for machine in self.machines.values())} checks passed"]
        for verdict in ("ok", "failed", "unknown"):
            count = verdicts[verdict]
            parts += [f"{count} machine{'s' * (count > 1)} {verdict}"] if count else []
        if _TOGETHER in self.machines:
            parts.append(f"{_TOGETHER} {self.machines[_TOGETHER].verdict}")
        self.console.print()
        self.console.print(f"{', '.join(parts)}  {self._seconds()}")

    def _line(self, name: str, machine: Tally) -> None:
        counts = ", ".join(
            f"{machine.counts[o]} {o}" for o in ("ok", "failed", "unknown", "skipped") if machine.counts[o]
        )
        verdict = (f"{name:{max(map(len, self.machines))}}  {machine.verdict:8}", _STYLES[machine.verdict])
        self.console.print(Text.assemble(verdict, f"  {counts}  {self._seconds()}"))

    def _show(self) -> None:
        waiting = [name for name, machine in self.machines.items() if machine.left]
        self.status.update(f"asking {', '.join(waiting)}" if waiting else "")

    def _seconds(self) -> str:
        return f"({time.monotonic() - self.began:.1f} s)"


def _outcome(report: pytest.TestReport) -> str | None:
    """What a phase decides: its item's outcome, or nothing."""
    if report.skipped:
        return "skipped"
    if report.failed:
        return "failed" if report.when == "call" else "unknown"
    return "ok" if report.when == "call" else None


def _property(properties: list[tuple[str, object]], name: str) -> str:
    return next((str(value) for key, value in properties if key == name), _TOGETHER)


def _name(nodeid: str) -> str:
    return nodeid.partition("[")[2].removesuffix("]") or nodeid

"""A run of the suites becomes a report: a pytest plugin in the place of pytest's terminal reporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pytest

from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.verify.expectation import Expectation
from mailwright.verify.only import Subject, chosen
from mailwright.verify.plugin import SUITE, expectation_of
from mailwright.verify.report import CheckReport, MachineReport, Outcome, Report, worst
from mailwright.verify.suite import Suite


class Listener:
    """Hears how a run goes on. This one is deaf; `Live` prints."""

    def begin(self, machines: Sequence[Machine], *, together: bool) -> None:
        """These are being asked; `together`: something concerns no single one of them."""

    def check(self, check: CheckReport) -> None:
        """A check was judged."""

    def machine(self, machine: MachineReport) -> None:
        """All checks of a machine were judged."""

    def end(self, report: Report | None) -> None:
        """The run is over; without a report where it broke off."""


@dataclass
class _Item:
    """An item of pytest's, and what became of it."""

    subject: Subject
    check: CheckReport | None = None

    @property
    def machine(self) -> str:
        """The one machine that it is about; empty where there is no such."""
        return self.subject.machines[0] if len(self.subject.machines) == 1 else ""


class Recorder:
    """Keeps what is found out, machine by machine, and tells `listener` at once.

    Machines' checks are judged in the order in which machines answer, so that nobody's result waits for
    somebody else's answer.
    """

    def __init__(self, suite: Suite, listener: Listener, only: Sequence[str] = ()) -> None:
        """`only`: see `chosen`."""
        self.suite = suite
        self.listener = listener
        self.only = only
        self.report: Report | None = None
        """There once the run has ended, and ended whole."""
        self.broken: MailwrightError | None = None
        """Why it has not."""
        self._items: dict[str, _Item] = {}
        self._own: dict[str, list[_Item]] = {}
        self._left: Counter[str] = Counter()
        """Machines, and how many of their own items have not ended."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Give the suite to those who would load another."""
        config.stash[SUITE] = self.suite

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Take the terminal reporter's place. Its options, which `addopts` may use, stay known."""
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            config.pluginmanager.unregister(terminal)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that cannot be imported is not silently empty."""
        if report.failed:
            self._break(f"{report.nodeid}: does not load: {_said(report).splitlines()[-1]}")

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Whoever verifies a fleet is not told that all is well by a `-k` that stands somewhere."""
        missing = [item.name for item in items if expectation_of(item)]
        if missing:
            options = "pytest's own options (addopts, PYTEST_ADDOPTS)"
            self._break(f"{options} leave out {len(missing)} checks, {missing[0]} for one; use --only")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what is not asked for; everything where something is wrong with that."""
        try:
            wanted = chosen([_subject(item) for item in items], self.only)
        except MailwrightError as error:
            self.broken = self.broken or error
        if self.broken:
            items.clear()
        else:
            items[:] = [item for item, meant in zip(items, wanted, strict=True) if meant]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what there is to judge."""
        self._items = {item.nodeid: _Item(_subject(item)) for item in session.items}
        for item in self._items.values():
            if machine := item.machine:
                self._own.setdefault(machine, []).append(item)
                self._left[machine] += 1
        together = any(not item.machine for item in self._items.values())
        asked = [plan.machine for name, plan in self.suite.plans.items() if name in self._own]
        self.listener.begin(asked, together=together)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """As pytest's own, but in the order in which machines answer."""
        for item, after in self._in_turn(session.items):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one phase of one item."""
        item = self._items[report.nodeid]
        outcome = _outcome(report)
        if outcome:
            check = self._check(item.subject, report, outcome)
            item.check = check if item.check is None or worst((item.check, check)) == outcome else item.check
        if report.when == "teardown":
            self._end(item)

    def pytest_internalerror(self, excrepr: object) -> bool:
        """What goes wrong in a hook, pytest's or a suite's; `True`: it is told."""
        self._break(f"the suite itself went wrong: {str(excrepr).splitlines()[-1]}")
        return True

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Why the suite itself ended early; nothing where the operator did that."""
        if isinstance(excinfo.value, pytest.exit.Exception):
            self._break(excinfo.value.msg)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Make the report."""
        if self.broken is None and exitstatus != pytest.ExitCode.INTERRUPTED:
            own = {machine: _checks(items) for machine, items in self._own.items()}
            together = _checks(item for item in self._items.values() if not item.machine)
            self.report = self.suite.report(own, together)
        self.listener.end(self.report)

    def _break(self, why: str) -> None:
        self.broken = self.broken or MailwrightError(why)

    def _end(self, item: _Item) -> None:
        if item.check:
            self.listener.check(item.check)
        if machine := item.machine:
            self._left[machine] -= 1
            if not self._left[machine]:
                self.listener.machine(self.suite.machine(machine, _checks(self._own[machine])))

    def _in_turn(self, items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
        """Each item with one that fixtures which both use are kept for."""
        modules = [list(group) for _, group in groupby(items, key=lambda item: item.parent)]
        for module, following in zip(modules, [*modules[1:], []], strict=False):  # no module: no following
            last = following[0] if following else None
            for left, item in zip(range(len(module) - 1, -1, -1), self._as_answered(module), strict=True):
                sibling = module[0] if item is not module[0] else module[-1]
                yield item, sibling if left else last

    def _as_answered(self, items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
        own: dict[str, list[pytest.Item]] = {}
        others = []
        for item in items:
            expectation = expectation_of(item)
            if isinstance(expectation, Expectation):
                own.setdefault(expectation.machine, []).append(item)
            else:
                others.append(item)
        for machine in self.suite.answered(own):
            yield from own[machine]
        yield from others

    def _check(self, subject: Subject, report: pytest.TestReport, outcome: Outcome) -> CheckReport:
        judged = self.suite.checks.get(subject.id)
        if judged and judged.outcome == outcome:
            return judged
        properties = dict(report.user_properties)
        machines = subject.machines or tuple(str(properties[key]) for key in properties if key == "machine")
        role = subject.role or str(properties.get("role", ""))
        return CheckReport(subject.id, subject.name, machines, role, outcome, found=_said(report))


def _checks(items: Iterable[_Item]) -> list[CheckReport]:
    return [item.check for item in items if item.check]


def _subject(item: pytest.Item) -> Subject:
    expectation = expectation_of(item)
    if expectation is None:
        return Subject(item.name, item.nodeid)
    return Subject(expectation.name, expectation.id, expectation.role, expectation.machines)


def _outcome(report: pytest.TestReport) -> Outcome | None:
    """What a phase decides: its item's outcome, or nothing."""
    if report.skipped:
        return "skipped"
    if report.failed:
        return "fail" if report.when == "call" else "unknown"
    return "pass" if report.when == "call" else None


def _said(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why an item failed or was skipped, without the way there."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash:
        return str(crash.message).strip()
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[-1])
    return report.longreprtext.strip()

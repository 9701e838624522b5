"""What verification is made of: an expectation, the evidence about a machine, and the judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailwright.model.errors import UnknownError
from mailwright.model.role import Result
from mailwright.model.visit import Reception, Visit
from mailwright.observe import Observation
from mailwright.verify.batch import KILLED, LIMIT, TIMED_OUT
from mailwright.verify.report import CheckReport, Outcome, text
from mailwright.verify.sockets import Listener


@dataclass(frozen=True)
class Fault:
    """A machine is not as its needs say."""

    expected: str
    found: str


@dataclass(frozen=True)
class Evidence:
    """Everything one round trip brought back from a machine."""

    observation: Observation
    before: frozenset[Listener] = frozenset()
    """Listening sockets at the beginning of the round trip, and at its end."""
    after: frozenset[Listener] = frozenset()
    results: Mapping[str, Result] = field(default_factory=dict)
    """What the expectations' own commands gave, by name. One that is missing never answered."""
    receptions: Mapping[Visit, Reception] = field(default_factory=dict)
    """What the controller met with at the machine's ports."""

    def result(self, name: str) -> Result:
        """The result of an expectation's own command.

        Raises:
            UnknownError: there is none, or the command was ended before it was done.
        """
        result = self.results.get(name)
        if result is None:
            raise UnknownError("its command did not answer")
        if result.status == TIMED_OUT:
            raise UnknownError(f"its command gave no answer in time; it has {LIMIT} s at most")
        if result.status == KILLED:
            raise UnknownError("its command was killed before it had answered")
        return result


Judge = Callable[[Evidence], Fault | None]


Ask = Callable[[str], Evidence]
"""Gives the evidence about a machine; raises `UnknownError` when it did not answer."""


def _nothing(_: Observation) -> str | None:
    return None


@dataclass(frozen=True)
class Expectation:
    """One thing that must hold on one machine: one line of a report, one test item.

    `judge` is pure: `None` is a pass, a `Fault` a failure, an `UnknownError` neither. `command` runs on
    the machine if judging takes more than the observation and the sockets; it only reads, and everybody
    on the machine can see it.
    """

    machine: str
    role: str
    """Which role declared it; `` for what holds of every machine."""
    name: str
    """Unique on the machine, such as `file-/etc/postfix/main.cf`."""
    judge: Judge
    remedy: str
    command: str | None = None
    remark: Callable[[Observation], str | None] = _nothing
    """What is worth a word though all is well."""
    declared: str = ""
    """`FILE:LINE` of the fleet file: what asked for it stands there."""
    visits: tuple[Visit, ...] = ()
    """What the controller asks of the machine's ports for it."""

    @property
    def machines(self) -> tuple[str, ...]:
        """Who is asked."""
        return (self.machine,)

    @property
    def id(self) -> str:
        """Unique in the fleet."""
        return f"{self.machine}-{self.name}"

    def judged(self, ask: Ask, _again: Callable[[], Ask] | None = None) -> Fault | None:
        """Judge it.

        Raises:
            UnknownError: the machine did not answer.
        """
        return self.judge(ask(self.machine))

    def report(self, fault: Fault) -> str:
        """What an operator reads about a failure."""
        return text(reported(self, "fail", fault.expected, fault.found))


@dataclass(frozen=True)
class Joint:
    """One thing that must hold of several machines together; otherwise like an `Expectation`."""

    machines: tuple[str, ...]
    role: str
    name: str
    """Unique on each of the machines."""
    judge: Callable[[Mapping[str, Evidence]], Fault | None]
    remedy: str
    command: str
    """Runs on every one of the machines."""
    declared: str = ""
    """As for an `Expectation`."""

    @property
    def id(self) -> str:
        """Unique in the fleet."""
        return f"{'+'.join(self.machines)}-{self.name}"

    def judged(self, ask: Ask, again: Callable[[], Ask] | None = None) -> Fault | None:
        """Judge it; a fault counts only if it is there `again`.

        Machines answer seconds apart: what one hands to another meanwhile seems to be nobody's, or both's.

        Raises:
            UnknownError: one of the machines did not answer.
        """
        fault = self.judge({machine: ask(machine) for machine in self.machines})
        return self.judged(again()) if fault and again else fault

    def report(self, fault: Fault) -> str:
        """What an operator reads about a failure."""
        return text(reported(self, "fail", fault.expected, fault.found))


def reported(
    about: Expectation | Joint, outcome: Outcome, expected: str = "", found: str = "", note: str = ""
) -> CheckReport:
    """What a report says of an expectation that was judged."""
    return CheckReport(
        about.id,
        about.name,
        about.machines,
        about.role,
        outcome,
        expected,
        found,
        about.remedy if outcome in ("fail", "unknown") else "",
        about.declared,
        note,
    )

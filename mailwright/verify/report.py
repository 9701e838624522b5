"""The report of a verification as data. What is printed, written or drawn of it comes from here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

VERSION = 1
"""Of the JSON object. It grows when a field goes or changes its meaning; a new field is no new version."""

Outcome = Literal["pass", "fail", "unknown", "skipped"]
"""Of one check. `unknown`: nobody could judge it. `skipped`: not looked at, for a reason told elsewhere."""

WORST_FIRST: tuple[Outcome, ...] = ("fail", "unknown", "pass", "skipped")

WORDS: dict[Outcome, str] = {"pass": "ok", "fail": "failed", "unknown": "unknown", "skipped": "skipped"}
"""Outcomes as people read them."""


@dataclass(frozen=True)
class CheckReport:
    """One thing that must hold, and what was found. Texts are plain, may have lines, and may be empty."""

    id: str
    """Unique in the fleet and the same in every run, such as `out1-file-/etc/postfix/main.cf`."""
    name: str
    """Unique on its machine: `file-/etc/postfix/main.cf`."""
    machines: tuple[str, ...]
    """Who was asked; more than one where it holds of several together."""
    role: str
    """Which role declared it; empty for what holds of every machine."""
    outcome: Outcome
    expected: str = ""
    """What must hold, in words; of failures, and of unknowns where that can be said."""
    found: str = ""
    """What was found instead; why nobody can tell; why it was skipped."""
    remedy: str = ""
    """What to run or to look at; of failures and unknowns."""
    declared: str = ""
    """`FILE:LINE` of the fleet file: what asked for it stands there."""
    note: str = ""
    """What is worth a word though all is well."""


@dataclass(frozen=True)
class MachineReport:
    """One machine, and what concerns it alone."""

    name: str
    fqdn: str
    roles: tuple[str, ...]
    release: str
    """As the fleet file says: `Debian 13`."""
    addresses: tuple[str, ...]
    """Its own, IPv4 first."""
    pools: tuple[str, ...]
    """The pools whose balancer or member it is."""
    seconds: float
    """From the beginning of the run until the machine had answered, or would not."""
    checks: tuple[CheckReport, ...]

    @property
    def verdict(self) -> Outcome:
        """The worst of its checks."""
        return worst(self.checks)


@dataclass(frozen=True)
class Report:
    """One verification of a fleet, or of the part of it that was asked for."""

    fleet: str
    """Its name: that of the file, without the suffix."""
    file: str
    """The fleet file, as an operator would write it."""
    digest: str
    """Of the fleet file and its keyring, as the records of applies have it: SHA-256, in hexadecimal."""
    began: datetime
    """With a time zone."""
    seconds: float
    machines: tuple[MachineReport, ...]
    together: tuple[CheckReport, ...] = ()
    """What concerns several machines."""

    @property
    def checks(self) -> tuple[CheckReport, ...]:
        """All of them."""
        return (*(check for machine in self.machines for check in machine.checks), *self.together)

    @property
    def verdict(self) -> Outcome:
        """The worst of all checks."""
        return worst(self.checks)


def worst(checks: Iterable[CheckReport]) -> Outcome:
    """`fail` before `unknown` before `pass`; `skipped` where nothing was looked at."""
    found = {check.outcome for check in checks}
    return next((outcome for outcome in WORST_FIRST if outcome in found), "skipped")


def counts(checks: Iterable[CheckReport]) -> dict[Outcome, int]:
    """How many checks had each outcome; those that none had are left out."""
    counter = Counter(check.outcome for check in checks)
    return {outcome: counter[outcome] for outcome in WORST_FIRST if counter[outcome]}


def brief(check: CheckReport) -> str:
    """A failure or an unknown in one line."""
    return f"{head(check)}: {check.found.partition(chr(10))[0]}"


def head(check: CheckReport) -> str:
    """What a check is about, and who declared it."""
    if not check.machines:
        return f"{check.name} (a test of this repository)"
    who = f"declared by {check.role}" if check.role else "holds of every machine"
    return f"{', '.join(check.machines)}: {check.name} ({who})"


def text(check: CheckReport) -> str:
    """A failure or an unknown as an operator reads it, in several lines."""
    details = {
        "expected": check.expected,
        "found": check.found,
        "declared": check.declared,
        "remedy": check.remedy,
    }
    lines = [
        f"  {word + ':':9} {value.replace(chr(10), chr(10) + ' ' * 12)}"
        for word, value in details.items()
        if value
    ]
    return "\n".join([head(check), *lines])


def as_json(report: Report, *, indent: int | None = None) -> str:
    """The report as one JSON object, on one line unless `indent` is given; see docs/verify.md."""
    data = {
        "version": VERSION,
        "fleet": report.fleet,
        "file": report.file,
        "digest": report.digest,
        "began": report.began.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 3),
        "verdict": report.verdict,
        "counts": counts(report.checks),
        "machines": [_machine(machine) for machine in report.machines],
        "together": [vars(check) for check in report.together],
    }
    return json.dumps(data, indent=indent)


def _machine(machine: MachineReport) -> dict[str, Any]:
    return vars(machine) | {
        "verdict": machine.verdict,
        "seconds": round(machine.seconds, 3),
        "checks": [vars(check) for check in machine.checks],
    }

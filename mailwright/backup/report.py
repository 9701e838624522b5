"""What a drill came to, for people (Markdown) and for programs (JSON). Nothing secret is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailwright.backup.manifest import Compared, Finding
from mailwright.backup.snapshots import BackupError, Snapshot, amount, stamp

_NAMED = 50
"""So many paths of one kind are named; there are counts of all."""


@dataclass(frozen=True)
class Done:
    """One step of a drill that was taken."""

    title: str
    found: str
    seconds: float
    problem: str = ""


@dataclass
class Report:
    """A drill."""

    machine: str
    spare: str
    debian: tuple[int, int]
    """The release of the machine, and that of the spare."""
    began: datetime
    ended: datetime | None = None
    steps: list[Done] = field(default_factory=list)
    snapshots: tuple[Snapshot, ...] = ()
    compared: list[Compared] = field(default_factory=list)
    checks: int = 0
    """So many of the machine's suite passed."""
    faults: list[str] = field(default_factory=list)
    """Everything that went wrong, a line each."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Where the restored machine is not as the original is."""
        return tuple(finding for each in self.compared for finding in each.findings)

    @property
    def passed(self) -> bool:
        """Whether it came to its end and nothing was wrong."""
        return self.ended is not None and not self.faults

    @property
    def verdict(self) -> str:
        """One word."""
        return "passed" if self.passed else "failed"

    @property
    def stem(self) -> str:
        """What its files are called, without what follows the dot."""
        return f"{self.machine}-{self.began.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"

    @property
    def counts(self) -> dict[str, int]:
        """What was compared, in sum."""
        return {
            "same": sum(each.same for each in self.compared),
            "octets": sum(each.octets for each in self.compared),
            "changed_later": sum(len(each.later) for each in self.compared),
            "only_on_spare": sum(len(each.more) for each in self.compared),
            "different": len(self.findings),
        }

    def write(self, folder: Path) -> Path:
        """Write both files; returns the one for people.

        Raises:
            BackupError: they cannot be written.
        """
        page = folder / f"{self.stem}.md"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            page.write_text("\n".join((*markdown(self), "")), encoding="utf-8")
            page.with_suffix(".json").write_text(json.dumps(self.data(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise BackupError(f"{folder}: the report cannot be written: {error.strerror}") from None
        return page

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "machine": self.machine,
            "spare": self.spare,
            "debian": {"machine": self.debian[0], "spare": self.debian[1]},
            "began": stamp(self.began),
            "ended": stamp(self.ended) if self.ended else None,
            "verdict": self.verdict,
            "faults": self.faults,
            "checks_passed": self.checks,
            "snapshots": [snapshot.data() for snapshot in self.snapshots],
            "counts": self.counts,
            "compared": [
                {
                    "path": each.path,
                    "same": each.same,
                    "octets": each.octets,
                    "changed_later": list(each.later),
                    "only_on_spare": list(each.more),
                    "different": [
                        {"path": f.path, "what": f.what, "expected": f.expected, "found": f.found}
                        for f in each.findings
                    ],
                }
                for each in self.compared
            ],
            "steps": [
                {"title": s.title, "found": s.found, "seconds": round(s.seconds, 1), "problem": s.problem}
                for s in self.steps
            ],
        }


def markdown(report: Report) -> Iterator[str]:
    """The report as lines of Markdown."""
    yield f"# Drill of {report.machine} on {report.spare}: {report.verdict}"
    yield ""
    until = stamp(report.ended) if report.ended else "it was interrupted"
    machine, spare = report.debian
    release = f"Debian {machine}" + (f", restored on Debian {spare}" if machine != spare else "")
    yield f"{stamp(report.began)} to {until}. {release}. {report.checks} checks of its suite passed."
    yield from _section("What went wrong", (f"- {fault}" for fault in report.faults))
    snapshots = (
        f"| {s.retention} | {s.id[:8]} | {stamp(s.time)} | {amount(s.size)} |" for s in report.snapshots
    )
    yield from _section("Snapshots", _table("| class | id | made | size |", snapshots))
    compared = (
        f"| {_code(c.path)} | {c.same} | {amount(c.octets)} "
        f"| {len(c.findings)} | {len(c.later)} | {len(c.more)} |"
        for c in report.compared
    )
    head = "| path | the same | in files | different | changed later | only on the spare |"
    yield from _section("Compared with the original", _table(head, compared))
    for title, paths in (
        ("Changed on the original after the snapshot", [p for c in report.compared for p in c.later]),
        ("Only on the spare", [p for c in report.compared for p in c.more]),
    ):
        yield from _section(title, _named(paths))
    steps = (f"| {s.title} | {s.seconds:.1f} s | {s.problem or s.found} |" for s in report.steps)
    yield from _section("Steps", _table("| step | took | found |", steps))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield from ("", f"## {title}", "", *body)


def _table(head: str, rows: Iterator[str]) -> Iterator[str]:
    body = list(rows)
    if body:
        yield from (head, "|" + "---|" * (head.count("|") - 1), *body)


def _named(paths: list[str]) -> Iterator[str]:
    yield from (f"- {_code(path)}" for path in paths[:_NAMED])
    if len(paths) > _NAMED:
        yield f"- and {len(paths) - _NAMED} more"


def _code(path: str) -> str:
    """A path in a line of Markdown, whatever is in its name."""
    shown = path.encode("utf-8", "backslashreplace").decode().replace("`", "'").replace("|", "\\|")
    return f"`{''.join(c if c.isprintable() else '?' for c in shown)}`"

"""`make audit`: have judges that are not ours look at a lab that is up, and write docs/audit.md.

The lab must be deployed (`make lab` leaves it so). Exit status 0: whatever is marked down is explained in
audit/reasons.py. 1: something is not, or a judge did not run to its end.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from rich.console import Console

import roles
from audit import domains, lynis, page, ports, ssh, tls, units
from audit.reason import reason_for, unneeded
from audit.reasons import REASONS
from audit.subjects import Subjects
from audit.verdict import Task, Verdict
from mailwright.lab.lab import Lab
from mailwright.lab.machine import require_root
from mailwright.model.errors import MailwrightError
from mailwright.model.load import load_site

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "audit.md"
_MACHINES = "Machines"
JUDGES: tuple[ModuleType, ...] = (tls, ports, ssh, domains, units, lynis)
"""Each has NAME, TITLE, ABOUT, version() and tasks(subjects)."""


@dataclass
class Outcome:
    """What one judge said of all places."""

    judge: ModuleType
    version: str
    verdicts: list[Verdict] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The judge's name."""
        return str(self.judge.NAME)

    def marked(self) -> Iterator[page.Marked]:
        """Everything that it marks down, with the explanation if there is one."""
        for verdict in self.verdicts:
            for finding in verdict.findings:
                reason = reason_for(self.name, verdict.place, finding, REASONS)
                yield page.Marked(verdict.place, finding, reason)


def main(arguments: Sequence[str]) -> int:
    """Ask the judges one after the other; the exit status."""
    options = _options().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        outcomes = _audit(options, console)
    except MailwrightError as error:
        console.print(f"error: {error}", style="bold red")
        return 1
    well = _tell(outcomes, console, whole=not options.machine)
    if not options.machine and not any(outcome.failed for outcome in outcomes):
        sections = {_MACHINES: _machines(options.fleet)}
        sections |= {outcome.judge.TITLE: _section(outcome) for outcome in outcomes}
        old = options.page.read_text() if options.page.exists() else ""
        options.page.write_text(page.merged(old, sections, [_MACHINES, *(judge.TITLE for judge in JUDGES)]))
        console.print(f"wrote {options.page}")
    return 0 if well else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [judge.NAME for judge in JUDGES]
    parser.add_argument("judges", nargs="*", metavar="JUDGE", help=f"of {', '.join(names)}; default: all")
    parser.add_argument(
        "--fleet", type=Path, default=ROOT / "inventory" / "lab.yaml", help="a lab that is up"
    )
    parser.add_argument(
        "--machine", action="append", help="this one alone, once or more; the page is then left as it is"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="what is written; default: docs/audit.md")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    return parser


def _audit(options: argparse.Namespace, console: Console) -> list[Outcome]:
    """Raises MailwrightError: the fleet is no lab, a machine does not run, a judge is missing or unknown."""
    require_root()
    known = {judge.NAME: judge for judge in JUDGES}
    if unknown := [name for name in options.judges if name not in known]:
        raise MailwrightError(f"no judge {unknown[0]}: there are {', '.join(known)}")
    subjects = Subjects(
        load_site(options.fleet.absolute(), roles.ROLES),
        Lab.open(options.fleet.absolute()),
        tuple(options.machine or ()),
    )
    _check_machines(subjects)
    chosen = [judge for judge in JUDGES if not options.judges or judge.NAME in options.judges]
    outcomes = [Outcome(judge, judge.version()) for judge in chosen]
    for outcome in outcomes:
        console.print(f"{outcome.name} {outcome.version}", style="bold")
        _ask(outcome, tuple(outcome.judge.tasks(subjects)), options.jobs, console)
    return outcomes


def _check_machines(subjects: Subjects) -> None:
    if missing := set(subjects.only).difference(m.name for m in subjects.site.fleet.machines):
        raise MailwrightError(f"the fleet has no machine {min(missing)}")
    stopped = [m.name for m in subjects.machines if not subjects.host(m.name).running]
    if stopped:
        raise MailwrightError(f"{', '.join(stopped)}: not running; `mailwright lab up`, and then deploy")


def _ask(outcome: Outcome, tasks: Sequence[Task], jobs: int, console: Console) -> None:
    """Run a judge's tasks, a line each as it ends; the verdicts keep the tasks' order."""
    found: dict[str, tuple[Verdict, ...]] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        runs = {pool.submit(_timed, task): task for task in tasks}
        for run in as_completed(runs):
            place = runs[run].place
            found[place] = _told(run, place, outcome, console)
    outcome.verdicts = [verdict for task in tasks for verdict in found[task.place]]


def _timed(task: Task) -> tuple[tuple[Verdict, ...], float]:
    began = time.monotonic()
    return task.run(), time.monotonic() - began


def _told(
    run: Future[tuple[tuple[Verdict, ...], float]], place: str, outcome: Outcome, console: Console
) -> tuple[Verdict, ...]:
    try:
        verdicts, seconds = run.result()
    except MailwrightError as error:
        outcome.failed.append(f"{place}: {error}")
        console.print(f"  FAILED {place}: {error}", style="bold red")
        return ()
    marked = sum(len(verdict.findings) for verdict in verdicts)
    summary = verdicts[0].summary if len(verdicts) == 1 else f"{len(verdicts)} units"
    console.print(f"  {place}: {summary}; {marked} marked down ({seconds:.0f} s)")
    return verdicts


def _tell(outcomes: Sequence[Outcome], console: Console, *, whole: bool) -> bool:
    """What is not explained, what explains nothing, and the sum; whether all is well."""
    marked = [(outcome.name, each) for outcome in outcomes for each in outcome.marked()]
    bare = [(name, each) for name, each in marked if each.reason is None]
    failed = [(outcome.name, line) for outcome in outcomes for line in outcome.failed]
    console.print()
    for name, each in bare:
        console.print(f"not explained: {name}, {each.place}: {each.finding.told}", style="bold red")
    if whole and not failed:
        used = [each.reason for _, each in marked if each.reason]
        for reason in unneeded(REASONS, used, [outcome.name for outcome in outcomes]):
            console.print(
                f"explains nothing: {reason.judge}, {reason.finding} at {reason.where}", style="yellow"
            )
    for name, line in failed:
        console.print(f"did not run: {name}, {line}", style="bold red")
    console.print(
        f"{len(marked)} marked down by {len(outcomes)} judges, {len(marked) - len(bare)} of them explained; "
        f"{len(failed)} runs failed",
        style="bold red" if bare or failed else "green",
    )
    return not bare and not failed


def _machines(fleet: Path) -> str:
    """Which machine is of which kind, for who reads the rest."""
    rows = [
        (m.name, str(m.debian), ", ".join(m.roles))
        for m in Subjects(load_site(fleet.absolute(), roles.ROLES), Lab.open(fleet.absolute())).machines
    ]
    return page.table(("machine", "Debian", "roles"), rows)


def _section(outcome: Outcome) -> str:
    return page.section(
        outcome.judge.ABOUT, f"{outcome.name} {outcome.version}", outcome.verdicts, list(outcome.marked())
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

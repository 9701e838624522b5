"""`mailwright drift`: what changed on machines and in the DNS since the last apply, and who made that."""

from __future__ import annotations

import getpass
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mailwright.command.console import AsJson, Limit, commands, note, say
from mailwright.command.driftview import show_news, show_report
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.command.plan import WithDns
from mailwright.drift.accept import accept
from mailwright.drift.machine import MachineDrift, drift_of
from mailwright.drift.report import Report, news, recall, remember, state_file, status_of
from mailwright.drift.units import units
from mailwright.drift.zones import drift_of_zones
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.model.load import fleet_file
from mailwright.model.select import select
from mailwright.model.site import Site
from mailwright.redact import Redactor
from mailwright.verify.ssh import runner

app = commands()

_AT_ONCE = 16
"""Machines that are asked at a time."""


@app.command()
def drift(
    inventory: Inventory,
    limit: Limit = None,
    *,
    dns: WithDns = True,
    changes_only: Annotated[
        bool,
        typer.Option("--changes-only", "--quiet", "-q", help="Only what is new since the last such report."),
    ] = False,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Where --changes-only keeps that report.")
    ] = None,
    accepting: Annotated[
        bool, typer.Option("--accept", help="Show it, ask, and take the machines as they are from now on.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --accept: do not ask.")] = False,
    show_units: Annotated[
        bool, typer.Option("--units", help="Print a systemd service and timer for this, and end.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show what changed on machines and in the DNS since the last apply, and who made that. Changes nothing.

    Each machine keeps a record of its last apply: who, when, from which commit, and what it was like then.

        mailwright drift inventory/prod.yaml --limit out1

    What is right though nobody applied it, --accept makes the new beginning: the record of those machines is
    all that it writes.

    Exit status: 0 nothing changed, 1 an error, 2 drift, 3 a machine did not answer or has no record, and
    nothing else is known. With --changes-only: 0 nothing new.
    """
    if accepting and changes_only:
        raise MailwrightError(
            "--accept with --changes-only would take what is not shown, too; take one of them"
        )
    site = open_site(inventory)
    file = fleet_file(inventory)
    if show_units:
        say(_units(file, repository(inventory)))
        return 0
    chosen = select(site.fleet, limit or [])
    if not (as_json or changes_only):
        note(f"asking {', '.join(machine.name for machine in chosen)}")
    report = _report(site, file, chosen, zones=dns and not limit and bool(site.fleet.providers))
    if changes_only:
        return _changes(report, state or state_file(file), as_json=as_json)
    if as_json:
        say(report.as_json())
    else:
        show_report(report, inventory)
    if accepting:
        return _accept(site, report, yes=yes)
    return report.status


def _report(site: Site, file: Path, chosen: Sequence[Machine], *, zones: bool) -> Report:
    jobs: list[Callable[[], MachineDrift]] = [_job(site, machine) for machine in chosen]
    jobs += [lambda: drift_of_zones(site)] if zones else []
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            parts = tuple(future.result() for future in futures)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return Report(str(file), when, parts)


def _job(site: Site, machine: Machine) -> Callable[[], MachineDrift]:
    plan = site.plan(machine)  # here, because its mistakes concern the whole command
    redact = Redactor.of(site.secrets, plan.merged)
    return lambda: drift_of(plan, runner(machine), redact)


def _changes(report: Report, file: Path, *, as_json: bool) -> int:
    before = recall(file)
    told = news(report, before)
    if as_json:
        say(report.as_json())
    else:
        show_news(report, told)
    sys.stdout.flush()  # told before it is taken for told
    remember(file, report, before)
    return status_of(told)


def _accept(site: Site, report: Report, *, yes: bool) -> int:
    drifted = [part.name for part in report.parts if part.applied and part.findings]
    if not drifted:
        note("nothing to accept")
        return 0
    if not yes:
        typer.confirm(f"Take {', '.join(drifted)} as they are?", abort=True, err=True)
    for name in drifted:
        accept(runner(site.fleet.machine(name)), name)
        note(f"{name}: taken as it is")
    return 0


def _units(file: Path, folder: Path) -> str:
    program = shutil.which("mailwright") or str(Path(sys.argv[0]).absolute())
    return units(file.absolute(), folder, program, getpass.getuser())

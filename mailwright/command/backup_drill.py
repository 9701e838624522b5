"""`mailwright backup drill`: a machine's backups brought back onto a spare one, and put to work there."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from mailwright.backup.drill import Drill, Suite
from mailwright.backup.report import Report
from mailwright.backup.snapshots import BackupError
from mailwright.backup.spares import HostSpare, LabSpare, Spare
from mailwright.backup.standin import stand_in
from mailwright.command.alone import alone
from mailwright.command.backup_restore import machine_of
from mailwright.command.console import note, problem, say
from mailwright.command.converging import converge
from mailwright.command.guide import Yes
from mailwright.command.hosts import Run, read_plan
from mailwright.command.inventory import Inventory, load_roles, open_site, repository
from mailwright.command.plan import shim_of
from mailwright.command.suites import verified
from mailwright.elsewhere import derived
from mailwright.lab.lab import Lab
from mailwright.model.backups import HostStore
from mailwright.model.crossbackups import MAKES, SPARE_MAY_HAVE
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.model.load import fleet_file, load_site
from mailwright.model.site import MachinePlan, Site
from mailwright.verify.report import brief, counts
from mailwright.verify.ssh import runner

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPORTS = "drills"
"""The folder of reports, beside the fleet file."""


def drill(
    inventory: Inventory,
    name: Annotated[
        str | None, typer.Argument(metavar="[MACHINE]", help="Default: the only one that makes backups.")
    ] = None,
    *,
    spare: Annotated[
        str | None, typer.Option("--spare", metavar="MACHINE", help="Default: what `backup.spare` names.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="Reports go there; default: drills/ beside INVENTORY."),
    ] = None,
    yes: Yes = False,
) -> int:
    """Try on a spare machine whether MACHINE could be made anew from its backups.

    The spare is made bare, is given the roles of MACHINE, and restores MACHINE's newest snapshots with
    MACHINE's own credentials. What was brought back is compared with MACHINE itself: content, owner, group,
    mode and extended attributes of every path. Then it must pass MACHINE's suite. It is closed all the while:
    no mail comes in, none leaves. In the end, also after an interrupt, nothing of MACHINE is on it any more.

        mailwright backup drill inventory/prod.yaml out1

    A report is written for people and one for programs, named after the machine and the time.

    Exit status: 0 the drill has passed, 1 it has not.
    """
    site = open_site(inventory)
    original = machine_of(site, name or _only(site), inventory)
    place = spare_of(site, spare, original)
    note(f"{place.name}: all that it has is thrown away, and the drill of {original.name} takes its place")
    if not yes:
        typer.confirm(f"Hold a drill of {original.name} on {place.name}?", abort=True, err=True)
    with prepared(inventory, site, original, place) as made, interruptible(), alone(fleet_file(inventory)):
        try:
            made.run()
        finally:
            page = made.report.write(into or fleet_file(inventory).parent / REPORTS)
            _tell(made.report, page)
    return 0 if made.report.passed else 1


def _only(site: Site) -> str:
    names = [machine.name for machine in site.fleet.with_role(MAKES)]
    if len(names) != 1:
        raise BackupError(f"of which machine? These make backups: {', '.join(names) or 'none'}")
    return names[0]


def spare_of(site: Site, name: str | None, original: Machine) -> Machine:
    """The machine to hold a drill on.

    Raises:
        BackupError: none is named, or it has work of its own.
    """
    name = name or site.fleet.backup.spare
    if name is None:
        raise BackupError("no spare machine: say `backup.spare` in the fleet file, or --spare")
    machine = next((m for m in site.fleet.machines if m.name == name), None)
    if machine is None:
        raise BackupError(f"the fleet has no machine {name} to hold a drill on")
    if name == original.name:
        raise BackupError(f"{name} cannot be its own spare")
    if more := sorted(set(machine.roles) - SPARE_MAY_HAVE):
        raise BackupError(
            f"{name} has work of its own ({', '.join(more)}), and a drill wipes what a machine has"
        )
    store = site.fleet.backup.store
    if isinstance(store, HostStore) and name != site.fleet.backup.spare and MAKES not in machine.roles:
        raise BackupError(f"{store.machine} lets {name} through to no backups: name it in `backup.spare`")
    return machine


@contextmanager
def prepared(inventory: Path, site: Site, original: Machine, spare: Machine) -> Iterator[Drill]:
    """A drill of a machine on a spare one, with a fleet file of its own as long as the block lasts."""
    with TemporaryDirectory(prefix="mailwright-drill-") as folder:
        file = derived(inventory, Path(folder), partial(stand_in, name=original.name, spare=spare))
        double = load_site(file, load_roles(inventory))
        plan = double.plan(double.fleet.machine(original.name))
        yield Drill(
            site.plan(original),
            plan,
            _spare(inventory, site, spare, plan),
            partial(_deploy, repository(inventory), file, original.name),
            partial(_suite, file, original.name),
            note,
        )


def _spare(inventory: Path, site: Site, spare: Machine, other: MachinePlan) -> Spare:
    if site.fleet.lab:
        return LabSpare(Lab.open(inventory), spare)
    deploy = partial(_deploy, repository(inventory), inventory, spare.name)
    return HostSpare(site.plan(spare), other, runner(spare), deploy)


def _deploy(tree: Path, inventory: Path, name: str) -> str:
    """Bring a machine up to date; nothing is published.

    Raises:
        BackupError: it failed.
    """
    with Run(tree, shim_of(inventory), [name]) as run:
        (plan,) = read_plan(run.events(), [name])
        if plan.problem:
            raise BackupError(plan.problem)
        if not plan.changes:
            return "nothing to do"
        result = converge(run, [plan])[name]
    if result.problem:
        raise BackupError(result.problem)
    return f"{result.changed} changed"


def _suite(inventory: Path, name: str) -> Suite:
    try:
        report = verified(inventory, [name]).report
    except MailwrightError as error:
        return Suite(0, (str(error),))
    if not report.machines:
        return Suite(0, ("its suite did not run",))
    wrong = (brief(check) for check in report.checks if check.outcome in ("fail", "unknown"))
    return Suite(counts(report.checks).get("pass", 0), tuple(wrong))


@contextmanager
def interruptible() -> Iterator[None]:
    """Have a drill that is killed, or whose terminal is closed, end as by Ctrl-C: the spare is given back.

    Who is impatient meanwhile does not keep that from being done.
    """
    told = False

    def interrupt(number: int, _: object) -> None:
        nonlocal told
        if told:
            note("the spare is being given back; wait for that")
            return
        told = True
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(report: Report, page: Path) -> None:
    for fault in report.faults:
        problem(fault)
    counts = report.counts
    say(
        f"{report.machine} on {report.spare}: {report.verdict}; {counts['same']} paths the same, "
        f"{counts['different']} different, {counts['changed_later']} changed later, "
        f"{report.checks} checks passed",
        "green" if report.passed else "red",
    )
    say(f"report: {page}")

"""`mailwright backup restore`: files of a machine brought back, shown first, then put in their place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mailwright.backup.programs import Client, Staged
from mailwright.backup.restoring import Restore, changes
from mailwright.backup.snapshots import BackupError, stamp
from mailwright.command.alone import alone
from mailwright.command.console import note, say
from mailwright.command.guide import MachineName, Yes
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.crossbackups import MAKES
from mailwright.model.document import display
from mailwright.model.fleet import Machine
from mailwright.model.load import fleet_file
from mailwright.model.site import Site

At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="As it was then, in UTC: 2026-11-20T14:00.")
]
_STYLES = {"+": "green", "~": "yellow", "?": "yellow"}


def restore(
    inventory: Inventory,
    name: MachineName,
    *,
    at: At = None,
    path: Annotated[
        list[str] | None, typer.Option("--path", metavar="PATH", help="This only; repeatable.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DIR", help="Into this folder of the machine, and change nothing else."),
    ] = None,
    yes: Yes = False,
) -> int:
    """Bring files of a machine back onto it.

    They are brought to a folder of the machine first, and compared with what is there. What would change is
    shown: paths, owners and modes, but nothing of a content. Only then are they put in their place, and
    units that read them are reloaded. What is in no snapshot stays. Mail that was queued is queued again.

        mailwright backup restore inventory/prod.yaml out1 --path /etc/opendkim --at 2026-11-20

        mailwright backup restore inventory/prod.yaml mx1 --path /srv/mail --to /root/mail-of-friday

    A machine that is lost altogether is made anew by `mailwright rebuild`.

    Exit status: 0 done or nothing to do, 1 it failed; until you have said yes, nothing is changed.
    """
    site = open_site(inventory)
    machine = machine_of(site, name, inventory)
    restoring = Restore(site.plan(machine), Client.at(machine))
    moment, paths = when(at), path or ()
    for each in (*paths, *([to] if to else [])):
        if not each.startswith("/"):
            raise BackupError(f"{each}: not a path from / on")
    if to:
        _said(machine, restoring.client.stage(to, moment, paths))
        say(f"{name}: in {to}, for root alone; nothing else was changed")
        return 0
    with restoring.staged(moment, paths) as staged:
        _said(machine, staged)
        declared = restoring.plan.merged.backups
        due = changes(restoring.client.compare(staged.folder, paths), declared)
        for change in due:
            say(change.line, _STYLES.get(change.sign))
        if not any(change.sign in _STYLES for change in due):
            note("nothing to do: all of it is there as it was")
            return 0
        if not yes:
            typer.confirm(f"Do this on {name}?", abort=True, err=True)
        with alone(fleet_file(inventory)):  # somebody who thinks about the question holds nobody up
            for line in restoring.put(staged, paths):
                say(line)
    say(f"{name}: restored; `mailwright plan --limit {name}` shows what the fleet file wants otherwise")
    return 0


def _said(machine: Machine, staged: Staged) -> None:
    newest = {snapshot.retention: snapshot for snapshot in sorted(staged.snapshots)}
    for one in staged.snapshots:
        # A dump that failed left these out of the newest.
        only = "" if one == newest[one.retention] else f", for {', '.join(one.paths)}"
        note(f"{machine.name}: snapshot {one.id[:8]} ({one.retention}) of {stamp(one.time)}{only}")
    if staged.strangers:
        note(f"{machine.name}: it has no {', '.join(staged.strangers)}; what was theirs would be root's")


def machine_of(site: Site, name: str, inventory: Path) -> Machine:
    """A machine that makes backups, by its name.

    Raises:
        BackupError: there is none, or it makes none.
    """
    machine = next((m for m in site.fleet.machines if m.name == name), None)
    if machine is None:
        raise BackupError(f"{display(fleet_file(inventory))}: the fleet has no machine {name}")
    if MAKES not in machine.roles:
        raise BackupError(f"{name}: it makes no backups, because it lacks the role {MAKES}")
    return machine


def when(text: str | None) -> datetime | None:
    """A time that was given on the command line; UTC where it names no other zone.

    Raises:
        BackupError: it is none.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BackupError(f"--at {text}: not a time such as 2026-11-20T14:00 or 2026-11-20") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

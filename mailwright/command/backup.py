"""`mailwright backup list | run | verify | restore | drill`: backups made, looked at, brought back, tried."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from mailwright.backup.programs import Client, Keeper
from mailwright.backup.sight import asked, backed_up, sight
from mailwright.backup.snapshots import Standing, amount, span, stamp
from mailwright.command.backup_drill import drill
from mailwright.command.backup_restore import restore
from mailwright.command.backup_verify import verify
from mailwright.command.console import AsJson, Limit, columns, commands, note, problem, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.fleet import Machine

app = commands(
    "Back up machines, see that it can be relied on, and bring files back.\n\n"
    "Machines with the role `backup` make backups by themselves, and the fleet file's section `backup` says "
    "where they go."
)
UNKNOWN = 3
"""Exit status where the keeper does not answer."""
_AT_ONCE = 4
"""Machines that back up side by side: the store's disk is one."""
_HEAD = ("MACHINE", "CLASS", "NEWEST", "AGE", "SIZE", "COUNT", "")


def clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


@app.command("list")
def list_snapshots(
    inventory: Inventory,
    *,
    limit: Limit = None,
    every: Annotated[bool, typer.Option("--all", help="Every snapshot, not the newest only.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show the snapshots of machines, as the keeper of backups has them.

    The machines themselves are not asked: it works just as well when one is dead. A machine without a fresh
    snapshot is marked.

        mailwright backup list inventory/prod.yaml --limit out1 --all

    Exit status: 0 all are there and fresh, 1 one is stale or missing, 3 the keeper does not answer.
    """
    site = open_site(inventory)
    machines = backed_up(site, limit or ())
    rows, silence = sight(site, machines, Keeper.of(site.fleet), clock())
    if silence:
        problem(silence)
        return UNKNOWN
    if as_json:
        say(json.dumps([_data(row) for row in rows], indent=2))
    else:
        columns([_HEAD, *_lines(rows, every=every)])
    return 1 if any(row.faults for row in rows) else 0


def _lines(rows: Iterable[Standing], *, every: bool) -> Iterable[Sequence[str]]:
    for row in rows:
        fault = "; ".join(row.faults)
        if row.newest is None:
            yield (row.machine, row.retention, "-", "-", "-", "0", fault)
            continue
        now = row.newest.time.timestamp() + (row.age or 0)
        count = str(len(row.snapshots))
        for snapshot in reversed(row.snapshots if every else row.snapshots[-1:]):
            age = span(now - snapshot.time.timestamp())
            size = amount(snapshot.size)
            yield (row.machine, row.retention, stamp(snapshot.time), age, size, count, fault)
            count = fault = ""


def _data(row: Standing) -> Mapping[str, object]:
    return {
        "machine": row.machine,
        "class": row.retention,
        "age": None if row.age is None else round(row.age),
        "faults": list(row.faults),
        "snapshots": [snapshot.data() for snapshot in row.snapshots],
    }


@app.command()
def run(
    inventory: Inventory,
    limit: Limit = None,
    at_once: Annotated[
        int, typer.Option("--at-once", metavar="N", min=1, help="So many machines side by side.")
    ] = _AT_ONCE,
) -> int:
    """Back machines up now, whatever their timers say.

        mailwright backup run inventory/prod.yaml --limit sending

    Exit status: 0 all are backed up, 1 one is not.
    """
    site = open_site(inventory)
    machines = backed_up(site, limit or ())

    def back_up(machine: Machine) -> float:
        began = time.monotonic()
        note(f"{machine.name}: backing up")
        Client.at(machine).make()
        return time.monotonic() - began

    failed = 0
    width = max(len(machine.name) for machine in machines)
    for answer in asked(machines, back_up, at_once):
        if answer.problem is None:
            say(f"{answer.machine:{width}}  ok  ({answer.found:.1f} s)")
        else:
            failed += 1
            problem(f"{answer.machine:{width}}  failed  {answer.problem}")
    return 1 if failed else 0


for _more in (verify, restore, drill):
    app.command()(_more)

"""`mailwright plan`: what `apply` would do, to the DNS and to the machines, in one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mailwright.command.console import AsJson, Limit, commands, note, problem, say
from mailwright.command.dnsview import show_plans
from mailwright.command.hosts import MachinePlan, Run, read_plan
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.command.planfile import as_data, save
from mailwright.dkim.outlook import pending
from mailwright.dkim.world import longest_queue
from mailwright.hostkeys import advice
from mailwright.model.errors import MailwrightError
from mailwright.model.select import select
from mailwright.publish import Plans, plan_site

app = commands()

CHANGES = 2
"""Exit status when something would change."""

WithDns = Annotated[bool, typer.Option("--dns/--no-dns", help="The fleet's zones, too.")]


@app.command()
def plan(
    inventory: Inventory,
    limit: Limit = None,
    dns: WithDns = True,
    as_json: AsJson = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save the plan, to apply nothing else.")
    ] = None,
) -> int:
    """Show what would change, with diffs, and change nothing.

        mailwright plan inventory/prod.yaml --limit out1
        mailwright plan inventory/prod.yaml --out plan.json

    Exit status: 0 nothing to do, 1 a machine or a zone cannot be planned, 2 there are changes.
    """
    site = open_site(inventory)
    names = [machine.name for machine in select(site.fleet, limit or [])]
    zones = plan_site(site) if dns and site.fleet.providers else None
    if not as_json:
        note(f"asking {', '.join(names)}")
        if told := advice(site.fleet.machines):
            note(told)
    with Run(repository(inventory), shim_of(inventory), names, dry=True) as run:
        machines = read_plan(run.events(), names)
    keys = list(pending(site.fleet, site.keyring, longest_queue(site)))
    if out:
        save(out, as_data(machines, zones))
    if as_json:
        say(json.dumps(as_data(machines, zones) | {"dkim": keys}, indent=2))
    else:
        show(machines, zones)
        for line in keys:
            say(f"dkim: {line} (mailwright dkim)", "dim")
    return status(machines, zones)


def shim_of(inventory: Path) -> Path:
    """The inventory that pyinfra reads for a fleet file, which lies beside it.

    Raises:
        MailwrightError: there is none.
    """
    shim = inventory.with_suffix(".py")
    if not shim.is_file():
        raise MailwrightError(f"{shim}: no such file; pyinfra reads the fleet through it")
    return shim


def status(machines: Sequence[MachinePlan], zones: Plans | None) -> int:
    """The exit status of a plan."""
    if any(machine.problem for machine in machines) or (zones and zones.blocked):
        return 1
    return CHANGES if any(machine.changes for machine in machines) or (zones and zones.changed) else 0


def show(machines: Sequence[MachinePlan], zones: Plans | None) -> None:
    """Print a plan: what is to be done on each machine with its diffs, then the DNS."""
    for machine in machines:
        if machine.problem:
            problem(f"{machine.name}  cannot be planned: {machine.problem}")
            continue
        todo = f"{len(machine.changes)} to change" if machine.changes else "nothing to do"
        say(f"{machine.name}  {todo}, {machine.unchanged} unchanged", "bold")
        for operation, details in machine.changes:
            say(f"  {operation}", "yellow")
            for line in details.splitlines():
                say(f"    {line.removeprefix(f'{operation}: ')}", _style(line))
    if zones:
        show_plans(zones)


def _style(line: str) -> str | None:
    """Lines of a diff are indented below the line that says what changes."""
    return {"  +": "green", "  -": "red", "  @": "cyan"}.get(line[:3])

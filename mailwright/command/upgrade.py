"""`mailwright upgrade`: package updates, machine by machine out of the traffic, each one proved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from mailwright.command import plan as deploying
from mailwright.command.alone import alone
from mailwright.command.around import Around
from mailwright.command.console import AsJson, Limit, commands, note, say
from mailwright.command.hosts import MachinePlan
from mailwright.command.inventory import Inventory, open_site
from mailwright.command.leaving import Cut, Force, Wait, terms
from mailwright.command.turns import require_planned
from mailwright.command.upgradeview import as_data, show
from mailwright.command.upgrading import How, Reboot, Upgrade, asked, deploy_plans
from mailwright.model.errors import ConvergeError
from mailwright.model.load import fleet_file
from mailwright.model.select import select
from mailwright.rolling.terms import ROLLING
from mailwright.upgrading.pending import Pending

app = commands()

Security = Annotated[bool, typer.Option("--security", help="Only what mends security problems.")]
Remove = Annotated[
    list[str] | None,
    typer.Option("--remove", metavar="PACKAGE", help="May be removed for another's update; repeatable."),
]
Release = Annotated[
    int | None,
    typer.Option("--release", min=13, max=13, help="To this Debian, where the fleet file says so already."),
]


@app.command()
def upgrade(
    inventory: Inventory,
    limit: Limit = None,
    *,
    security: Security = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="So many at a time.")] = 1,
    reboot: Annotated[
        Reboot, typer.Option("--reboot", help="Machines that require it: at once, or `never`.")
    ] = Reboot.AUTO,
    remove: Remove = None,
    release: Release = None,
    wait: Wait = "5m",
    cut: Cut = False,
    force: Force = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> int:
    """Upgrade packages, machine by machine, while the fleet serves.

    Shows what is pending on each machine and asks. Then each machine leaves the traffic, is upgraded and
    deployed to, rebooted if that is required, must pass its suite, and is taken back before the next one
    leaves; the standby balancer goes first. The first one that is not well stops the run and stays drained.
    A run that was stopped or killed is gone on with by the same command.

        mailwright upgrade inventory/prod.yaml --security

    Nothing is removed unless --remove names it, and configuration files stay ours. --json prints what is
    pending and does nothing.

    Exit status: 0 done or nothing to do, 1 a machine failed or cannot be upgraded; with --json 2: there is
    something to do.
    """
    how = How(security, reboot, tuple(remove or ()), release)
    conditions = terms(ROLLING, wait, cut=cut, force=force)
    site = open_site(inventory)
    names = [machine.name for machine in select(site.fleet, limit or [])]
    if release:
        names = [name for name in names if site.fleet.machine(name).debian == release]
        if not names:
            raise ConvergeError(
                f"no machine is to have Debian {release}: say `debian: {release}` in its entry first"
            )
    if not as_json:
        note(f"asking {', '.join(names)}")
    plans = asked(site, names, how, refresh=True)
    if as_json:
        say(json.dumps(as_data(plans), indent=2))
        return _status(plans, how)
    deploys = [] if release else deploy_plans(inventory, names)
    show(plans)
    deploying.show([plan for plan in deploys if plan.changes or plan.problem], None)
    require_planned({name: _problem(name, plans, deploys) for name in names})
    planned = Upgrade.of(site, inventory, how, (plans, deploys), terms=conditions, size=batch, yes=yes)
    if not planned.turns.turns:
        note("nothing to do")
        return 0
    if not yes:
        typer.confirm("Do this?", abort=True, err=True)
    with alone(fleet_file(inventory)):
        Around(site, inventory, None).before(deploys)
        return planned.run()


def _problem(name: str, plans: Sequence[Pending], deploys: Sequence[MachinePlan]) -> str:
    said = [(plan.name, plan.problem) for plan in plans] + [(plan.name, plan.problem) for plan in deploys]
    return next((why for about, why in said if about == name and why), "")


def _status(plans: Sequence[Pending], how: How) -> int:
    if any(plan.problem for plan in plans):
        return 1
    return deploying.CHANGES if any(map(how.due, plans)) else 0

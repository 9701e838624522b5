"""`mailwright apply`: publish what the machines are about to rely on, then bring them up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mailwright.command.alone import alone
from mailwright.command.around import Around
from mailwright.command.console import Limit, commands, note
from mailwright.command.converging import agreed, converge, status, summary, unchanged
from mailwright.command.hosts import MachinePlan, MachineResult, Run, read_plan
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.command.leaving import Cut, Force, Wait, terms
from mailwright.command.plan import WithDns, shim_of, show
from mailwright.command.planfile import refuse_more
from mailwright.command.rolling import Deploy
from mailwright.hostkeys import advice
from mailwright.model.errors import MailwrightError
from mailwright.model.load import fleet_file
from mailwright.model.select import select
from mailwright.publish import plan_site
from mailwright.rolling.terms import ROLLING

app = commands()


@app.command()
def apply(
    inventory: Inventory,
    limit: Limit = None,
    *,
    dns: WithDns = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Do what this saved plan says, and nothing else."),
    ] = None,
    rolling: Annotated[
        bool,
        typer.Option("--rolling", help="Machine by machine, while the fleet serves; else all side by side."),
    ] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="With --rolling: so many at a time.")] = 1,
    wait: Wait = "5m",
    cut: Cut = False,
    force: Force = False,
) -> int:
    """Show the plan, ask, publish the DNS, then change the machines.

    What the DNS gains comes before the machines: none may sign with a key or greet with a name that the
    world cannot look up, and every authoritative server must show a key before hosts change how they sign.
    What it loses goes after them, and what it announces of them (an MX, a first TLSA record, an MTA-STS
    policy) comes after them.

        mailwright apply inventory/prod.yaml --limit sending

    A plan that `mailwright plan --out` saved (--plan) has been read before, and is not asked about. What it
    does not say, diff for diff, is refused; what has been done since is not done again.

        mailwright apply inventory/prod.yaml --plan plan.json

    With --rolling each machine with changes leaves the traffic at every balancer (--wait, --cut and --force
    as for `drain`), is deployed, must pass its suite, and is taken back before the next one leaves. The
    standby balancer goes first, and the addresses to it. The first machine that is not well stops the run
    and stays drained. A run that was stopped or killed is gone on with by the same command.

        mailwright apply --rolling inventory/prod.yaml

    Exit status: 0 done or nothing to do, 1 a machine or a zone failed.
    """
    if not rolling and (batch > 1 or cut or force):
        raise MailwrightError("--batch, --cut and --force are for --rolling")
    conditions = terms(ROLLING, wait, cut=cut, force=force)
    site = open_site(inventory)
    names = [machine.name for machine in select(site.fleet, limit or [])]
    zones = plan_site(site) if dns and site.fleet.providers else None
    around = Around(site, inventory, zones)
    note(f"asking {', '.join(names)}")
    if told := advice(site.fleet.machines):
        note(told)
    with ExitStack() as until_done:
        run = until_done.enter_context(Run(repository(inventory), shim_of(inventory), names, dry=rolling))
        plans = read_plan(run.events(), names)
        if rolling:
            until_done.close()  # each machine is planned again in its turn
        show(plans, zones)
        if plan_file:
            refuse_more(plan_file, plans, zones)
        deploy = Deploy.of(site, inventory, plans, batch, conditions) if rolling else None
        if not agreed(plans, zones, more=bool(deploy and deploy.turns.turns), yes=yes or bool(plan_file)):
            return 1 if any(plan.problem for plan in plans) else 0
        until_done.enter_context(alone(fleet_file(inventory)))
        around.before(plans)
        results = deploy.run() if deploy else _side_by_side(run, plans)
    return _ended(results, deploy, around, everybody=len(names) == len(site.fleet.machines))


def _side_by_side(run: Run, plans: Sequence[MachinePlan]) -> dict[str, MachineResult]:
    return converge(run, plans) if any(plan.changes for plan in plans) else unchanged(plans)


def _ended(
    results: Mapping[str, MachineResult], deploy: Deploy | None, around: Around, *, everybody: bool
) -> int:
    """Tell how it went, and change what the DNS says last; the exit status."""
    summary(results)
    result = status(results)
    if deploy:
        deploy.turns.tell_rest()
    around.after(complete=result == 0 and everybody)
    return result

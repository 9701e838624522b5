"""`mailwright apply`: publish what the machines are about to rely on, then bring them up to date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from mailwright.command.alone import alone
from mailwright.command.console import Limit, commands, note, problem, say
from mailwright.command.hosts import MachinePlan, MachineResult, Run, note_result, read_plan
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.command.plan import WithDns, shim_of, show
from mailwright.converge.events import Event
from mailwright.dkim.effects import SIGNS
from mailwright.dkim.sight import refuse_unseen
from mailwright.model.errors import DnsError, MailwrightError
from mailwright.model.keyring import keyring_file, read_keyring
from mailwright.model.load import fleet_file
from mailwright.model.select import select
from mailwright.model.site import Site
from mailwright.publish import Plans, apply_plans, plan_site, without_removals

app = commands()


@app.command()
def apply(
    inventory: Inventory,
    limit: Limit = None,
    dns: WithDns = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Show the plan, ask, publish the DNS, then change the machines.

    What the DNS gains comes before the machines: none may sign with a key or greet with a name that the
    world cannot look up, and every authoritative server must show a key before hosts change how they sign.
    What it loses goes after them, and what it announces of them (an MX, a first TLSA record, an MTA-STS
    policy) comes after them.

        mailwright apply inventory/prod.yaml --limit sending

    Exit status: 0 done or nothing to do, 1 a machine or a zone failed.
    """
    site = open_site(inventory)
    names = [machine.name for machine in select(site.fleet, limit or [])]
    zones = plan_site(site) if dns and site.fleet.providers else None
    note(f"asking {', '.join(names)}")
    with ExitStack() as until_done, Run(repository(inventory), shim_of(inventory), names) as run:
        plans = read_plan(run.events(), names)
        show(plans, zones)
        if not _agreed(plans, zones, yes=yes):
            return 1 if any(plan.problem for plan in plans) else 0
        until_done.enter_context(alone(fleet_file(inventory)))
        _require_same_keys(site, inventory)
        results = {p.name: MachineResult(p.name, unchanged=p.unchanged, problem=p.problem) for p in plans}
        published = without_removals(zones) if zones else None
        if published and published.changed:
            apply_plans(site, published, say=note)
        if any(plan.changes for plan in plans):
            if any(name.startswith(f"{SIGNS}: ") for plan in plans for name, _ in plan.changes):
                refuse_unseen(site)
            results = _converge(run, plans)
    _summary(results)
    status = _status(results)
    if published and any(published.kept.values()):
        _remove(site, published, complete=status == 0 and len(names) == len(site.fleet.machines))
    return status


def _require_same_keys(site: Site, inventory: Path) -> None:
    """Hosts must not be handed back a key that a rotation has moved on from while somebody read the plan."""
    if read_keyring(keyring_file(fleet_file(inventory))) != site.keyring:
        raise MailwrightError(
            "a DKIM rotation went on since this was planned; nothing was done, run this again"
        )


def _agreed(plans: Sequence[MachinePlan], zones: Plans | None, *, yes: bool) -> bool:
    """Whether there is something to do that may be done and that the operator wants."""
    if zones and zones.blocked:
        raise DnsError("the DNS plan has conflicts, refusals or unread zones; nothing was done")
    if all(plan.problem for plan in plans):
        return False
    if not any(plan.changes for plan in plans) and not (zones and zones.changed):
        note("nothing to do")
        return False
    if not yes:
        typer.confirm("Do this?", abort=True, err=True)
    return True


def _remove(site: Site, published: Plans, *, complete: bool) -> None:
    """Take away what no machine needs any more and announce what all now do, once all are up to date."""
    zones = ", ".join(zone for zone, keys in published.kept.items() if keys)
    if not complete:
        note(f"{zones}: records that go or announce wait for a run over all machines that ends well")
        return
    rest = plan_site(replace(site, includes=published.includes))
    if any({c.key for c in plan.changes} - published.kept[plan.zone] for plan in rest.zones):
        raise DnsError(f"{zones}: changed meanwhile, so that nothing more was published; run this again")
    apply_plans(site, rest, say=note)


def _converge(run: Run, plans: Sequence[MachinePlan]) -> dict[str, MachineResult]:
    """Let the planned run happen, saying what it does."""
    results = {plan.name: MachineResult(plan.name, problem=plan.problem) for plan in plans}
    run.go()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    with console.status("beginning") as status:
        for event in _shown(run.events(), console, status):
            note_result(results, event)
    return results


def _shown(events: Iterator[Event], console: Console, status: Status) -> Iterator[Event]:
    """Print what changes or fails as it happens; what is as it should be only passes by."""
    for event in events:
        if event.kind == "started":
            status.update(f"{event.machine}: {event.operation}")
        elif event.kind == "finished" and event.changed:
            console.print(f"  {event.machine}  {event.operation}  ({event.seconds:.1f} s)")
        elif event.kind == "failed":
            console.print(f"  {event.machine}  {event.operation}  failed", style="red")
        yield event


def _summary(results: dict[str, MachineResult]) -> None:
    width = max(map(len, results))
    for result in results.values():
        counts = f"{result.changed} changed, {result.unchanged} unchanged"
        verdict = "failed" if result.problem else "ok"
        say(f"{result.name:{width}}  {verdict:6}  {counts}  ({result.seconds:.1f} s)")


def _status(results: dict[str, MachineResult]) -> int:
    failed = [result for result in results.values() if result.problem]
    for result in failed:
        problem(f"{result.name}: {result.problem}")
    return 1 if failed else 0

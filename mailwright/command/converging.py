"""Ask whether a plan shall happen, let it happen on the machines, and tell what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import typer
from rich.console import Console
from rich.status import Status

from mailwright.command.console import note, problem, say
from mailwright.command.hosts import MachinePlan, MachineResult, Run, note_result
from mailwright.converge.events import Event
from mailwright.model.errors import DnsError
from mailwright.publish import Plans


def agreed(plans: Sequence[MachinePlan], zones: Plans | None, *, more: bool = False, yes: bool) -> bool:
    """Whether there is something to do (`more` than the plans say) that may be done and that is wanted.

    Raises:
        DnsError: the zones stand in the way.
    """
    if zones and zones.blocked:
        raise DnsError("the DNS plan has conflicts, refusals or unread zones; nothing was done")
    if all(plan.problem for plan in plans):
        return False
    if not more and not any(plan.changes for plan in plans) and not (zones and zones.changed):
        note("nothing to do")
        return False
    if not yes:
        typer.confirm("Do this?", abort=True, err=True)
    return True


def converge(run: Run, plans: Sequence[MachinePlan]) -> dict[str, MachineResult]:
    """Let the planned run happen, saying what it does."""
    results = {plan.name: MachineResult(plan.name, problem=plan.problem) for plan in plans}
    run.go()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    with console.status("beginning") as status:
        for event in _shown(run.events(), console, status):
            note_result(results, event)
    return results


def unchanged(plans: Sequence[MachinePlan]) -> dict[str, MachineResult]:
    """The results of a run that was not begun."""
    return {p.name: MachineResult(p.name, unchanged=p.unchanged, problem=p.problem) for p in plans}


def summary(results: Mapping[str, MachineResult]) -> None:
    """A line a machine."""
    width = max(map(len, results))
    for result in results.values():
        counts = f"{result.changed} changed, {result.unchanged} unchanged"
        verdict = "failed" if result.problem else "ok"
        say(f"{result.name:{width}}  {verdict:6}  {counts}  ({result.seconds:.1f} s)")


def status(results: Mapping[str, MachineResult]) -> int:
    """The exit status of a run, with what went wrong in it."""
    failed = [result for result in results.values() if result.problem]
    for result in failed:
        problem(f"{result.name}: {result.problem}")
    return 1 if failed else 0


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

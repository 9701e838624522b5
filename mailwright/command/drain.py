"""`mailwright drain`: take a machine out of the traffic."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mailwright.command.console import commands, note, problem, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.command.leaving import Cut, Force, Leaver, Wait, require_balanced, terms, traffic_of
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.fleet import Machine
from mailwright.model.site import Site
from mailwright.queue import Mta, QueueError, peers
from mailwright.rolling.terms import BY_HAND, ROLLING
from mailwright.verify.ssh import runner

app = commands()

Queue = Annotated[
    Literal["keep", "wait", "hand-over"],
    typer.Option(
        "--queue",
        help="`keep`: it goes on delivering; `wait` until it is empty; `hand-over` to another member.",
    ),
]


@app.command()
def drain(
    inventory: Inventory,
    machine: Leaver,
    *,
    wait: Wait = "5m",
    cut: Cut = False,
    queue: Queue = "keep",
    reason: Annotated[str, typer.Option(help="Kept with it, for whoever wonders.")] = BY_HAND,
    force: Force = False,
) -> None:
    """Take a machine out of the traffic: no new sessions, and wait until those that are open have ended.

    A member is drained at every balancer in front of it, and stays so over reloads, reboots and deploys,
    until `undrain`. It goes on delivering its queue. A balancer leaves its virtual addresses to another one,
    which cuts the sessions through it; clients try again. Drained twice is drained once.

        mailwright drain inventory/prod.yaml out1 --reason "new disk"

    Who is the last to serve a pool stays. A balancer that does not answer is named; it counts only while
    nobody else holds its addresses.

    Exit status: 0 done, 1 not, or not wholly: sessions are still open, or the queue is not empty.
    """
    site = open_site(inventory)
    require_balanced(site.fleet, machine)
    conditions = terms(_clean(reason), wait, cut=cut, force=force)
    traffic_of(site.fleet).leave([machine], conditions)
    say(f"{machine}: out of the traffic")
    if site.fleet.balancers_of(machine):
        _empty(site, site.fleet.machine(machine), queue, conditions.wait)
    note(f"to take it back: mailwright undrain {inventory} {machine}")


def _clean(reason: str) -> str:
    """One line of printable text, as it is shown to others."""
    if not reason.isprintable() or not reason.strip():
        raise MailwrightError("--reason: one line of text")
    if reason.strip() == ROLLING:
        raise MailwrightError(f"--reason {ROLLING}: the next rolling run would take it back; say more")
    return reason.strip()


def _empty(site: Site, machine: Machine, how: str, patience: float) -> None:
    """Say what its queue holds, and empty it if that is wished."""
    mta = Mta.of(site.plan(machine), runner(machine))

    def tell(text: str) -> None:
        note(f"{machine.name}: {text}")

    if how == "hand-over":
        mta.hand_over_to_one(peers(site.fleet, machine), patience, tell)
    elif how == "wait":
        mta.wait_until_empty(patience, tell)
    try:
        held = mta.look()
        delivers = ", which it goes on delivering" if held.messages else ""
        say(f"{machine.name}: {held}{delivers}")
    except (QueueError, UnknownError) as error:
        # It may be drained because it is broken: that it is out of the traffic is what was asked for.
        problem(f"{machine.name}: what its queue holds is not known: {error}")

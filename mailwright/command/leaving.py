"""What commands that take machines out of the traffic have in common."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mailwright.command.console import note
from mailwright.model import names
from mailwright.model.base import seconds
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Fleet
from mailwright.rolling.balancers import Balancers
from mailwright.rolling.terms import Terms
from mailwright.rolling.traffic import Traffic
from mailwright.verify.ssh import runner

Wait = Annotated[
    str,
    typer.Option("--wait", metavar="DURATION", help="How long open sessions have, for example 90s or 5m."),
]
Cut = Annotated[bool, typer.Option("--cut", help="End sessions that are still open then.")]
Force = Annotated[bool, typer.Option("--force", help="Even if too few members go on serving.")]
Leaver = Annotated[str, typer.Argument(metavar="MACHINE", help="A member of a pool, or a balancer.")]


def terms(why: str, wait: str, *, cut: bool, force: bool) -> Terms:
    """The terms that the options say.

    Raises:
        MailwrightError: the duration is none.
    """
    if not re.match(names.DURATION, wait):
        raise MailwrightError(f"--wait {wait}: no duration; for example 90s, 5m or 1h")
    return Terms(why, float(seconds(wait)), cut, force)


def traffic_of(fleet: Fleet) -> Traffic:
    """The traffic of a fleet, whose balancers are reached by SSH."""
    balancers = dict.fromkeys(b for pool in fleet.pools for b in pool.balancers)
    return Traffic(fleet, Balancers({b: runner(fleet.machine(b)) for b in balancers}), note)


def require_balanced(fleet: Fleet, name: str) -> None:
    """Refuse a machine that has nothing to do with balancers.

    Raises:
        MailwrightError: the fleet has no such machine, or nothing balances it and it balances nothing.
    """
    if name not in {machine.name for machine in fleet.machines}:
        raise MailwrightError(f"the fleet has no machine {name}")
    if not fleet.balancers_of(name) and not fleet.balanced_by(name):
        by_name = ", ".join(pool.name for pool in fleet.pools_of(name))
        why = f"{by_name} is balanced by the DNS alone" if by_name else "it is in no pool"
        raise MailwrightError(f"{name} cannot be drained: {why}")

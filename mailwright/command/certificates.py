"""`mailwright certificates`: what is served until when, and exchanging keys that the DNS pins."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mailwright.certificate import NEXT_KEY, new_key
from mailwright.certificate import request as signing_request
from mailwright.command.alone import alone
from mailwright.command.certificates_acl import acl
from mailwright.command.certificates_report import Report, reports
from mailwright.command.console import AsJson, Limit, commands, note, say
from mailwright.command.hosts import converge
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.command.plan import shim_of
from mailwright.model.errors import MailwrightError
from mailwright.model.keyring import stamp
from mailwright.model.load import fleet_file
from mailwright.model.needs import Algorithm
from mailwright.model.secrets_store import locate
from mailwright.model.select import select
from mailwright.publish import as_dns_error
from mailwright.rollover.effects import Keys
from mailwright.rollover.roll import Roll, Wait
from mailwright.rollover.subject import Subject, pinned
from mailwright.rollover.world import RealEffects

app = commands("Show certificates, and exchange keys that TLSA records pin.")
app.command()(acl)

UNKNOWN = 3
"""Exit status where nothing is wrong, but not everything is known."""

clock = time.time
pause = time.sleep

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="The certificate, for example `smtp`; the only pinned one if left out."
    ),
]


@app.command()
def status(inventory: Inventory, limit: Limit = None, as_json: AsJson = False) -> None:
    """Show each certificate of each machine: for which names, by whom, until when, and which keys come next.

        mailwright certificates status inventory/prod.yaml

    Exit status: 0 all are valid, 1 one is missing, expired or has another's key, 3 a machine does not answer.
    """
    site = open_site(inventory)
    found = reports(site, select(site.fleet, limit or []), clock())
    if as_json:
        say(json.dumps([each.data() for each in found], indent=2))
    else:
        _show(found)
    if any(each.fault for each in found):
        raise typer.Exit(1)
    raise typer.Exit(UNKNOWN if any(each.silence for each in found) else 0)


def _show(found: list[Report]) -> None:
    for each in found:
        say(each.line, "red" if each.fault else "yellow" if each.silence else None)
        for line in each.details:
            say(f"    {line}", "dim")


@app.command()
def request(
    inventory: Inventory,
    name: Name = None,
    algorithm: Annotated[
        Algorithm, typer.Option(help="Of the key, where a certificate has several.")
    ] = "ecdsa",
) -> None:
    """Make the next key of a provided certificate, and print the request for its authority to sign.

    A key that is there already stays. What the authority gives back is set as its chain; then comes `roll`.

        mailwright certificates request inventory/prod.yaml smtp > smtp.csr

        mailwright secrets set inventory/prod.yaml certificate/smtp/next-fullchain < smtp.pem

        mailwright certificates roll inventory/prod.yaml smtp

    Exit status: 0 the request is printed, 1 it was not.
    """
    site = open_site(inventory)
    subject = pinned(site, name)
    pair = subject.holders[0].certificate.pair(algorithm)
    if pair not in subject.pairs:
        raise MailwrightError(f"no machine serves {subject.name} with an {algorithm.upper()} key")
    secret = subject.secret(pair, NEXT_KEY)
    with locate(site.fleet, fleet_file(inventory)).changing() as content:
        key = content.secrets.setdefault(secret, new_key(algorithm))
    note(f"the key is the secret {secret}")
    say(signing_request(key, subject.names).rstrip())


@app.command()
def roll(
    inventory: Inventory,
    name: Name = None,
    *,
    dry: Annotated[bool, typer.Option("--dry", help="Say what would be done, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Exchange the key that TLSA records pin: no sender ever meets one that it could not know.

    A next key is made and published beside the one in use. Once every authoritative server has shown it for
    longer than any cache may lack it, the machines are given it. When each port is seen from outside to
    serve it, the old record goes. Killed at any point, the same command goes on; the wait begins anew.

        mailwright certificates roll inventory/prod.yaml smtp

    Exit status: 0 done, 1 something stands in the way.
    """
    site = open_site(inventory)
    subject = pinned(site, name)
    effects = RealEffects(
        partial(open_site, inventory),
        subject.name,
        locate(site.fleet, fleet_file(inventory)),
        partial(_converge, inventory),
        clock,
        note,
    )
    if not effects.keys().old:
        effects.require_fit()
    for line in _steps(subject, effects.keys()):
        say(line)
    if dry:
        return
    if not yes:
        typer.confirm("Do this?", abort=True, err=True)
    with as_dns_error():
        Roll(effects, partial(alone, fleet_file(inventory)), clock, _wait, note).run()
    say(f"{subject.name}: rolled over")


def _converge(inventory: Path, machines: Sequence[str], roles: Sequence[str]) -> dict[str, str]:
    return converge(repository(inventory), shim_of(inventory), machines, roles, note)


def _steps(subject: Subject, keys: Keys) -> list[str]:
    """What is left to do, for the operator to agree to."""
    machines = ", ".join(holder.machine.name for holder in subject.holders)
    steps = []
    if not keys.old:
        keep = (
            "publish the next key, which is there already," if keys.coming else "make and publish a next key"
        )
        steps = [
            f"{keep} beside the one in use",
            "wait until every server has shown it for longer than caches may lack it",
        ]
    return [
        f"{subject.name}:",
        *(f"  {step}" for step in steps),
        f"  give it to {machines} ({', '.join(sorted(subject.roles))})",
        "  see from outside that every port serves it",
        "  take the old record and the old key away",
    ]


def _wait(wait: Wait) -> None:
    """Pass the time; on a terminal the line counts down."""
    end, done = clock() + wait.left, clock() + wait.seconds
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        note(f"waiting {wait.why}: {wait.left:.0f} s left, until {stamp(int(end))}")
        pause(max(0.0, wait.seconds))
        return
    with console.status("") as line:
        while (left := done - clock()) > 0:
            line.update(f"waiting {wait.why}: {max(0.0, end - clock()):.0f} s left")
            pause(min(left, 1.0))

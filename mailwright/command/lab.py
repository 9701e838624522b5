"""`mailwright lab`: a real fleet on this machine, and the world that judges it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from mailwright.command.console import AsJson, commands, note, say
from mailwright.lab import images, remains
from mailwright.lab.derive import write_fleet
from mailwright.lab.lab import Lab
from mailwright.lab.machine import require_root
from mailwright.lab.progress import Progress
from mailwright.model.errors import LabError
from mailwright.model.fleet import Lab as LabSection

app = commands(
    "Run a real fleet on this machine, in containers.\n\n"
    "Debian, systemd, sshd and nftables on a bridge of their own, beside a name server, a mailbox provider "
    "and a stranger. Needs root. Exit status: 0 done, 1 an error."
)

Fleet = Annotated[
    Path,
    typer.Option("--fleet", metavar="FILE", help="A fleet file with a `lab` section, or its pyinfra shim."),
]
Names = Annotated[list[str], typer.Argument(metavar="HOST", help="Hosts of the lab.")]
DEFAULT = Path("inventory/lab.yaml")


def _progress() -> Progress:
    return Progress(Console(stderr=True))


@app.command()
def up(fleet: Fleet = DEFAULT) -> None:
    """Make what is missing and start what does not run.

    The first time, this builds the images (a minute or two, kept for every later lab). Running it again
    repairs a lab that was left half-made, and does nothing to one that is whole.
    """
    lab = Lab.open(fleet)
    lab.up(_progress())
    note(f"next: mailwright apply {fleet.with_suffix('.py')}, or mailwright lab ssh HOST")


@app.command()
def down(fleet: Fleet = DEFAULT) -> None:
    """Shut the hosts down and stop everything else; disks, keys and images stay for the next `up`."""
    Lab.open(fleet).down(_progress())


@app.command()
def destroy(
    fleet: Fleet = DEFAULT,
    name: Annotated[str | None, typer.Option(help="A lab by its name, if its fleet file is gone.")] = None,
) -> None:
    """Leave no process, mount, interface or file of the lab; cached images and packages stay."""
    require_root()
    lab = name or Lab.open(fleet).plan.name
    remains.destroy(lab)
    note(f"the lab {lab} is gone")


@app.command()
def status(fleet: Fleet = DEFAULT, as_json: AsJson = False) -> None:
    """Show the hosts: whether they run, and whether they let root in over SSH."""
    require_root()
    lab = Lab.open(fleet)
    rows = lab.status()
    if as_json:
        say(json.dumps({"lab": lab.plan.name, "bridge": lab.plan.bridge, "hosts": rows}, indent=2))
        return
    head = ("HOST", "STATE", "RELEASE", "ADDRESSES", "NAME", "SNAPSHOTS")
    body = [
        (r["host"], r["state"], r["release"], ", ".join(r["addresses"]), r["fqdn"], ", ".join(r["snapshots"]))
        for r in rows
    ]
    for line in aligned([head, *body]):
        say(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns under each other; never cut short, whatever the terminal's width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


@app.command()
def prune() -> None:
    """Remove cached images that no lab of this machine uses any more."""
    require_root()
    for name in images.prune(remains.images_in_use()):
        say(name)


@app.command("list")
def list_labs() -> None:
    """List the labs on this machine by name."""
    for name in remains.labs():
        say(name)


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    host: Annotated[str, typer.Argument(help="A host of the lab, for example out1 or mailbox.")],
    command: Annotated[list[str] | None, typer.Argument(help="Run this instead of a shell.")] = None,
    fleet: Fleet = DEFAULT,
) -> None:
    """Log in to a host as root, with the lab's own key and known hosts."""
    require_root()
    chosen = Lab.open(fleet).host(host)
    os.execvp("ssh", ["ssh", *chosen.ssh_options, chosen.login, *(command or [])])  # noqa: S606 - the point


@app.command()
def reset(hosts: Names, fleet: Fleet = DEFAULT) -> None:
    """Make hosts bare again, as at their first boot, at the same addresses and host keys: about a second."""
    require_root()
    Lab.open(fleet).reset(hosts, _progress())


@app.command()
def snapshot(
    hosts: Names, label: Annotated[str, typer.Option(help="What to call it.")], fleet: Fleet = DEFAULT
) -> None:
    """Keep the disks of hosts under a label. Each reboots for it, so that nothing is half-written."""
    require_root()
    Lab.open(fleet).snapshot(hosts, label, _progress())


@app.command()
def restore(
    hosts: Names, label: Annotated[str, typer.Option(help="A snapshot's label.")], fleet: Fleet = DEFAULT
) -> None:
    """Put the disks of hosts back to a snapshot. What they run is cut off as by a power failure."""
    require_root()
    Lab.open(fleet).restore(hosts, label, _progress())


@app.command("fleet")
def fleet_of_another(
    name: Annotated[str, typer.Option(help="The new lab's name: at most 8 lower-case letters and digits.")],
    ipv4: Annotated[str, typer.Option(help="Its IPv4 network, for example 198.18.1.0/24.")],
    ipv6: Annotated[str, typer.Option(help="Its IPv6 network, for example 2001:db8:1::/64.")],
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write NAME.yaml and NAME.py.")
    ] = Path(),
    fleet: Fleet = DEFAULT,
) -> None:
    """Write the fleet file of a second lab: the same machines under another name, in other networks.

    Both can then run at the same time: `mailwright lab up --fleet NAME.yaml`.
    """
    try:
        section = LabSection(name=name, ipv4=IPv4Network(ipv4), ipv6=IPv6Network(ipv6))
    except ValidationError as error:
        raise LabError(f"--name {name}: {error.errors()[0]['msg']}") from None
    except ValueError as error:
        raise LabError(str(error)) from None
    say(str(write_fleet(fleet.with_suffix(".yaml"), section, into)))

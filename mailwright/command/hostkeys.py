"""`mailwright hostkeys`: which SSH host keys the fleet's machines are recognised by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from mailwright import hostkeys
from mailwright.command.console import AsJson, Limit, commands, note, problem, say
from mailwright.command.guide import MachineName, Operator, Yes
from mailwright.command.inventory import Inventory, open_site
from mailwright.hostkeys import HostKey, file_of, own_file, pinned, scan
from mailwright.model.document import display
from mailwright.model.errors import HostKeyError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.load import fleet_file
from mailwright.model.select import select

app = commands("Pin the SSH host keys of machines in the fleet's own known_hosts file, and look them up.")

UNKNOWN = 3
"""Exit status where nothing is wrong, but not everything is known."""
_AT_ONCE = 16
_STYLES = {"as pinned": "green", "CHANGED": "red", "not pinned": "yellow", "no answer": "yellow"}

Machines = Annotated[
    list[str] | None, typer.Argument(metavar="[MACHINE]...", help="Default: all that are not pinned yet.")
]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        metavar="SHA256:...",
        help="What its console shows: the key is pinned if it is that one, and refused if not.",
    ),
]


@dataclass(frozen=True)
class Sight:
    """A machine's pinned keys and the one that it shows."""

    machine: str
    file: str
    pinned: tuple[str, ...]
    shown: str | None
    verdict: str
    """`as pinned`, `CHANGED`, `not pinned` or `no answer`."""


@app.command()
def show(inventory: Inventory, limit: Limit = None, as_json: AsJson = False) -> int:
    """Compare the keys that machines show now with the pinned ones. Nobody logs in.

        mailwright hostkeys show inventory/prod.yaml

    Exit status: 0 all as pinned, 1 one has changed, 3 one is not pinned or does not answer.
    """
    machines = select(open_site(inventory).fleet, limit or [])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        sights = list(pool.map(lambda machine: _sight(machine, fleet_file(inventory)), machines))
    if as_json:
        say(json.dumps([asdict(sight) for sight in sights], indent=2))
    else:
        for sight in sights:
            keys = sight.shown or ", ".join(sight.pinned) or ""
            if sight.verdict == "CHANGED":
                keys = f"{', '.join(sight.pinned)} is pinned, it shows {sight.shown}"
            say(f"{sight.machine:12} {sight.verdict:10}  {keys}", _STYLES[sight.verdict])
        for file in dict.fromkeys(sight.file for sight in sights):
            if not Path(file).exists():
                note(f"{file}: no such file: `mailwright hostkeys pin {inventory}` makes it")
    if any(sight.verdict == "CHANGED" for sight in sights):
        return 1
    return 0 if all(sight.verdict == "as pinned" for sight in sights) else UNKNOWN


def _sight(machine: Machine, fleet: Path) -> Sight:
    file = file_of(machine, fleet)
    known = pinned(machine, file)
    try:
        shown = scan(machine, (key.kind for key in known))
    except HostKeyError:
        shown = None
    verdict = "no answer" if shown is None else "as pinned" if shown in known else "CHANGED"
    if shown and not known:
        verdict = "not pinned"
    return Sight(machine.name, display(file), tuple(map(str, known)), str(shown) if shown else None, verdict)


@app.command()
def pin(
    inventory: Inventory,
    machines: Machines = None,
    fingerprint: Fingerprint = None,
    yes: Yes = False,
) -> None:
    """Ask machines for their host keys, show the fingerprints, ask you, and pin them.

    Nothing vouches for what is shown here: compare it with the machine's console or what its provider says,
    or give that as `--fingerprint`. Commit the file. With it, no other known_hosts counts for this fleet.

        mailwright hostkeys pin inventory/prod.yaml

        mailwright hostkeys pin inventory/prod.yaml out3 --fingerprint SHA256:u3J...

    Exit status: 0 they are pinned, 1 one is not.
    """
    fleet, file = open_site(inventory).fleet, fleet_file(inventory)
    if fingerprint and len(machines or ()) != 1:
        raise HostKeyError("--fingerprint belongs to one MACHINE")
    chosen = select_named(fleet, machines) if machines else fleet.machines
    carried = carry_over(fleet, file)
    failed = 0
    for machine in chosen:
        known = pinned(machine, file_of(machine, file))
        if known and not machines:
            continue
        try:
            first_sight(machine, file, Operator(yes=yes), fingerprint)
        except HostKeyError as error:
            problem(str(error))
            failed += 1
    left = [m.name for m in fleet.machines if not pinned(m, file_of(m, file))]
    if carried and left:
        note(f"not pinned yet: {', '.join(left)}")
    if failed:
        raise typer.Exit(1)


def select_named(fleet: Fleet, names: Sequence[str]) -> list[Machine]:
    """Machines by their names.

    Raises:
        HostKeyError: the fleet has none of that name.
    """
    table = {machine.name: machine for machine in fleet.machines}
    if unknown := [name for name in names if name not in table]:
        raise HostKeyError(f"the fleet has no machine {', '.join(unknown)}")
    return [table[name] for name in dict.fromkeys(names)]


def carry_over(fleet: Fleet, file: Path) -> bool:
    """When a fleet gets its own file, take along what the operator has trusted so far; whether it was new."""
    fresh = [machine for machine in fleet.machines if not file_of(machine, file).exists()]
    for machine in fresh:
        if keys := pinned(machine, own_file()):
            hostkeys.pin(file_of(machine, file), machine, keys)
            say(f"pinned {machine.name}: {', '.join(map(str, keys))}, as {display(own_file())} has it")
    return bool(fresh)


def first_sight(machine: Machine, fleet: Path, operator: Operator, fingerprint: str | None = None) -> HostKey:
    """Ask a machine for its key, let the operator compare it, and pin it.

    Raises:
        HostKeyError: it shows no key, or another than `fingerprint` says.
        typer.Abort: the operator does not know it.
    """
    file = file_of(machine, fleet)
    known = pinned(machine, file)
    shown = scan(machine)
    if fingerprint and fingerprint.removesuffix("=") != shown.fingerprint:
        raise HostKeyError(f"{machine.name}: shows {shown}, not {fingerprint}; nothing was pinned")
    if shown in known:
        say(f"{machine.name}: {shown} is pinned already")
        return shown
    for key in known:
        say(f"{machine.name}: pinned so far is {key}", "yellow")
    if not fingerprint:
        say(f"{machine.name}: shows {shown}")
        operator.agree("Does its console show the same?")
    hostkeys.pin(file, machine, [shown])
    say(f"pinned {machine.name} in {display(file)}")
    return shown


@app.command()
def forget(inventory: Inventory, machine: MachineName) -> None:
    """Take a machine's key out of the file; it cannot be reached then until another is pinned.

    Exit status: 0 it is out, 1 an error.
    """
    (found,) = select_named(open_site(inventory).fleet, [machine])
    file = file_of(found, fleet_file(inventory))
    say(f"{machine}: {'taken out of' if hostkeys.forget(file, found) else 'not in'} {display(file)}")

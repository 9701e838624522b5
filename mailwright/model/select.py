"""Which machines an operator means by `--limit`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from mailwright.model.errors import FleetError
from mailwright.model.fleet import Fleet, Machine


def select(fleet: Fleet, limits: Sequence[str]) -> tuple[Machine, ...]:
    """Return the machines named by `limits` in the order of the file; all of them without a limit.

    A limit is a machine's name, or a group: a role or a label that machines have.

    Raises:
        FleetError: a limit names nothing; it must not silently mean nobody.
    """
    if not limits:
        return fleet.machines
    known = {word for machine in fleet.machines for word in _words(machine)}
    mistakes = [_mistake(limit, known) for limit in limits if limit not in known]
    if mistakes:
        raise FleetError(mistakes)
    return tuple(m for m in fleet.machines if _words(m).intersection(limits))


def _words(machine: Machine) -> set[str]:
    return {machine.name, *machine.roles, *machine.labels}


def _mistake(limit: str, known: set[str]) -> str:
    near = get_close_matches(limit, sorted(known), n=1)
    return f"--limit {limit}: no machine, role or label of that name" + (
        f"; did you mean {near[0]}?" if near else ""
    )

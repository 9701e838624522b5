"""A plan of machines and zones as data: for programs to read, and to apply nothing but what was reviewed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mailwright.command.dnsjson import plans_data
from mailwright.command.hosts import MachinePlan
from mailwright.drift.places import OPERATION as RECORD
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError
from mailwright.model.secrets_file import write_whole
from mailwright.publish import Plans


def as_data(machines: Sequence[MachinePlan], zones: Plans | None) -> dict[str, Any]:
    """A plan as plain data. Holds no secret."""
    hosts = [
        {
            "machine": machine.name,
            "problem": machine.problem or None,
            "changes": [{"operation": name, "details": details} for name, details in machine.changes],
            "unchanged": machine.unchanged,
        }
        for machine in machines
    ]
    if zones is None:
        return {"machines": hosts, "zones": None, "unread": [], "refusals": []}
    dns = plans_data(zones)
    return {"machines": hosts} | {key: dns[key] for key in ("zones", "unread", "refusals")}


def save(file: Path, data: dict[str, Any]) -> None:
    """Write a plan, whole.

    Raises:
        MailwrightError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, (json.dumps(data, indent=2) + "\n").encode(), mode=0o644)
    except OSError as error:
        raise MailwrightError(f"{display(file)}: cannot be written: {error.strerror}") from None


def refuse_more(file: Path, machines: Sequence[MachinePlan], zones: Plans | None) -> None:
    """Refuse to do what a saved plan does not say. Less is left where somebody did some of it already.

    A change counts with its diff: what was reviewed is what happens.

    Raises:
        MailwrightError: there is more to do, or the file is no plan.
    """
    try:
        reviewed = set(_steps(json.loads(file.read_text(encoding="utf-8"))))
    except OSError as error:
        raise MailwrightError(f"{display(file)}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise MailwrightError(f"{display(file)}: no plan; `mailwright plan --out FILE` writes one") from None
    more = [step for step in _steps(as_data(machines, zones)) if step not in reviewed]
    if more:
        where, what, _ = more[0]
        others = f", and {len(more) - 1} more" if more[1:] else ""
        raise MailwrightError(
            f"{display(file)} does not say what there is to do now ({where}: {what}{others}): the machines, "
            "the DNS or the fleet file have changed since; nothing was done, plan again"
        )


def _steps(data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Where, what, and how exactly: of every change in a plan, but for the record of the run itself."""
    for machine in data["machines"]:
        for change in machine["changes"]:
            if change["operation"] != RECORD:
                yield machine["machine"], change["operation"], change["details"]
    for zone in data["zones"] or ():
        for change in zone["changes"]:
            sides = json.dumps([change["old"], change["new"] and _values(change["new"])], sort_keys=True)
            yield zone["zone"], f"{change['name']} {change['type']}", sides


def _values(side: dict[str, Any]) -> dict[str, Any]:
    """A set of records without the reasons, which may be worded anew."""
    return {**{key: side[key] for key in ("name", "type", "ttl")}, "values": sorted(side["values"])}

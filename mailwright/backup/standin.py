"""The fleet as it is with a spare machine in the place of another. Pure."""

from __future__ import annotations

from typing import Any

from mailwright.model.fleet import Machine

_PLACE = ("ipv4", "ipv6", "ssh", "debian")
"""What belongs to the machine that stands in, and not to the one that it stands in for."""


def stand_in(data: dict[str, Any], name: str, spare: Machine) -> None:
    """Edit a fleet file's data: `name` is found where the spare is, closed, and there is no spare.

    It keeps its name, its host name, its roles and their settings, and so its secrets. It has the spare's
    addresses, login and Debian release.
    """
    raw = {machine["name"]: machine for machine in data["machines"]}
    machine, place = raw[name], raw[spare.name]
    for key in _PLACE:
        machine.pop(key, None)
        if key in place:
            machine[key] = place[key]
    machine["debian"] = spare.debian  # a default says so, or nobody
    machine["closed"] = True
    data["machines"] = [each for each in data["machines"] if each["name"] != spare.name]
    data.get("backup", {}).pop("spare", None)

"""Labs on this machine by their names alone, whether or not their fleet files are still there."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

from mailwright.lab import door, network, processes
from mailwright.lab.container import forget, unit_prefix
from mailwright.lab.locks import exclusive
from mailwright.lab.paths import LABS, lab_state
from mailwright.lab.shell import run
from mailwright.model.errors import LabError


def labs() -> list[str]:
    """Every lab that has a directory or a bridge, sorted."""
    links = json.loads(run(["ip", "-json", "link", "show", "type", "bridge"]))
    bridges = {link["ifname"] for link in links if link.get("ifname", "").startswith(network.PREFIX)}
    directories = {place.name for place in LABS.iterdir()} if LABS.exists() else set()
    return sorted(directories | {bridge.removeprefix(network.PREFIX) for bridge in bridges})


def images_in_use() -> set[str]:
    """Names of the images that a disk or a snapshot of any lab lies on, and of their parents."""
    stamps = [stamp.read_text() for stamp in LABS.glob("*/hosts/**/image")] if LABS.exists() else []
    return {name for stamp in stamps for name in stamp.split()}


def stop(lab: str) -> None:
    """End every process of a lab at once, and remove what they leave outside of its directory."""
    units = processes.units(unit_prefix(lab))
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(processes.kill_unit, units))
    for directory in (lab_state(lab) / "hosts").glob("*"):
        forget(lab, directory)
    door.close_door(lab)
    network.remove_bridge(network.bridge(lab))


def destroy(lab: str) -> None:
    """Leave no process, mount, interface or file of a lab.

    Raises:
        LabError: there is no lab of that name.
    """
    if lab not in labs():
        raise LabError(f"there is no lab {lab} on this machine; there is {', '.join(labs()) or 'none'}")
    with exclusive(lab_state(lab) / "hosts"):
        stop(lab)
        shutil.rmtree(lab_state(lab))
    if not any(LABS.iterdir()):
        LABS.rmdir()

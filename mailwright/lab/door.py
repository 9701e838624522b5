"""Each lab's door to packages: the proxy of `packages` as a process bound to the lab's bridge."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv4Address
from pathlib import Path

from mailwright.lab import packages, processes
from mailwright.lab.archive import Archive
from mailwright.lab.paths import PACKAGES
from mailwright.lab.shell import wait_until


def url(address: IPv4Address) -> str:
    """What apt on the lab's hosts is told."""
    return f"http://{address}:{packages.PORT}"


def open_door(lab: str, address: IPv4Address, archive: Archive, log: Path) -> None:
    """Let the hosts of a lab reach the Debian archive, and nothing else, at the bridge's address.

    Raises:
        LabError: the address cannot be bound.
    """
    if _answers(address):
        return
    processes.kill_unit(_unit(lab))
    PACKAGES.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-I", packages.__file__, f"--listen={address}", f"--cache={PACKAGES}"]
    processes.spawn(_unit(lab), [*program, *(f"--archive={a}" for a in archive.addresses)], log)
    wait_until(lambda: _answers(address), f"the package proxy on {address} (its words are in {log})")


def close_door(lab: str) -> None:
    """End the proxy; what it remembered stays."""
    processes.kill_unit(_unit(lab))


def running(lab: str) -> bool:
    """Whether the lab's proxy runs."""
    return bool(processes.members(_unit(lab)))


def _unit(lab: str) -> str:
    return f"mailwright-packages-{lab}"


def _answers(address: IPv4Address) -> bool:
    try:
        with socket.create_connection((str(address), packages.PORT), timeout=1):
            return True
    except OSError:
        return False

"""From the fleet file to what pyinfra connects to: groups of machines with their SSH settings."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from paramiko import Transport
from pyinfra.api.exceptions import PyinfraError

from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.model.load import load_site
from mailwright.model.role import Role
from mailwright.model.site import Site
from mailwright.sshconfig import configuration

FLEET_FILE = "mailwright_fleet"
"""Host data: the path of the fleet file that the machine is from."""

MACHINE = "mailwright_machine"
"""Host data: the machine's name in it. pyinfra's own name for a host may differ (`@vagrant/out1`)."""

ROLES = "mailwright_roles"
"""Host data: names of the only roles that a run is about; without it, all."""

Group = list[tuple[str, dict[str, Any]]]
"""What pyinfra takes for a group: (machine name, host data)."""


class InventoryError(PyinfraError):
    """Ends pyinfra with its message alone.

    pyinfra puts the source line of an error's traceback before its message. Here the line that matters
    is one of the fleet file, which the message begins with, so this error shows no traceback.
    """

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - whatever the attribute is
        """Hide the traceback; Python itself still keeps it."""
        return None if name == "__traceback__" else super().__getattribute__(name)


def groups(shim: str, roles: Sequence[Role]) -> dict[str, Group]:
    """Return the groups for the inventory `X.py` that stands beside the fleet file `X.yaml`.

    Every machine is in `all`, in a group for each of its roles and labels and in `debian_12` or
    `debian_13`. A name with a hyphen is there with underscores too, the way pyinfra's group data
    files need it.

    Raises:
        InventoryError: the fleet file is wrong; one line for each mistake.
    """
    file = str(Path(shim).with_suffix(".yaml"))
    try:
        site = site_of(file, tuple(roles))
        return _groups(site, file)
    except MailwrightError as e:
        raise InventoryError(str(e)) from None


@cache
def site_of(file: str, roles: tuple[Role, ...]) -> Site:
    """Load a site, once in a process.

    Raises:
        FleetError: the fleet file is wrong.
    """
    return load_site(file, roles)


def _groups(site: Site, file: str) -> dict[str, Group]:
    members: dict[str, list[Machine]] = {}
    for machine in site.fleet.machines:
        for name in (*machine.roles, *machine.labels, f"debian_{machine.debian}"):
            for spelling in dict.fromkeys((name, name.replace("-", "_"))):
                if machine not in members.setdefault(spelling, []):
                    members[spelling].append(machine)
    data = {m.name: host_data(m, file) for m in site.fleet.machines}
    everybody: Group = list(data.items())
    return {name: [(m.name, data[m.name]) for m in group] for name, group in members.items()} | {
        "all": everybody
    }


def host_data(machine: Machine, file: str) -> dict[str, Any]:
    """What pyinfra must know to reach a machine, and to find its way back to the fleet.

    Raises:
        HostKeyError: its `ssh.config` is not there; pyinfra would go on without.
    """
    ssh = machine.ssh
    data: dict[str, Any] = {
        FLEET_FILE: file,
        MACHINE: machine.name,
        "ssh_hostname": machine.ssh_address,
        "ssh_user": ssh.user,
        "ssh_paramiko_connect_kwargs": {"transport_factory": without_delay},
    }
    if config := configuration(machine):
        data["ssh_config_file"] = str(config)
    else:
        data["ssh_port"] = ssh.port
    if ssh.user != "root":
        data["_sudo"] = True
    if ssh.key is not None:
        data["ssh_key"] = _beside(file, ssh.key)
    if ssh.known_hosts is not None:
        data["ssh_known_hosts_file"] = _beside(file, ssh.known_hosts)
        data["ssh_strict_host_key_checking"] = "yes"
    return data


def _beside(file: str, path: str) -> str:
    """A path of the fleet file: relative to it, with `~` for the operator's home."""
    return str(Path(file).parent / Path(path).expanduser())


def without_delay(sock: socket.socket, **options: Any) -> Transport:  # noqa: ANN401 - paramiko's own
    """Make paramiko's transport on a socket that sends at once (TCP_NODELAY, tcp(7)).

    A remote command is several small packets each way. With Nagle's algorithm (RFC 896) each waits for
    the acknowledgement of the one before, which the other side delays (RFC 1122 4.2.3.2): about 40 ms
    a command, on any link. A proxy's channel is no TCP socket and has nothing to set.
    """
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Transport(sock, **options)

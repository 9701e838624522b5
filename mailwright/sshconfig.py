"""The OpenSSH configuration that a fleet file may name for its machines (`ssh.config`, ssh_config(5))."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mailwright.model.document import display
from mailwright.model.errors import HostKeyError
from mailwright.model.fleet import Machine


def configuration(machine: Machine) -> Path | None:
    """The configuration by which a machine is reached; `None`: the operator's own.

    `machine` is one of a loaded fleet, whose paths are absolute.

    Raises:
        HostKeyError: it is not there.
    """
    if machine.ssh.config is None:
        return None
    file = Path(machine.ssh.config)
    if not file.is_file():
        raise HostKeyError(
            f"{machine.name}: its ssh.config is not there: {display(file)}; that of virtual machines is "
            "written by `vagrant up`"
        )
    return file


def endpoint(machine: Machine) -> tuple[str, int]:
    """Address and port that ssh connects to. What a configuration makes of a name, ssh itself is asked.

    Raises:
        HostKeyError: the configuration is not there, or ssh does not understand it.
    """
    file = configuration(machine)
    if file is None:
        return machine.ssh_address, machine.ssh.port
    try:
        said = subprocess.run(
            ["ssh", "-G", "-F", file, machine.ssh_address],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise HostKeyError(f"ssh does not run: {error.strerror}") from None
    if said.returncode != 0:
        raise HostKeyError(f"{machine.name}: {display(file)}: {said.stderr.strip().splitlines()[-1]}")
    found = dict(line.split(" ", 1) for line in said.stdout.splitlines() if " " in line)
    return found["hostname"], int(found["port"])

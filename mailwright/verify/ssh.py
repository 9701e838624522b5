"""testinfra hosts out of the fleet's SSH settings."""

from __future__ import annotations

import shlex

import testinfra

from mailwright import hostkeys
from mailwright.model.errors import HostKeyError, MailwrightError, UnknownError
from mailwright.model.fleet import Machine
from mailwright.model.role import Result
from mailwright.verify.gather import Run

_NO_CONNECTION = 10
"""Seconds after which a machine that accepts no connection counts as unreachable."""


def testinfra_host(machine: Machine) -> testinfra.host.Host:
    """The machine as testinfra sees it: over OpenSSH, so that `~/.ssh/config` (a jump host, say) holds, or
    the configuration that `ssh.config` names.

    Nothing is asked at the terminal, and an unknown or changed host key is refused, as when deploying.
    One connection serves one command: the suite needs no more, and no master process stays behind.
    """
    ssh = machine.ssh
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"ConnectTimeout={_NO_CONNECTION}",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=6",
        "LogLevel=ERROR",
    ]
    if ssh.known_hosts:
        # The fleet's own file alone, as paramiko reads it: the operator's machine vouches for nobody else.
        options += [f"UserKnownHostsFile={ssh.known_hosts}", "GlobalKnownHostsFile=/dev/null"]
    if ssh.key:
        options.append("IdentitiesOnly=yes")
    address = f"[{machine.ssh_address}]" if ":" in machine.ssh_address else machine.ssh_address
    return testinfra.get_host(
        f"ssh://{ssh.user}@{address}" + ("" if ssh.config else f":{ssh.port}"),
        ssh_config=ssh.config,
        ssh_identity_file=ssh.key,
        ssh_extra_args=" ".join(f"-o {shlex.quote(option)}" for option in options),
        controlpersist=0,
        sudo=ssh.user != "root",
    )


def runner(machine: Machine) -> Run:
    """A function that runs one command on the machine through testinfra.

    It raises `UnknownError` where the machine does not answer, and `HostKeyError` where it shows another host
    key than the pinned one, which is meant to end whatever is going on.
    """

    def run(command: str) -> Result:
        try:
            result = testinfra_host(machine).run(command)
        except RuntimeError as e:  # how testinfra says that ssh itself failed (status 255)
            raise _refused(machine, _reason(e)) from None
        return Result(result.rc, result.stdout, result.stderr)

    return run


def _refused(machine: Machine, reason: str) -> MailwrightError:
    """What is said of a connection that was not made; of a host key, the sentence that says what to do."""
    if "host key" not in reason.lower():
        return UnknownError(reason)
    try:
        trouble = hostkeys.trouble(machine)
    except HostKeyError:
        trouble = None
    if trouble is None:
        return UnknownError(reason)
    return trouble if trouble.changed else UnknownError(str(trouble))


def _reason(error: RuntimeError) -> str:
    result = error.args[0] if error.args else None
    lines = [line.strip() for line in getattr(result, "stderr", "").splitlines() if line.strip()]
    return lines[-1] if lines else "ssh ended without a word"

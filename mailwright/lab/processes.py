"""Processes that outlive the command that started them, and finding them again by what they are.

No pid files: a number may belong to somebody else tomorrow. Each of these processes has a control group
named after what it is, which its descendants inherit, so that one left behind by a killed run is found
as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mailwright.lab.shell import run, wait_until
from mailwright.model.errors import LabError

SYSTEMD = Path("/run/systemd/system")
"""Exists when PID 1 is systemd (sd_booted(3))."""

# Hierarchies that a container's systemd looks at: the named one of a hybrid machine, and version 2.
_HIERARCHIES = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


AGAIN = 133
"""The exit status of systemd-nspawn when its container wants to boot anew (systemd-nspawn@.service)."""


def spawn(unit: str, argv: Sequence[str], log: Path) -> None:
    """Start `argv` in the background, in a control group of its own, with its output in `log`.

    It is started again when it ends with the status `AGAIN`.

    Under systemd it becomes the transient unit `unit`: a session that ends does not take it along,
    and `Delegate=` gives a container's systemd a control group that is its own to manage.
    """
    if SYSTEMD.exists():
        run(
            [
                *("systemd-run", "--quiet", "--collect", f"--unit={unit}", "--slice=machine.slice"),
                *("--property=Delegate=yes", "--property=KillMode=mixed", "--property=OOMPolicy=continue"),
                *(f"--property=StandardOutput=append:{log}", f"--property=StandardError=append:{log}"),
                # As Debian's own systemd-nspawn@.service has it.
                *(f"--property=RestartForceExitStatus={AGAIN}", f"--property=SuccessExitStatus={AGAIN}"),
                *argv,
            ]
        )
        return
    groups = [_made(group) for group in control_groups(unit)]
    with log.open("ab") as output:
        subprocess.Popen(
            ["sh", "-c", _ENTER, "sh", str(len(groups)), *map(str, groups), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


# Move into the control groups first, so that not one child is born outside of them.
_ENTER = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1/cgroup.procs"; shift; n=$((n-1)); done; '
    f'while "$@"; [ $? = {AGAIN} ]; do :; done'
)


def control_groups(unit: str) -> list[Path]:
    """The control group of `unit` in each hierarchy, whether or not it exists."""
    mounted = [h for h in _HIERARCHIES if (h / "cgroup.procs").exists()]
    place = f"machine.slice/{unit}.service" if SYSTEMD.exists() else f"mailwright/{unit}"
    return [h / place for h in mounted]


def _made(group: Path) -> Path:
    group.mkdir(parents=True, exist_ok=True)
    return group


def remove_control_groups(unit: str) -> None:
    """Remove the control groups that `unit` left, its children's first; systemd does that by itself."""
    if SYSTEMD.exists():
        return
    for group in control_groups(unit):
        for path, _, _ in os.walk(group, topdown=False):
            _rmdir(Path(path))
        _rmdir(group.parent)


def _rmdir(path: Path) -> None:
    with suppress(OSError):  # in use by another lab, or gone already
        path.rmdir()


def members(unit: str) -> list[int]:
    """Every process started by `spawn(unit, ...)`, its descendants and a container's inside included."""
    found: set[int] = set()
    for group in control_groups(unit)[:1]:  # each process is in every hierarchy
        for path, _, _ in os.walk(group):
            with suppress(OSError):  # removed meanwhile
                found.update(map(int, Path(path, "cgroup.procs").read_text().split()))
    return sorted(found)


def units(prefix: str) -> set[str]:
    """Names of units that have a process and begin with `prefix`."""
    parents = {group.parent for group in control_groups(prefix)[:1]}
    names = {place.name.removesuffix(".service") for parent in parents for place in parent.glob(f"{prefix}*")}
    return {name for name in names if members(name)}


def kill_unit(unit: str) -> None:
    """End every process of `unit` at once; none is left when this returns, nor its control group."""

    def gone() -> bool:
        left = members(unit)
        send(left, signal.SIGKILL)
        return not left

    wait_until(gone, f"{unit} ends", timeout=10, interval=0.02)
    remove_control_groups(unit)


def freeze(unit: str, *, frozen: bool = True) -> None:
    """Stop every process of `unit` where it stands, or let them go on.

    What the kernel does for them goes on all the same: connections are accepted, packets acknowledged.
    See the freezer in the kernel's cgroup-v2 manual, which a version 1 machine has beside its own.

    Raises:
        LabError: it has no control group that can be frozen, or did not get there within 10 seconds.
    """
    group = next((g for g in control_groups(unit) if (g / "cgroup.freeze").exists()), None)
    if group is None:
        raise LabError(f"{unit} cannot be frozen: it has no control group of version 2")
    (group / "cgroup.freeze").write_text(f"{frozen:d}")
    state, there = group / "cgroup.events", f"frozen {frozen:d}"
    wait_until(lambda: there in state.read_text(), f"{unit} is at `{there}`", timeout=10)


def name(pid: int) -> str:
    """The program's name (the first 15 characters, as the kernel keeps it); empty when it ended."""
    return _status(pid).get("Name", "")


def inner_pids(pid: int) -> list[int]:
    """The process's number in this PID namespace and in each one further in; empty when it ended."""
    return [int(number) for number in _status(pid).get("NSpid", "").split()]


def _status(pid: int) -> dict[str, str]:
    """proc_pid_status(5)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}  # ended meanwhile
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected does not."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def _stat(pid: int) -> list[str]:
    """State, parent and so on: what follows the name, which may hold anything, in proc_pid_stat(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []  # ended meanwhile


def send(pids: Sequence[int], number: int) -> None:
    """Signal processes; those that ended already do not matter."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def stop(pids: Sequence[int], what: str, grace: float = 5) -> None:
    """End processes: asked first, killed after `grace` seconds, and gone when this returns."""
    send(pids, signal.SIGTERM)
    try:
        wait_until(lambda: not any(map(alive, pids)), what, timeout=grace)
    except Exception:  # noqa: BLE001 - whatever hindered the wait, they must go
        send(pids, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), f"{what}: killed, yet there")

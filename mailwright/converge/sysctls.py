"""Kernel settings: one file with their reasons, and the live values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailwright.converge.files import Changes, compare
from mailwright.converge.files import apply as apply_files
from mailwright.converge.shell import words
from mailwright.model.needs import Absent, File, Needs, Sysctl
from mailwright.observe.places import SYSCTL_FILE
from mailwright.observe.script import proc_path
from mailwright.observe.state import Observation


@dataclass(frozen=True)
class Plan:
    """What differs on disk and in the running kernel."""

    file: Changes
    live: tuple[Sysctl, ...]
    lines: tuple[str, ...]
    foreign: tuple[str, ...]
    """Settings that only the machine around this container could make: sentences for the operator."""
    obstacles: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.file or self.live or self.obstacles)


def decide(sysctls: Iterable[Sysctl], seen: Observation) -> Plan:
    """Compare the settings with what was seen.

    A setting that the kernel does not offer here is reported, never silently left: in a container as
    the business of the machine around it, elsewhere as an obstacle (a wrong key, a missing module).
    """
    sysctls = tuple(sysctls)
    live: list[Sysctl] = []
    foreign: list[str] = []
    obstacles: list[str] = []
    lines: list[str] = []
    for setting in sysctls:
        state = seen.sysctls.get(setting.key)
        wanted = " ".join(setting.value.split())
        if state is not None and state.value == wanted:
            continue
        is_now = state.value if state is not None else "missing"
        if state is not None and state.writable:
            live.append(setting)
            lines.append(f"{setting.key}: {is_now} -> {wanted}")
        elif seen.container:
            foreign.append(f"{setting.key} is {is_now}, not {wanted}: only the machine around can set it")
        else:
            obstacles.append(f"this kernel has no setting {setting.key} that could be {wanted}")
    return Plan(compare(needs(sysctls), seen), tuple(live), tuple(lines), tuple(foreign), tuple(obstacles))


def needs(sysctls: Iterable[Sysctl]) -> Needs:
    """The file that makes the settings again at boot, or its absence."""
    entries = [f"# {s.reason}\n{s.key} = {s.value}\n" for s in sysctls]
    if not entries:
        return Needs(absent=(Absent(SYSCTL_FILE),))
    head = "# Written by mailwright: do not edit.\n\n"
    return Needs(files=(File(SYSCTL_FILE, (head + "\n".join(entries)).encode()),))


def apply(plan: Plan) -> str:
    """Return the shell text that writes the file and sets what is not set."""
    return "\n".join([*([apply_files(plan.file)] if plan.file else []), *map(_set, plan.live)])


def _set(setting: Sysctl) -> str:
    path = words("/proc/sys/" + proc_path(setting.key))
    refusal = words(f"the kernel refuses {setting.key} = {setting.value}")
    return f"echo {words(setting.value)} >{path} || fail {refusal}"

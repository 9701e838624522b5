"""The answer: from the script's output to an `Observation`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailwright.observe.places import taken
from mailwright.observe.script import BUSY, FOOTER, HEADER, proc_path
from mailwright.observe.state import (
    GroupState,
    Observation,
    ObservationError,
    PackageState,
    PathKind,
    PathState,
    SysctlState,
    UnitState,
    UserState,
)

_KINDS: dict[str, PathKind] = {"f": "file", "d": "directory", "l": "link"}
_PATH = re.compile(r"(\S) (\S+) (\S+) ([0-7]+) (-?[\d.]+) (-?[\d.]+) (.*)", re.DOTALL)
_DIGEST = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.*)", re.DOTALL)
_STEP = 1.0
"""Seconds by which two clocks may disagree before the time of day is taken to have been set."""


@dataclass
class _Answer:
    """The lines of an answer, sorted by what they speak of."""

    tagged: dict[str, list[str]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """By path below /proc/sys."""
    units: list[dict[str, str]] = field(default_factory=list)

    def all(self, tag: str) -> list[str]:
        return self.tagged.get(tag, [])

    def one(self, tag: str) -> str:
        values = self.all(tag)
        if len(values) != 1:
            raise ObservationError(f"the machine's answer has {len(values)} lines of `{tag}`, wanted one")
        return values[0]


def parse(output: str) -> Observation:
    """Read what the script printed. What stands before its header (a login banner) is skipped.

    Raises:
        ObservationError: the output is no whole observation, or another run is changing the machine.
    """
    answer = _sort(_body(output.split("\n")))
    try:
        return _observation(answer)
    except (ValueError, IndexError, KeyError) as e:
        raise ObservationError(f"the machine's answer cannot be read: {e}") from e


def _body(lines: list[str]) -> list[str]:
    if BUSY in lines:
        raise ObservationError("another run is still changing this machine (it holds the lock)")
    try:
        start = lines.index(HEADER)
        return lines[start + 1 : lines.index(FOOTER, start)]
    except ValueError:
        said = " / ".join(line for line in lines if line.strip())[:300]
        raise ObservationError(f"the machine's answer is not whole; it said: {said or 'nothing'}") from None


def _sort(lines: list[str]) -> _Answer:
    answer = _Answer()
    rest = iter(lines)
    for line in rest:
        if match := _DIGEST.fullmatch(line):
            answer.digests[_unescape(match[3]) if match[1] else match[3]] = match[2]
        elif line.startswith("/proc/sys/"):
            path, _, value = line.partition(":")
            answer.settings[path.removeprefix("/proc/sys/")] = value
        elif line == "units":
            answer.units = list(_blocks(rest))
        elif line:
            tag, _, value = line.partition(" ")
            answer.tagged.setdefault(tag, []).append(value)
    return answer


def _blocks(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    block: dict[str, str] = {}
    for line in lines:
        if line == "units-end":
            break
        if line:
            key, _, value = line.partition("=")
            block[key] = value
        elif block:
            yield block
            block = {}
    if block:
        yield block


def _unescape(name: str) -> str:
    """Undo sha256sum's escaping of odd names."""
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), name)


def _observation(answer: _Answer) -> Observation:
    clock, uptime = float(answer.one("clock")), float(answer.one("uptime"))
    release = dict(line.split("=", 1) for line in answer.all("release"))
    paths = dict(_paths(answer))
    if "/" not in paths:
        raise ObservationError("the machine cannot list files (is find there?)")
    packages = dict(_package(line) for line in answer.all("package"))
    return Observation(
        clock=clock,
        uid=int(answer.one("uid")),
        distribution=release.get("ID", "").strip("\"'"),
        release=release.get("VERSION_ID", "").strip("\"'"),
        container="".join(answer.all("container")[:1]),
        paths=paths,
        packages=packages,
        broken=tuple(sorted(n for n, p in packages.items() if _is_broken(p))),
        interrupted="interrupted" in answer.tagged,
        our_policy="policy" in answer.tagged,
        users=dict(_user(line) for line in answer.all("passwd")),
        groups=dict(_group(line) for line in answer.all("group") if line.count(":") == 3),  # noqa: PLR2004 - group(5)
        sysctls=dict(_sysctl(line, answer.settings) for line in answer.all("sysctl")),
        units=dict(_units(answer.units, paths, clock, uptime)),
        tests={key: status == "0" for key, status in (t.split(" ") for t in answer.all("test"))},
    )


def _paths(answer: _Answer) -> Iterator[tuple[str, PathState]]:
    for line in answer.all("path"):
        match = _PATH.fullmatch(line)
        if match is None:
            raise ValueError(f"path {line!r}")
        kind, owner, group, mode, ctime, mtime, path = match.groups()
        yield (
            path,
            PathState(
                kind=_KINDS.get(kind, "other"),
                owner=owner,
                group=group,
                mode=int(mode, 8),
                ctime=float(ctime),
                mtime=float(mtime),
                sha256=answer.digests.get(path),
            ),
        )


def _package(line: str) -> tuple[str, PackageState]:
    status, name, version = line.split("|")
    return name, PackageState(version, status.rstrip())


def _is_broken(package: PackageState) -> bool:
    return package.status not in ("ii", "hi", "rc", "un", "pn")


def _user(line: str) -> tuple[str, UserState]:
    name, _, uid, gid, _, home, shell = line.split(":")
    return name, UserState(int(uid), int(gid), home, shell)


def _group(line: str) -> tuple[str, GroupState]:
    name, _, gid, members = line.split(":")
    return name, GroupState(int(gid), frozenset(m for m in members.split(",") if m))


def _sysctl(line: str, settings: dict[str, str]) -> tuple[str, SysctlState]:
    key, mode = line.split()
    return key, SysctlState(" ".join(settings.get(proc_path(key), "").split()), mode == "w")


def _units(
    blocks: Iterable[dict[str, str]], paths: dict[str, PathState], clock: float, uptime: float
) -> Iterator[tuple[str, UnitState]]:
    for block in blocks:
        began = _began(block, clock, uptime)
        for name in block.get("Names", "").split():
            stamp = paths.get(taken(name))
            yield (
                name,
                UnitState(
                    load=block.get("LoadState", ""),
                    active=block.get("ActiveState", ""),
                    sub=block.get("SubState", ""),
                    file_state=block.get("UnitFileState", ""),
                    type=block.get("Type", ""),
                    result=block.get("Result", ""),
                    stale=block.get("NeedDaemonReload") == "yes",
                    remains=block.get("RemainAfterExit") == "yes",
                    began=began,
                    taken=stamp.mtime if stamp else None,
                    skipped=block.get("ConditionResult") == "no"
                    and block.get("ConditionTimestampMonotonic", "0") != "0",
                ),
            )


def _began(block: dict[str, str], clock: float, uptime: float) -> float | None:
    """When the unit left the inactive state, on the clock that files are stamped with today.

    systemd remembers the time of day of that moment, exact to the microsecond, and the time since
    boot. They agree unless the time of day was set in between (a step at boot, a wrong clock put
    right); then only the time since boot can be compared with what is stamped from now on.
    """
    since_boot = int(block.get("InactiveExitTimestampMonotonic") or 0) / 1e6
    text = block.get("InactiveExitTimestamp", "")
    if not since_boot or text in ("", "n/a"):
        return None
    remembered = datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=UTC)
    computed = clock - (uptime - since_boot)
    exact = remembered.timestamp()
    return exact if abs(exact - computed) < _STEP else computed

"""What a machine says of itself: the observation, typed and frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mailwright.model.errors import MailwrightError


class ObservationError(MailwrightError):
    """A machine did not answer, or with something that is no observation."""


PathKind = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True)
class PathState:
    """What lies at a path (the link itself, if it is one). Times are seconds since the epoch."""

    kind: PathKind
    owner: str
    """The name; the number in decimal when no account has it."""
    group: str
    mode: int
    ctime: float
    """Content, owner, mode or name last changed. The kernel's tick: up to 10 ms early."""
    mtime: float
    sha256: str | None
    """Hexadecimal; `None` for anything but a readable regular file."""


@dataclass(frozen=True)
class PackageState:
    """A package that is there in some state."""

    version: str
    status: str
    """dpkg's abbreviation (dpkg-query(1)), for example `ii` or `iF`."""

    @property
    def installed(self) -> bool:
        """Unpacked and configured."""
        return self.status in ("ii", "hi")


@dataclass(frozen=True)
class UserState:
    """A line of /etc/passwd."""

    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True)
class GroupState:
    """A line of /etc/group; `members` are those it lists, not those who have it as primary group."""

    gid: int
    members: frozenset[str]


@dataclass(frozen=True)
class SysctlState:
    """A kernel setting as it is now, runs of white space as one space.

    Not `writable`: /proc/sys is read-only here, because the setting belongs to the machine around this
    container.
    """

    value: str
    writable: bool


@dataclass(frozen=True)
class UnitState:
    """A systemd unit (systemctl(1) `show`; org.freedesktop.systemd1(5) for the words)."""

    load: str
    active: str
    sub: str
    file_state: str
    """`enabled`, `disabled`, `static`, `masked` ...; empty when there is no unit file."""
    type: str
    """`Type=` of a service; empty for other units."""
    result: str
    """`success` unless the last run went wrong."""
    stale: bool
    """Its unit file or drop-ins changed since systemd read them (`NeedDaemonReload`)."""
    remains: bool
    """`RemainAfterExit=`: a oneshot that counts as active after it is done."""
    began: float | None
    """When it last left the inactive state (it reads its configuration after that), on today's clock.
    `None`: not since boot."""
    taken: float | None
    """When it last began a successful reload by us."""
    skipped: bool = False
    """A condition in its unit file did not hold when it was last to start (systemd.unit(5), Conditions):
    a clock that a container may not set, for example. systemd counts that as success, and so do we."""

    @property
    def exists(self) -> bool:
        """Systemd knows a unit file for it."""
        return self.load not in ("not-found", "")

    @property
    def running(self) -> bool:
        """Active, or on its way out of a reload."""
        return self.active in ("active", "reloading")


@dataclass(frozen=True)
class Observation:
    """One look at a machine. What is missing from a mapping is missing on the machine."""

    clock: float
    """The machine's time of day, in seconds since the epoch."""
    uid: int
    """Who looked: anything but 0 cannot change the machine either."""
    distribution: str
    release: str
    """`ID` and `VERSION_ID` of os-release(5): `debian` and `12`."""
    container: str
    """The container manager's name (systemd's /run/systemd/container); empty on a real or virtual machine."""
    paths: Mapping[str, PathState]
    packages: Mapping[str, PackageState]
    """Those that were asked for."""
    broken: tuple[str, ...]
    """Packages of any name that are half-installed or wait to be configured."""
    interrupted: bool
    """dpkg was killed while it wrote its database: `dpkg --configure -a` first."""
    our_policy: bool
    """A policy-rc.d of ours is in place: an installation was cut short."""
    users: Mapping[str, UserState]
    groups: Mapping[str, GroupState]
    sysctls: Mapping[str, SysctlState]
    units: Mapping[str, UnitState]
    tests: Mapping[str, bool]
    """By `key_of_test`."""

    def without(self, paths: Collection[str]) -> Observation:
        """The same look, as if these paths were missing on the machine."""
        return replace(self, paths={path: state for path, state in self.paths.items() if path not in paths})

    def passed(self, test: str) -> bool:
        """Whether the shell test `test` succeeded; `False` if it was not among those asked."""
        return self.tests.get(key_of_test(test), False)


def key_of_test(test: str) -> str:
    """A short name for a shell test, the same on both sides."""
    return hashlib.sha256(test.encode()).hexdigest()[:16]

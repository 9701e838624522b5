"""What is on a machine: packages, accounts, files, kernel settings and units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mailwright.model.errors import NeedsError
from mailwright.model.needs.valid import ACCOUNT, PACKAGE, SYSCTL, UNIT, check, check_owner, check_path


@dataclass(frozen=True)
class Package:
    """A Debian package, by name, installed without its recommendations."""

    name: str
    unattended: bool = True
    """Whether unattended-upgrades may exchange it in the night; else only `mailwright upgrade` does, once the
    machine is out of the traffic."""

    def __post_init__(self) -> None:
        """Refuse what is no package name."""
        check("package name", self.name, PACKAGE)


@dataclass(frozen=True)
class Group:
    """A group of its own, beside those of accounts."""

    name: str
    gid: int

    def __post_init__(self) -> None:
        """Refuse a name that Debian would."""
        check("user or group name", self.name, ACCOUNT)


@dataclass(frozen=True)
class User:
    """A system or login account.

    `uid` and `gid` are fixed by the fleet where files of the account are backed up. `None` lets Debian
    choose. A package's account is given its numbers (mailwright/model/accounts.py) before the package
    arrives, which then keeps them; `found` says what of one that is there with others.
    """

    name: str
    uid: int | None = None
    gid: int | None = None
    group: str | None = None
    """Primary group; `None`: one named like the user."""
    groups: tuple[str, ...] = ()
    """Supplementary groups that must hold the user; others are left alone."""
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    system: bool = True
    found: Literal["refuse", "keep"] = "refuse"
    """With other numbers than these: `refuse`, because somebody else's files might become its own; `keep`,
    for a package's account on a machine that had the package first."""
    brings: tuple[Group, ...] = ()
    """Further groups that its package would make. Those that are there keep their numbers."""
    keys: tuple[str, ...] = ()
    """OpenSSH public keys of a login account: the whole content of its authorized_keys."""

    def __post_init__(self) -> None:
        """Refuse names and paths that Debian would, and keys of more than a line."""
        for name in (self.name, self.primary_group, *self.groups):
            check("user or group name", name, ACCOUNT)
        check_path(self.home)
        check_path(self.shell)
        if any(not key.strip() or not key.isprintable() for key in self.keys):
            raise NeedsError(f"user {self.name}: an SSH key is one line of text")

    @property
    def primary_group(self) -> str:
        """The name of the primary group."""
        return self.group or self.name

    @property
    def managed_keys(self) -> bool:
        """Whether authorized_keys is ours. A login account without keys has an empty one."""
        return bool(self.keys) or not self.system

    @property
    def ssh_directory(self) -> str:
        """Where sshd looks for the account's keys."""
        return f"{self.home}/.ssh"

    @property
    def authorized_keys(self) -> str:
        """The file of the account's keys (sshd(8))."""
        return f"{self.ssh_directory}/authorized_keys"


@dataclass(frozen=True)
class Directory:
    """A directory with its owner and mode (an octal number, for example `0o750`)."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755

    def __post_init__(self) -> None:
        """Refuse a path, a name or a mode that is none."""
        check_path(self.path)
        check_owner(self.owner, self.group, self.mode)


@dataclass(frozen=True)
class File:
    """A file with its whole content.

    A `secret` file is never shown in a diff, and its content travels on standard input only.
    """

    path: str
    content: bytes = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    secret: bool = False

    def __post_init__(self) -> None:
        """Refuse a path, a name or a mode that is none."""
        check_path(self.path)
        check_owner(self.owner, self.group, self.mode)


@dataclass(frozen=True)
class Absent:
    """A file that must not be there: a package's default that would add to our configuration."""

    path: str

    def __post_init__(self) -> None:
        """Refuse a path that is none."""
        check_path(self.path)


@dataclass(frozen=True)
class Sysctl:
    """A kernel setting, live and on disk, with the reason an operator reads.

    In a container some settings belong to the machine around it: they are written to disk and
    reported, not set.
    """

    key: str
    value: str
    reason: str

    def __post_init__(self) -> None:
        """Refuse what is no key, and values or reasons of more than a line."""
        check("sysctl key", self.key, SYSCTL)
        if not self.value.strip() or not (self.value + self.reason).isprintable():
            raise NeedsError(f"sysctl {self.key}: value and reason are one line of text each")


@dataclass(frozen=True)
class Unit:
    """A systemd unit.

    It is restarted (or reloaded) when a file in `reads` is newer than the moment it last took its
    configuration: an owed restart is a fact of the host, so an aborted run cannot lose it.
    `reads` may name directories: every file of the needs below one counts.
    """

    name: str
    reads: tuple[str, ...] = ()
    enabled: bool = True
    running: bool = True
    reload: bool = False
    """Take a new configuration by `systemctl reload` instead of a restart."""
    check: str = ""
    """Shell that succeeds when the configuration on the disk may be taken, for what reloads it by itself."""
    fenced: bool = False
    """Must not run on a machine that another one has taken the place of: the fence of the role `backup`
    keeps it from starting there."""
    masked: bool = False
    """Must not exist at all for systemd; `enabled` and `running` are then ignored."""

    def __post_init__(self) -> None:
        """Refuse what is no unit name (its suffix is part of it) and what is no path."""
        check("unit name with its suffix", self.name, UNIT)
        for path in self.reads:
            check_path(path)

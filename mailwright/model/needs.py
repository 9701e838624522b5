"""What a machine needs, said by its roles: the only channel between them.

A role never reaches into another. It says what it needs, the needs of all roles of a machine are
merged, and whoever serves them (firewall, monitoring, backup, the zone, the verification suite)
reads the sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from mailwright.model.errors import NeedsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Protocol = Literal["tcp", "udp", "vrrp"]
Algorithm = Literal["ecdsa", "rsa"]
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa", "rsa")

# What Debian allows: deb-control(5) Package, useradd(8), systemd.unit(5), sysctl.d(5).
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)"
)
_SYSCTL = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_:@-]+)+")
_MODE_LIMIT = 0o7777


def _check(kind: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise NeedsError(f"not a {kind}: {value[:80]!r}")


def _check_path(path: str) -> None:
    parts = path.split("/")
    whole = path.startswith("/") and path != "/" and not {"", ".", ".."} & set(parts[1:])
    if not whole or not path.isprintable():
        raise NeedsError(f"not an absolute, normalised path without control characters: {path[:80]!r}")


def _check_owner(owner: str, group: str, mode: int) -> None:
    _check("user name", owner, _ACCOUNT)
    _check("group name", group, _ACCOUNT)
    if not 0 <= mode <= _MODE_LIMIT:
        raise NeedsError(f"not a file mode: {mode!r}")


@dataclass(frozen=True)
class Package:
    """A Debian package, by name, installed without its recommendations."""

    name: str

    def __post_init__(self) -> None:
        """Refuse what is no package name."""
        _check("package name", self.name, _PACKAGE)


@dataclass(frozen=True)
class User:
    """A system or login account.

    `uid` and `gid` are fixed by the fleet where files of the account are backed up: owners are
    restored by number. `None` lets Debian choose.
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
    keys: tuple[str, ...] = ()
    """OpenSSH public keys of a login account: the whole content of its authorized_keys."""

    def __post_init__(self) -> None:
        """Refuse names and paths that Debian would, and keys of more than a line."""
        for name in (self.name, self.primary_group, *self.groups):
            _check("user or group name", name, _ACCOUNT)
        _check_path(self.home)
        _check_path(self.shell)
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
        _check_path(self.path)
        _check_owner(self.owner, self.group, self.mode)


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
        _check_path(self.path)
        _check_owner(self.owner, self.group, self.mode)


@dataclass(frozen=True)
class Absent:
    """A file that must not be there: a package's default that would add to our configuration."""

    path: str

    def __post_init__(self) -> None:
        """Refuse a path that is none."""
        _check_path(self.path)


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
        _check("sysctl key", self.key, _SYSCTL)
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
    masked: bool = False
    """Must not exist at all for systemd; `enabled` and `running` are then ignored."""

    def __post_init__(self) -> None:
        """Refuse what is no unit name (its suffix is part of it) and what is no path."""
        _check("unit name with its suffix", self.name, _UNIT)
        for path in self.reads:
            _check_path(path)


@dataclass(frozen=True)
class Port:
    """A listening port and who may reach it.

    `audience`: `public`, `fleet` (every machine of the fleet file), `admin`, `local` (this machine
    only: declared so that the port scan and the verification know it), a named network, or a tuple
    with the names of the only machines that may.
    """

    number: int
    proto: Protocol
    audience: str | tuple[str, ...]
    reason: str
    at: tuple[str, ...] = ()
    """The addresses it is served at, virtual ones for example. Empty: every address of the machine."""
    brief: bool = False
    """Served now and then for some seconds: open, and no fault while nothing listens."""

    @property
    def readers(self) -> str:
        """The audience as one word."""
        return self.audience if isinstance(self.audience, str) else ",".join(self.audience)


@dataclass(frozen=True)
class Scrape:
    """A metrics endpoint for the monitoring role."""

    name: str
    port: int
    path: str = "/metrics"


@dataclass(frozen=True)
class BackupPath:
    """A path to back up, by retention class."""

    path: str
    reason: str
    retention: Literal["long", "short"] = "long"


@dataclass(frozen=True)
class Record:
    """A DNS record this machine needs the world to see.

    `name` is lower-case, absolute and dotted; `value` is in presentation format, except for TXT,
    where it is the plain text without quotes or chunks.
    """

    name: str
    type: str
    value: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as files on the host."""

    algorithm: Algorithm
    prefix: str
    """What the names of its files, and of its secrets, begin with."""
    chain: str
    key: str


_PREFIXES: dict[Algorithm, str] = {"ecdsa": "", "rsa": "rsa-"}


@dataclass(frozen=True)
class Certificate:
    """A certificate that a role wants under `/etc/mailwright/certificates/NAME/`.

    The certificates role puts `fullchain.pem` and `privkey.pem` there (the key 0640, group `group`),
    with `rsa` among `algorithms` also `rsa-fullchain.pem` and `rsa-privkey.pem`, and when it exchanges
    them, units are reloaded or restarted by reading them. `names` are absolute and dotted.
    """

    name: str
    names: tuple[str, ...]
    group: str = "root"
    pinned: tuple[int, ...] = ()
    """TCP ports on which it is served and at which TLSA records name its key beforehand (RFC 7672)."""
    algorithms: tuple[Algorithm, ...] = ("ecdsa",)
    """The algorithms of its keys: a pair for each."""

    @property
    def directory(self) -> str:
        """Where the pairs lie on the host."""
        return f"/etc/mailwright/certificates/{self.name}"

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pair of each algorithm."""
        return tuple(map(self.pair, self.algorithms))

    def pair(self, algorithm: Algorithm) -> Pair:
        """The pair of an algorithm, whether it is asked for or not."""
        prefix = _PREFIXES[algorithm]
        start = f"{self.directory}/{prefix}"
        return Pair(algorithm, prefix, f"{start}fullchain.pem", f"{start}privkey.pem")

    def demanded(self, pair: Pair) -> str | None:
        """The algorithm that a provided key must be of; the operator's choice where there is one only."""
        return pair.algorithm if len(self.algorithms) > 1 else None


@dataclass(frozen=True)
class Milter:
    """A mail filter that the machine's MTA passes mail through.

    `address` is what Postfix connects to (https://www.postfix.org/MILTER_README.html#config). Filters
    of one `stage` and `lane` form a chain, in the order in which they are said; the lanes of a stage
    are alternatives, and a session takes any one of them.
    """

    address: str
    stage: Literal["submission", "inbound"]
    """`submission`: mail of the fleet on its way out. `inbound`: mail of strangers on port 25."""
    lane: int = 0


@dataclass(frozen=True)
class Needs:
    """Everything some roles of a machine need. `a + b` merges, and refuses contradictions."""

    packages: tuple[Package, ...] = ()
    users: tuple[User, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    absent: tuple[Absent, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    units: tuple[Unit, ...] = ()
    ports: tuple[Port, ...] = ()
    scrapes: tuple[Scrape, ...] = ()
    backups: tuple[BackupPath, ...] = ()
    records: tuple[Record, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    milters: tuple[Milter, ...] = ()

    def __add__(self, other: Needs) -> Needs:
        """Join two sums of needs.

        Raises:
            NeedsError: the two say different things of one path, account, setting, unit or port.
        """
        return merge((self, other))


# What may be said once only, and by which key. Packages, records, backups and scrapes are sets.
_KEYS: dict[str, tuple[str, ...]] = {
    "users": ("name",),
    "directories": ("path",),
    "files": ("path",),
    "sysctls": ("key",),
    "units": ("name",),
    "ports": ("number", "proto", "audience", "at"),
    "certificates": ("name",),
}


def merge(parts: Iterable[Needs]) -> Needs:
    """Merge needs in order; equal ones are said once.

    Raises:
        NeedsError: two parts contradict each other; the message names both values.
    """
    parts = tuple(parts)
    merged = Needs(
        **{f.name: _union(f.name, [x for p in parts for x in getattr(p, f.name)]) for f in fields(Needs)}
    )
    _check_paths(merged)
    return merged


def _check_paths(merged: Needs) -> None:
    """A path is one thing: a file, a directory or nothing at all."""
    kinds: dict[str, tuple[File | Directory | Absent, ...]] = {
        "a file": merged.files,
        "a directory": merged.directories,
        "absent": merged.absent,
    }
    seen: dict[str, str] = {}
    for kind, needs in kinds.items():
        for need in needs:
            other = seen.setdefault(need.path, kind)
            if other != kind:
                raise NeedsError(f"two roles need different things: {need.path} is {other} and {kind}")


def _union(kind: str, items: list[Any]) -> tuple[Any, ...]:
    seen: dict[Any, Any] = {}
    for item in items:
        key = tuple(getattr(item, k) for k in _KEYS[kind]) if kind in _KEYS else item
        if key not in seen:
            seen[key] = item
        elif kind == "ports":
            continue  # the same opening for two reasons is no contradiction
        elif seen[key] != item:
            raise NeedsError(_contradiction(kind, key, seen[key], item))
    return tuple(seen.values())


def _contradiction(kind: str, key: tuple[Any, ...], one: DataclassInstance, other: DataclassInstance) -> str:
    # Contents are not shown: they may be secret.
    differences = [
        f"{f.name} {getattr(one, f.name)!r} and {getattr(other, f.name)!r}" if f.repr else f.name
        for f in fields(one)
        if getattr(one, f.name) != getattr(other, f.name)
    ]
    return f"two roles need different {kind} {' '.join(map(str, key))}: {', '.join(differences)}"

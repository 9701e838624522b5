"""What a role says for others to serve: ports, metrics, backups, records and mail filters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from mailwright.model.errors import NeedsError
from mailwright.model.needs.valid import check_path

Protocol = Literal["tcp", "udp", "vrrp"]


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
class Reach:
    """A port of other machines that a role cannot do without while its machine is being put together.

    An open machine reaches whatever it likes. A closed one (`closed` in the fleet file) reaches this alone.
    """

    number: int
    proto: Literal["tcp", "udp"]
    reason: str


@dataclass(frozen=True)
class Scrape:
    """A metrics endpoint for the monitoring role."""

    name: str
    port: int
    path: str = "/metrics"


@dataclass(frozen=True)
class BackupPath:
    """A path to back up, by retention class.

    What must not be copied while it is in use has a `dump`: shell that leaves a consistent copy of it in the
    empty directory `at`, which is backed up instead and emptied afterwards. `restore` is shell that puts what
    was brought back into the empty directory `at` to use; without it, what was backed up is put at its
    own place. Both run as root with `set -eu`.
    """

    path: str
    reason: str
    retention: Literal["long", "short"] = "long"
    dump: str = ""
    restore: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        """Refuse a path that is none, and half a dump."""
        check_path(self.path)
        if bool(self.dump) != bool(self.at) or (self.restore and not self.dump):
            raise NeedsError(f"backup of {self.path}: `dump` and `at` go together, `restore` needs both")
        if self.at:
            check_path(self.at)
            if PurePosixPath(self.path).is_relative_to(self.at):
                raise NeedsError(f"backup of {self.path}: `at` is emptied, and is that path or above it")

    @property
    def copied(self) -> str:
        """What a snapshot holds: the path itself, or where its dump lies."""
        return self.at or self.path


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

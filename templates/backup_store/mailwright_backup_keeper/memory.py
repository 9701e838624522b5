"""What the keeper remembers of a machine's repository: two JSON files for each, replaced whole.

One is written by whoever has looked, at any time; the other by the one run at a time that changes something.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mailwright_backup_keeper.wanted import Failed, Wanted, failed


@dataclass
class Snapshot:
    """A snapshot as the store knows it."""

    time: str
    """When the machine says it began (RFC 3339)."""
    seen: float
    """When the store got it, by the store's own clock, in seconds since the epoch."""
    kind: str
    """Its retention class."""
    paths: list[str] = field(default_factory=list)
    size: int | None = None
    """Octets of what a restore brings back; restic notes it from 0.17 on."""


@dataclass
class Seen:
    """What lies in the repository."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    """By their ids."""
    octets: int | None = None


@dataclass
class Round:
    """The last prune or check: when it ended, when one last went well, and what went wrong since."""

    ended: float = 0.0
    good: float = 0.0
    error: str = ""
    count: int = 0
    """How many there were; a check reads the part of the data that is its turn."""


@dataclass
class Memory:
    """What was done about the repository."""

    repository: str = ""
    """Where it is: what was remembered of another one counts for nothing."""
    since: float = 0.0
    """When it was made, or first opened."""
    keys: list[str] = field(default_factory=list)
    """The names of the keys that may be there."""
    passwords: str = ""
    """A digest of the passwords that these keys open with."""
    prune: Round = field(default_factory=Round)
    check: Round = field(default_factory=Round)
    damaged: list[str] = field(default_factory=list)
    """What was found damaged and not yet found whole again."""


@dataclass
class Missed:
    """When a round was last due and not done, as another run did not end; not of those who do the rounds."""

    prune: float = 0.0
    check: float = 0.0


def not_done(name: str, kind: str) -> str:
    """What is said of such a round."""
    return f"{name}: not done, because another run did not end: mailwright-backup-keeper {kind} {name}"


def missed(wanted: Wanted, name: str, kind: str) -> None:
    """Remember that a round was due, without touching what the run at work will write."""
    found = _missed(wanted, name)
    setattr(found, kind, time.time())
    remember(wanted, name, found)


def _missed(wanted: Wanted, name: str) -> Missed:
    try:
        return Missed(**json.loads(_file(wanted, name, Missed).read_text()))
    except (OSError, ValueError, TypeError):
        return Missed()


def recall(wanted: Wanted, name: str) -> Memory:
    """What is remembered of a machine; a damaged file counts as nothing."""
    memory, late = _recall(wanted, name), _missed(wanted, name)
    for kind in ("prune", "check"):
        last: Round = getattr(memory, kind)
        if getattr(late, kind) > last.ended:
            last.ended, last.error = getattr(late, kind), last.error or not_done(name, kind)
    return memory


def _recall(wanted: Wanted, name: str) -> Memory:
    try:
        data: dict[str, Any] = json.loads(_file(wanted, name, Memory).read_text())
        rounds: dict[str, Any] = {key: Round(**data.pop(key)) for key in ("prune", "check")}
        return Memory(**data, **rounds)
    except (OSError, ValueError, KeyError, TypeError):
        return Memory()


def last_seen(wanted: Wanted, name: str) -> Seen:
    """What lay there when somebody last looked; a damaged file counts as nothing."""
    try:
        data: dict[str, Any] = json.loads(_file(wanted, name, Seen).read_text())
        snapshots = {key: Snapshot(**one) for key, one in data.pop("snapshots").items()}
        return Seen(snapshots, **data)
    except (OSError, ValueError, KeyError, TypeError):
        return Seen()


def remember(wanted: Wanted, name: str, what: Memory | Seen | Missed) -> None:
    """Write it down."""
    replace(_file(wanted, name, type(what)), json.dumps(asdict(what), indent=1) + "\n", 0o600)


@contextmanager
def recorded(wanted: Wanted, name: str, kind: str) -> Iterator[Memory]:
    """Remember how a round of `kind` (`prune`, `check`) ends; what it changes in the memory stays, too."""
    memory = recall(wanted, name)
    last: Round = getattr(memory, kind)
    try:
        yield memory
    except Failed as error:
        last.error = str(error)
        raise
    except OSError as error:
        last.error = failed(name, error)
        raise
    except BaseException:
        last.error = f"{name}: the {kind} was interrupted"
        raise
    else:
        last.error, last.good = "", time.time()
    finally:
        last.ended, last.count = time.time(), last.count + 1
        remember(wanted, name, memory)


def replace(file: Path, text: str, mode: int) -> None:
    """Put a file in place whole, one writer after the other."""
    new = file.with_name(f".{file.name}.new")
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = _held(new, mode)
    with os.fdopen(handle, "w") as stream:
        os.fchmod(handle, mode)
        os.ftruncate(handle, 0)
        stream.write(text)
        stream.flush()
        os.fsync(handle)
        new.replace(file)  # while it is held


def _held(new: Path, mode: int) -> int:
    """A file that nobody else writes; whoever had it before may have put it in place meanwhile."""
    while True:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT, mode)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(new.stat(), os.fstat(handle)):
                return handle
        os.close(handle)


def _file(wanted: Wanted, name: str, kind: type[Memory | Seen | Missed]) -> Path:
    return wanted.home / f"{name}.{kind.__name__.lower()}.json"

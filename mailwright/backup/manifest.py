"""What lies below a path on two machines, compared: the judge of a drill.

It shares no code with the programs that make backups and bring them back: whoever checks must not repeat
their mistakes.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailwright.backup import look
from mailwright.backup.snapshots import BackupError
from mailwright.verify.gather import Run

_KEPT_BY_NOBODY = frozenset({"socket", "device"})
"""Kinds that belong to whoever runs, and are in no backup."""
_TICK = 0.01
"""Seconds by which the kernel may date a file early (a tick, at 100 Hz)."""


@dataclass(frozen=True)
class Entry:
    """One path of a machine."""

    path: str
    kind: str
    """`file`, `directory`, `link`, `pipe`, `socket` or `device`."""
    owner: str
    group: str
    mode: str
    """Four octal digits."""
    size: int
    """Octets, of files."""
    content: str
    """A file's SHA-256; where a link leads."""
    xattrs: Mapping[str, str]
    """The digest of each extended attribute, by its name."""
    changed: float
    """The ctime, in seconds since the epoch: nobody can set it."""
    written: float
    """The mtime."""


Manifest = Mapping[str, Entry]
"""What is below some paths of a machine, by path."""


def manifest(run: Run, paths: Sequence[str]) -> Manifest:
    """Look at paths of a machine and everything below them, in one command.

    Raises:
        BackupError: the answer is not whole.
        UnknownError: the machine does not answer.
    """
    program = base64.b64encode(gzip.compress(Path(look.__file__).read_bytes(), mtime=0)).decode()
    text = f"echo {program} | base64 -d | gzip -dc | nice python3 - {shlex.join(paths)}"
    done = run(f"sh -c {shlex.quote(text)}")
    what = f"what lies below {', '.join(paths)} cannot be read"
    if done.status or not done.stdout:
        raise BackupError(f"{what}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
    try:
        lines = gzip.decompress(base64.b64decode(done.stdout, validate=True)).decode().splitlines()
        found = [Entry(**json.loads(line)) for line in lines]
    except (ValueError, TypeError, EOFError, OSError, binascii.Error) as error:
        raise BackupError(f"{what}: {error}") from None
    return {entry.path: entry for entry in found}


@dataclass(frozen=True)
class Finding:
    """What a restored machine does not have as the original has it."""

    path: str
    what: str
    """`missing`, or what differs: `type`, `content`, `owner`, `group`, `mode`, `xattrs`."""
    expected: str = ""
    """What the original has; nothing of contents."""
    found: str = ""

    @property
    def line(self) -> str:
        """One line for the operator."""
        how = f": {self.found}, and {self.expected} on the original" if self.expected else ""
        return f"{self.path}: {self.what if self.what == 'missing' else f'other {self.what}'}{how}"


@dataclass(frozen=True)
class Compared:
    """One declared path, compared."""

    path: str
    same: int = 0
    """Entries that are the same on both."""
    octets: int = 0
    """In files of the same content."""
    later: tuple[str, ...] = ()
    """What the original changed, gained or lost after the snapshot, so that nothing can be said of it."""
    more: tuple[str, ...] = ()
    """What the restored machine has besides: its deploy made it."""
    findings: tuple[Finding, ...] = field(default=())


def compare(
    top: str, original: Manifest, restored: Manifest, taken: float, *, dumped: bool = False
) -> Compared:
    """Compare a declared path as it is on the original with what a restore made of it.

    `taken`: when the snapshot was begun, in seconds since the epoch by the original's clock. `dumped`: a copy
    of it was backed up, made of hard links, which changes the ctime; and a file may have moved since, as mail
    does from `new` to `cur`, so that it is found by its name.
    """
    same, octets = 0, 0
    later: list[str] = []
    findings: list[Finding] = []
    here, there = dict(_below(top, original)), dict(_below(top, restored))
    names = {known_as(path): entry for path, entry in there.items() if entry.kind == "file"} if dumped else {}
    for path, entry in here.items():
        if entry.kind in _KEPT_BY_NOBODY:
            continue
        other = there.get(path) or (names.get(known_as(path)) if entry.kind == "file" else None)
        wrong = list(_differences(entry, other))
        changed = (entry.written if dumped else entry.changed) > taken - _TICK
        # A folder's times move with what is put into it; a declared path must be there in any case.
        if wrong and changed and not (other is None and path == top):
            later.append(path)
        elif wrong:
            findings += wrong
        else:
            same, octets = same + 1, octets + entry.size
    known = {known_as(path) for path in here} if dumped else set()
    besides = [path for path in there if path not in here and known_as(path) not in known]
    gone = [path for path in besides if _emptied(path, here, taken)]
    more = tuple(path for path in besides if path not in gone)
    return Compared(top, same, octets, (*later, *gone), more, tuple(findings))


def known_as(path: str) -> str:
    """What a file is called wherever it moves: its name without the flags of a Maildir's message.

    https://cr.yp.to/proto/maildir.html
    """
    return path.rpartition("/")[2].partition(":")[0]


def _below(top: str, entries: Manifest) -> Iterator[tuple[str, Entry]]:
    return ((path, e) for path, e in entries.items() if path == top or path.startswith(f"{top}/"))


def _differences(entry: Entry, other: Entry | None) -> Iterable[Finding]:
    if other is None:
        return (Finding(entry.path, "missing"),)
    if other.kind != entry.kind:
        return (Finding(entry.path, "type", entry.kind, other.kind),)
    shown = ("owner", "group", "mode") if entry.kind != "link" else ("owner", "group")
    found = [
        Finding(entry.path, what, getattr(entry, what), getattr(other, what))
        for what in shown
        if getattr(entry, what) != getattr(other, what)
    ]
    hidden = [what for what in ("content", "xattrs") if getattr(entry, what) != getattr(other, what)]
    return (*found, *(Finding(entry.path, what) for what in hidden))


def _emptied(path: str, original: Manifest, taken: float) -> bool:
    """Whether the original's folder of a path has changed since, which lost it."""
    folder = original.get(path.rpartition("/")[0])
    return folder is None or folder.written > taken - _TICK

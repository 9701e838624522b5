"""What was brought back against what is live: content, owner, group, mode, extended attributes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from mailwright_backup.accounts import group, owner
from mailwright_backup.dumping import copies
from mailwright_backup.staging import staged, within
from mailwright_backup.wanted import BackupError, Source, Wanted

_PIECE = 1 << 20
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same. `expected` is the snapshot's, `found` the live one's."""

    path: str
    what: str
    expected: str
    found: str
    newer: bool
    """The live file (of a missing or extra one: its folder) was written after the snapshot was made."""


def compare(wanted: Wanted, folder: Path, paths: tuple[str, ...]) -> list[dict[str, object]]:
    """Compare a staged tree with the live one; what has a dump with a new dump.

    Raises:
        BackupError: nothing was staged there, or a dump fails.
    """
    there = staged(folder)
    times = {snapshot.retention: snapshot.moment for snapshot in reversed(there)}
    own = {path: snapshot.moment for snapshot in there for path in snapshot.paths}
    found = []
    for source, copy in wanted.chosen(paths):
        if source.retention not in times:
            continue
        taken = own.get(source.copied, times[source.retention])
        with ExitStack() as stack:
            if source.dump:
                _, faults = stack.enter_context(copies((source,)))
                if faults:
                    raise BackupError(faults[0])
            differences = _Pair(source, taken).below(within(folder, copy), Path(copy))
            found += [asdict(difference) for difference in differences]
    return found


@dataclass(frozen=True)
class _Pair:
    """Two trees of a source."""

    source: Source
    taken: float

    def below(self, ours: Path, live: Path) -> Iterator[Difference]:
        """Everything that differs at a path and below it. `ours` is the staged one."""
        there, here = _look(ours), _look(live)
        if there is None or here is None:
            if there is not here:
                yield self._lone(live, there, here)
            return
        yield from self._one(ours, live, there, here)
        if stat.S_ISDIR(there.st_mode) and stat.S_ISDIR(here.st_mode):
            for name in sorted({entry.name for top in (ours, live) for entry in top.iterdir()}):
                yield from self.below(ours / name, live / name)

    def _lone(self, live: Path, there: os.stat_result | None, here: os.stat_result | None) -> Difference:
        above = next(p for p in live.parents if p.is_dir())
        newer = max(above.lstat().st_mtime, here.st_mtime if here else 0) > self.taken
        what = "missing" if here is None else "extra"
        expected, found = ("nothing" if s is None else _kind(s) for s in (there, here))
        return Difference(self._named(live), what, expected, found, newer)

    def _one(
        self, ours: Path, live: Path, there: os.stat_result, here: os.stat_result
    ) -> Iterator[Difference]:
        newer = here.st_mtime > self.taken
        aspects = [("type", _kind(there), _kind(here))]
        if _kind(there) == _kind(here):
            aspects += [("owner", owner(there), owner(here)), ("group", group(there), group(here))]
            if not stat.S_ISLNK(there.st_mode):  # a link's own mode means nothing
                aspects.append(("mode", _mode(there), _mode(here)))
            aspects += [("xattrs", _attributes(ours), _attributes(live)), _content(ours, live, there, here)]
        for what, expected, found in aspects:
            if expected != found:
                yield Difference(self._named(live), what, expected, found, newer)

    def _named(self, live: Path) -> str:
        """The path as it is known outside of a dump."""
        if not self.source.at:
            return str(live)
        return self.source.path + str(live)[len(self.source.at) :]


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(state: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(state.st_mode), "device")


def _mode(state: os.stat_result) -> str:
    return f"{stat.S_IMODE(state.st_mode):04o}"


def _attributes(path: Path) -> str:
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
        return ", ".join(f"{n}={os.getxattr(path, n, follow_symlinks=False).hex()}" for n in names) or "none"
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _content(ours: Path, live: Path, there: os.stat_result, here: os.stat_result) -> tuple[str, str, str]:
    """Sizes, or where links lead; of files of one size that differ, where."""
    if stat.S_ISLNK(there.st_mode):
        return "content", str(ours.readlink()), str(live.readlink())
    if not stat.S_ISREG(there.st_mode):
        return "content", "", ""
    if there.st_size != here.st_size:
        return "content", f"{there.st_size} bytes", f"{here.st_size} bytes"
    at = 0
    with ours.open("rb") as one, live.open("rb") as other:
        while piece := one.read(_PIECE):
            if piece != other.read(_PIECE):
                return "content", f"{there.st_size} bytes", f"as many, others from {at // _PIECE} MiB on"
            at += len(piece)
    return "content", "", ""

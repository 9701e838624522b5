"""Snapshots: which there are, and bringing them back into a folder beside the live files."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from mailwright_backup.accounts import FOLDER, Owners, tree
from mailwright_backup.memory import exchange
from mailwright_backup.restic import PARTIAL, Answer, NoLockError, Restic
from mailwright_backup.wanted import BackupError, Wanted, below

_NOTE = ".mailwright-snapshots.json"
"""What was staged, in the folder itself: comparing and placing go by it."""
_WAIT_FOR_KEEPER = 3600.0
_FRACTION = re.compile(r"\.\d+")


@dataclass(frozen=True)
class Snapshot:
    """One of this machine's."""

    id: str
    time: str
    """RFC 3339, UTC."""
    retention: str
    paths: tuple[str, ...]
    bytes: int | None = None
    """Of all files; restic 0.14 does not keep it."""

    @property
    def moment(self) -> float:
        """The time in seconds since the epoch."""
        return moment(self.time)

    def told(self, wanted: Wanted) -> dict[str, object]:
        """As commands print it."""
        paths = _named(wanted, self)
        data: dict[str, object] = {"id": self.id, "time": self.time, "class": self.retention, "paths": paths}
        return data | ({"bytes": self.bytes} if self.bytes is not None else {})


def snapshots(wanted: Wanted) -> list[Snapshot]:
    """All of this machine, oldest first.

    Raises:
        BackupError: the store does not say.
    """
    answer = Restic(wanted).ask("snapshots", "--json", "--no-lock", "--host", wanted.machine)
    found = [
        Snapshot(
            id=each["id"][:8],
            time=_utc(each["time"]),
            retention=next(iter(each.get("tags") or ("",))),
            paths=tuple(each["paths"]),
            bytes=(each.get("summary") or {}).get("total_bytes_processed"),
        )
        for each in json.loads(answer.stdout or "[]") or []
    ]
    return sorted(found, key=lambda s: s.time)


def moment(time: str) -> float:
    """A time that an operator or a snapshot says, in seconds since the epoch; without a zone it is UTC.

    Raises:
        BackupError: it is none.
    """
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        raise BackupError(f"not a time, such as 2026-11-22T10:00:00Z: {time[:50]!r}") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def stage(wanted: Wanted, folder: Path, at: str | None, paths: tuple[str, ...]) -> dict[str, object]:
    """Bring back the newest snapshot of each class (made at `at` or before) into an empty folder.

    What it lacks, because a dump failed then, is brought from the newest that has it, and
    named with its time.
    Returns what `stage` prints.

    Raises:
        BackupError: there is none, none has one of the paths, or the folder is not empty.
    """
    folder.mkdir(0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty")
    folder.chmod(0o700)  # it gets everybody's files
    until = moment(at) if at else None
    found = [s for s in snapshots(wanted) if until is None or s.moment <= until]
    newest = {s.retention: s for s in found}
    if not newest:
        raise BackupError(f"{wanted.machine} has no snapshot{f' of {at} or before' if at else ''}")
    strangers: set[str] = set()
    taken = [s for s in newest.values() if _bring(wanted, folder, s, paths, strangers)]
    for part in _older(wanted, found, newest):
        what = _named(wanted, part)
        if _bring(wanted, folder, part, paths or tuple(what), strangers):
            taken.append(part)
            print(f"{', '.join(what)}: not in the newest snapshot; this is of {part.time}", file=sys.stderr)
    brought = _brought(wanted, folder, taken, paths)
    if lacking := [path for path in paths if not any(below(b, path) or below(path, b) for b in brought)]:
        raise BackupError(f"no snapshot has {', '.join(lacking)}")
    exchange(folder / _NOTE, json.dumps([asdict(s) for s in taken]), 0o600)
    told: dict[str, object] = {"snapshots": [s.told(wanted) for s in taken], "paths": brought}
    return told | ({"strangers": sorted(strangers)} if strangers else {})


def _older(wanted: Wanted, found: Iterable[Snapshot], newest: Mapping[str, Snapshot]) -> Iterator[Snapshot]:
    """Of what the newest snapshots lack of today's sources, the newest that has it: that part of it alone."""
    has = {path for snapshot in newest.values() for path in snapshot.paths}
    for older in reversed(list(found)):
        names = next(filter(_of_accounts, older.paths), None)
        own = {s.copied for s in wanted.of(older.retention)} - has
        if names is not None and (parts := sorted(own & set(older.paths))):
            has |= set(parts)
            yield replace(older, paths=(names, *parts), bytes=None)


def _named(wanted: Wanted, snapshot: Snapshot) -> list[str]:
    """What a snapshot has: copies under the names of what they are copies of."""
    known = {source.copied: source.path for source in wanted.sources}
    return [known.get(path, path) for path in snapshot.paths if not _of_accounts(path)]


def staged(folder: Path) -> list[Snapshot]:
    """What `stage` brought back into a folder.

    Raises:
        BackupError: nothing.
    """
    try:
        return [Snapshot(**each) for each in json.loads((folder / _NOTE).read_text())]
    except (OSError, ValueError, TypeError):
        raise BackupError(f"nothing was staged in {folder}") from None


def within(folder: Path, path: str) -> Path:
    """Where a path of a snapshot lies in the folder."""
    return folder / path.lstrip("/")


def _bring(
    wanted: Wanted, folder: Path, snapshot: Snapshot, paths: tuple[str, ...], strangers: set[str]
) -> bool:
    """Bring back one snapshot, as far as it is asked for; whether it has anything of that."""
    names = next(filter(_of_accounts, snapshot.paths), None)
    if names is None:
        raise BackupError(f"snapshot {snapshot.id} does not say whose numbers are whose: it is none of ours")
    wished = [] if not paths else _wished(wanted, snapshot, paths)
    if paths and not wished:
        return False
    includes = [word for path in (names, *wished) if wished for word in ("--include", _literal(path))]
    answer = _restored(wanted, ("restore", snapshot.id, "--target", str(folder), *includes))
    if answer.status == PARTIAL or any("error" in line.lower() for line in answer.complaints):
        raise BackupError(f"snapshot {snapshot.id} came back with errors: {answer.complaints[0][:300]}")
    owners = Owners.of(within(folder, names))
    owners.give(_touched(folder, snapshot.paths))
    strangers |= owners.strangers
    shutil.rmtree(within(folder, names).parent)
    return True


def _restored(wanted: Wanted, command: tuple[str, ...]) -> Answer:
    """Restore under a lock; without one from a store that takes none, as one does whose disk is full."""
    restic = Restic(wanted)
    try:
        return restic.ask_when_free(*command, longest_wait=_WAIT_FOR_KEEPER)
    except NoLockError as error:
        print(f"the store takes no lock; restoring without one: {error}", file=sys.stderr)
        return restic.ask(*command, "--no-lock")


def _wished(wanted: Wanted, snapshot: Snapshot, paths: Iterable[str]) -> list[str]:
    """What of a snapshot was asked for, under the names that it has there."""
    copies = {copy for source, copy in wanted.chosen(paths) if source.retention == snapshot.retention}
    known = {source.copied for source in wanted.sources}
    strange = {
        path if below(path, has) else has
        for has in snapshot.paths
        if has not in known
        for path in paths
        if below(path, has) or below(has, path)
    }
    inside = {c for c in copies if any(below(c, has) or below(has, c) for has in snapshot.paths)}
    return sorted(inside | strange)


def _touched(folder: Path, paths: Iterable[str]) -> Iterator[Path]:
    """What restic wrote for these paths: what lies there, and the folders above."""
    above: dict[Path, None] = {}
    for path in paths:
        top = within(folder, path)
        above |= dict.fromkeys(p for p in top.parents if p.is_relative_to(folder) and p != folder)
        if top.exists() or top.is_symlink():
            yield from tree(top)
    yield from (path for path in above if path.exists())


def _brought(wanted: Wanted, folder: Path, taken: Iterable[Snapshot], paths: tuple[str, ...]) -> list[str]:
    """Under their own names, what is in the folder now."""
    known = {source.copied: source.path for source in wanted.sources}
    has = [path for snapshot in taken for path in snapshot.paths if not _of_accounts(path)]
    found = [known.get(path, path) for path in has if within(folder, path).exists()]
    if not paths:
        return sorted(found)
    wished = (p for path in paths for f in found for p in (path if below(path, f) else f,))
    return sorted({p for p in wished if any(below(p, path) for path in paths)})


def _of_accounts(path: str) -> bool:
    return PurePosixPath(path).parent.name == FOLDER


def _literal(path: str) -> str:
    """A path as a pattern that matches it alone (filepath.Match of Go)."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def _utc(time: str) -> str:
    """From what restic says: nanoseconds, in the zone of who made the snapshot."""
    found = datetime.fromisoformat(_FRACTION.sub("", time)).astimezone(UTC)
    return f"{found:%Y-%m-%dT%H:%M:%SZ}"

"""One run: dump, back up, note how it went. A snapshot for each retention class."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailwright_backup import accounts
from mailwright_backup.dumping import clear_all, copies
from mailwright_backup.memory import Memory, Run
from mailwright_backup.restic import PARTIAL, Answer, Restic
from mailwright_backup.wanted import BackupError, Wanted

_WAIT_FOR_KEEPER = 3600.0
"""Seconds that a run waits for a keeper who prunes; it is the timer's turn again soon enough."""
_SHOWN = 3
"""Complaints that a line repeats."""


def run(wanted: Wanted, classes: Iterable[str], patience: float | None = None) -> int:
    """Back up these classes, or all; the exit status. Only for who holds the lock.

    Raises:
        BackupError: there is no such class.
    """
    wanted = wanted if patience is None else replace(wanted, patience=patience)
    chosen = tuple(classes) or wanted.classes
    if unknown := sorted(set(chosen) - set(wanted.classes)):
        raise BackupError(f"no class {', '.join(unknown)}; there is {', '.join(wanted.classes)}")
    memory, repository = Memory(wanted), Restic(wanted)
    for retention in memory.settle():
        print(f"{retention}: the last run was cut short", file=sys.stderr)
    clear_all(wanted)
    left = any(memory.of(retention).error for retention in wanted.classes)
    faults = [_class(wanted, memory, repository, retention, unlock=left) for retention in chosen]
    return 1 if any(faults) else 0


def _class(wanted: Wanted, memory: Memory, repository: Restic, retention: str, *, unlock: bool) -> str:
    """Back up one class; returns what is wrong, in a line.

    `unlock`: a run that did not end well may have left its lock, which a keeper who prunes waits for.
    It costs as much as a backup of nothing, so a good one is followed by none.
    """
    began = time.time()
    memory.began(retention, began)
    before = memory.of(retention)
    done = replace(before, error="the run was stopped")
    try:
        if unlock:
            repository.unlock()
        names = accounts.note(wanted.home, retention)
        with copies(wanted.of(retention)) as (paths, faults):
            made = _backup(wanted, repository, retention, [str(names), *paths])
        done = _good(before, made, began)
        if faults := [*faults, *made.faults]:
            done = replace(done, error="; ".join(faults), succeeded=before.succeeded, seconds=before.seconds)
    except (BackupError, OSError) as error:
        done = replace(before, error=_sentence(error))
    finally:
        memory.ended(retention, replace(done, ended=time.time()))
    if done.error:
        print(f"{retention}: {done.error}", file=sys.stderr)
    else:
        print(f"{retention}: snapshot {done.snapshot}, {done.size} bytes, {done.added} of them new")
    return done.error


@dataclass(frozen=True)
class _Made:
    """What restic says of a snapshot that it made."""

    snapshot: str
    size: int
    added: int
    faults: tuple[str, ...]


def _backup(wanted: Wanted, repository: Restic, retention: str, paths: list[str]) -> _Made:
    limit = ("--limit-upload", str(wanted.limit_upload)) if wanted.limit_upload else ()
    command = (
        "backup",
        *limit,
        "--quiet",
        "--json",
        "--host",
        wanted.machine,
        "--tag",
        retention,
        "--",
        *paths,
    )
    answer = repository.ask_when_free(*command, longest_wait=_WAIT_FOR_KEEPER)
    if answer.status == PARTIAL:  # a file went while it was read: what is there now is there the next time
        answer = repository.ask_when_free(*command, longest_wait=_WAIT_FOR_KEEPER)
    return _summary(answer)


def _summary(answer: Answer) -> _Made:
    for line in answer.stdout.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if data.get("message_type") == "summary":
            faults = answer.complaints[:_SHOWN] if answer.status == PARTIAL else ()
            return _Made(
                snapshot=data["snapshot_id"][:8],
                size=data["total_bytes_processed"],
                added=data["data_added"],
                faults=tuple(f"could not be read: {fault[:200]}" for fault in faults),
            )
    raise BackupError("restic made no snapshot, and does not say why")


def _good(before: Run, made: _Made, began: float) -> Run:
    now = time.time()
    return replace(
        before,
        error="",
        snapshot=made.snapshot,
        succeeded=now,
        seconds=now - began,
        size=made.size,
        added=made.added,
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'writing'}: {error.strerror}"
    return " ".join(str(error).split())

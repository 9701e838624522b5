"""Putting to use what was brought back: each file at its place, whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

from mailwright_backup.accounts import tree
from mailwright_backup.dumping import clear, make_empty
from mailwright_backup.restic import run_shell
from mailwright_backup.staging import staged, within
from mailwright_backup.wanted import BackupError, Source, Wanted

_HALF = ".mailwright-half"


def place(wanted: Wanted, folder: Path, paths: tuple[str, ...]) -> list[str]:
    """Put a staged tree to use; returns the paths. What is there besides stays.

    Raises:
        BackupError: nothing was staged there, or a restore fails.
    """
    there = {snapshot.retention for snapshot in staged(folder)}
    placed = []
    for source, copy in wanted.chosen(paths):
        top = within(folder, copy)
        if source.retention not in there or not (top.exists() or top.is_symlink()):
            continue
        if source.restore:
            _by_its_own_way(source, folder, copy)
        else:
            own = source.path + copy[len(source.copied) :] if source.at else copy
            put(top, Path(own))
        placed.append(source.path + copy[len(source.copied) :])
    if not placed:
        raise BackupError(f"{folder} has nothing of {', '.join(paths) or 'what is backed up here today'}")
    known = {source.copied for source in wanted.sources}
    for snapshot in staged(folder):
        for path in snapshot.paths:
            if path not in known and within(folder, path).exists():
                print(
                    f"{path}: no role of this machine knows it any more; it stays in {folder}",
                    file=sys.stderr,
                )
    return placed


def _by_its_own_way(source: Source, folder: Path, copy: str) -> None:
    """Lay out `at` as the dump did, as far as it came back, and let the role's shell do the rest."""
    make_empty(source)
    try:
        top = Path(source.at)
        put(within(folder, copy), Path(copy))
        for path in (top, *(p for p in Path(copy).parents if p.is_relative_to(top))):
            _dress(within(folder, str(path)), path)
        run_shell(f"restore of {source.path}", source.restore)
    finally:
        clear(source)


def put(ours: Path, live: Path) -> None:
    """Copy a tree over another; files are exchanged by renaming, folders that are there are kept.

    The folders above get made where they lack, as they are in the staged tree, and are otherwise left alone.

    Raises:
        BackupError: a folder is in the way of a file, or the other way round.
        OSError: the disk.
    """
    _above(ours.parent, live.parent)
    folders, links = [], []
    for path in tree(ours):
        target = live / path.relative_to(ours)
        state = path.lstat()
        if stat.S_ISDIR(state.st_mode):
            if not target.is_dir() or target.is_symlink():
                _in_the_way(target)
                target.mkdir(0o700)
            folders.append((path, target))
        elif stat.S_ISREG(state.st_mode):
            _exchange(path, target)
        elif stat.S_ISLNK(state.st_mode):
            links.append((path, target))
    for path, target in links:  # once there is what they lead to
        _exchange(path, target)
    for path, target in reversed(folders):
        _dress(path, target)
    os.sync()


def _above(ours: Path, live: Path) -> None:
    if not live.exists():
        _above(ours.parent, live.parent)
        live.mkdir(0o755)
        _dress(ours, live)


def _in_the_way(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise BackupError(f"{target} is in the way: it is no folder, and the snapshot has one there")


def _exchange(ours: Path, live: Path) -> None:
    if live.is_dir() and not live.is_symlink():
        raise BackupError(f"{live} is in the way: it is a folder, and the snapshot has none there")
    half = live.with_name(f".{live.name[:200]}{_HALF}")
    half.unlink(missing_ok=True)
    if ours.is_symlink():
        half.symlink_to(ours.readlink())
        _own(ours, half)
    else:
        os.close(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(ours, half)
        _dress(ours, half)
    half.replace(live)


def _own(ours: Path, live: Path) -> None:
    state = ours.lstat()
    os.chown(live, state.st_uid, state.st_gid, follow_symlinks=False)


def _dress(ours: Path, live: Path) -> None:
    """Owner before mode and attributes: chown(2) takes set-user-ID bits and capabilities away."""
    _own(ours, live)
    shutil.copystat(ours, live)

"""The store's disk: how full it is, and the room on it that only the keeper may use.

Pruning writes before it deletes. On a disk that machines have filled it would fail, and the disk would stay
full: so a file holds some room, and is made small while the keeper works.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailwright_backup_keeper.wanted import Reserve, Wanted

_BLOCK = 512
"""The unit of st_blocks (stat(2))."""


def free(folder: Path) -> tuple[int, int]:
    """Octets that accounts may still fill below `folder`, and the size of its file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def held(reserve: Reserve) -> int:
    """Octets that the reserve really holds."""
    try:
        return reserve.file.stat().st_blocks * _BLOCK
    except OSError:
        return 0


def hold(wanted: Wanted) -> bool:
    """Take the reserve, as much of it as there is room for; returns whether all of it is there."""
    reserve = wanted.reserve
    if reserve is None:
        return True
    handle = os.open(reserve.file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(handle).st_size > reserve.size:
            os.ftruncate(handle, reserve.size)
        os.posix_fallocate(handle, 0, reserve.size)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


@contextmanager
def given_up(wanted: Wanted) -> Iterator[None]:
    """The reserve is room to work in meanwhile, where the disk has no other."""
    reserve = wanted.reserve
    if reserve is not None and reserve.file.exists() and free(reserve.file.parent)[0] < reserve.size:
        os.truncate(reserve.file, 0)
    try:
        yield
    finally:
        hold(wanted)


def filled(folder: Path) -> int:
    """Octets that lie below a folder. What goes meanwhile, as locks do, counts for nothing."""
    return sum(_size(Path(below, name)) for below, _, files in os.walk(folder) for name in files)


def _size(file: Path) -> int:
    try:
        found = file.lstat()
    except FileNotFoundError:
        return 0
    return 0 if stat.S_ISLNK(found.st_mode) else found.st_size

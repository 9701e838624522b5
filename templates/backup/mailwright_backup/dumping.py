"""Consistent copies of what must not be copied while it is in use."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mailwright_backup.restic import run_shell
from mailwright_backup.wanted import BackupError, Source, Wanted


@contextmanager
def copies(sources: Iterable[Source]) -> Iterator[tuple[list[str], list[str]]]:
    """What to back up, and what is wrong with the rest, one line each. The copies are gone afterwards."""
    paths, faults = [], []
    dumped = [source for source in sources if source.dump]
    try:
        for source in sources:
            try:
                paths.append(_copied(source))
            except BackupError as error:
                faults.append(str(error))
            except OSError as error:
                faults.append(f"{error.filename or source.at}: {error.strerror or error}")
        yield paths, faults
    finally:
        for source in dumped:
            clear(source)


def clear(source: Source) -> None:
    """Remove a copy; also one that a killed run left behind.

    Raises:
        BackupError: it is no folder, or cannot be removed.
    """
    try:
        shutil.rmtree(source.at)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BackupError(f"{source.at}: {error.strerror or error}") from None


def clear_all(wanted: Wanted) -> None:
    """Remove every copy that a killed run left behind.

    Raises:
        BackupError: as `clear`.
    """
    for source in wanted.sources:
        if source.dump:
            clear(source)


def make_empty(source: Source) -> None:
    """Make the folder for a copy."""
    clear(source)
    Path(source.at).mkdir(0o700, parents=True)


def _copied(source: Source) -> str:
    if not Path(source.path).exists():
        raise BackupError(f"{source.path}: there is nothing to back up")
    if source.dump:
        make_empty(source)
        run_shell(f"dump of {source.path}", source.dump)
    elif Path(source.path).is_symlink():
        # restic follows no links: https://restic.readthedocs.io/en/stable/040_backup.html
        goal = Path(source.path).resolve()
        raise BackupError(f"{source.path}: it is a link, and would be backed up as one: name {goal}")
    return source.copied

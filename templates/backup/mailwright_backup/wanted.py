"""What is to be backed up and where to, as the deploy wrote it down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

LONG = "long"
"""The retention class that every machine has: it holds at least the names of its accounts."""


class BackupError(Exception):
    """What cannot be done, in one line without secrets."""


@dataclass(frozen=True)
class Source:
    """A path to back up. The words are those of BackupPath (mailwright/model/needs/offers.py)."""

    path: str
    retention: str
    dump: str
    """Shell that leaves a consistent copy of it in the empty directory `at`; empty: it is copied live."""
    restore: str
    """Shell that puts what is in `at` to use; empty: it is put at its own place."""
    at: str

    @property
    def copied(self) -> str:
        """What a snapshot holds of it."""
        return self.at or self.path

    def copy_of(self, path: str) -> str | None:
        """Where a snapshot has a path that is this one, above it or below it; `None`: it has not.

        A copy is laid out as what it is a copy of, so that a part of it can be brought back.
        """
        if below(self.path, path):
            return self.copied
        if below(path, self.path):
            return self.copied + path[len(self.path) :]
        return None


@dataclass(frozen=True)
class Wanted:
    """Everything that is wanted."""

    machine: str
    """Its name in the fleet: the host of its snapshots."""
    sources: tuple[Source, ...]
    options: tuple[str, ...]
    """For every restic command."""
    environment: dict[str, str]
    """The same: where the repository is, and which files open it."""
    limit_upload: int | None
    """KiB a second."""
    patience: float
    """Seconds without progress after which a backup is given up."""
    home: Path
    """What must outlive a boot: how the last runs ended, and whether backups are on hold."""
    cache: Path
    metrics: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """The retention classes, each of which has a snapshot of its own."""
        return tuple(dict.fromkeys((LONG, *(source.retention for source in self.sources))))

    @property
    def ours(self) -> bool:
        """Whether a machine of the fleet takes the backups, and not somebody else's storage."""
        return not self.environment.get("RESTIC_REPOSITORY", "").startswith(("s3:", "sftp:"))

    def of(self, retention: str) -> tuple[Source, ...]:
        """The sources of a class."""
        return tuple(source for source in self.sources if source.retention == retention)

    def chosen(self, paths: Iterable[str]) -> Iterator[tuple[Source, str]]:
        """Sources and, as a snapshot knows it, what of each was asked for; no paths ask for all."""
        asked = tuple(paths)
        for source in self.sources:
            if not asked:
                yield source, source.copied
            else:
                copies = (source.copy_of(path) for path in asked)
                for copy in sorted({copy for copy in copies if copy is not None}):
                    yield source, copy


def below(path: str, above: str) -> bool:
    """Whether a path is another one or lies below it."""
    return PurePosixPath(path).is_relative_to(above)


def read(file: Path) -> Wanted:
    """Read what is wanted.

    Raises:
        BackupError: the file is not there, or none that a deploy wrote.
    """
    try:
        data: dict[str, Any] = json.loads(file.read_text())
        return Wanted(
            machine=data["machine"],
            sources=tuple(Source(**source) for source in data["sources"]),
            options=tuple(data["options"]),
            environment=data["environment"],
            limit_upload=data["limit_upload"],
            patience=data["patience"],
            home=Path(data["home"]),
            cache=Path(data["cache"]),
            metrics=Path(data["metrics"]),
        )
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror}: is the role backup deployed?") from None
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"{file} is not what mailwright writes: deploy the machine again") from None

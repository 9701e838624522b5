"""A machine's files brought back: beside its own first, shown, and only then in their place."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from mailwright.backup.programs import Client, Difference, Staged
from mailwright.backup.snapshots import BackupError
from mailwright.converge import units
from mailwright.converge.shell import script
from mailwright.model.errors import MailwrightError
from mailwright.model.needs import BackupPath
from mailwright.model.site import MachinePlan
from mailwright.verify.gather import evidence

STAGES = "/var/lib/mailwright/restore"
"""Where trees are staged: for root alone, on the disk that most of them are put to use on."""
_OLD = 1440
"""Minutes after which a staged tree counts as left behind by somebody who was killed."""


@dataclass(frozen=True)
class Change:
    """What putting a staged tree to use would do at one path."""

    path: str
    sign: str
    """`+` it would be there, `~` it would be other than it is, ` ` it would stay as it is; `?`: the way by
    which its path is restored decides."""
    what: str
    """In words; of contents only that they differ."""

    @property
    def line(self) -> str:
        """One line for the operator."""
        return f"{self.sign} {self.path}  {self.what}".rstrip()


def changes(differences: Sequence[Difference], paths: Iterable[BackupPath] = ()) -> tuple[Change, ...]:
    """What would change, path by path. Nothing of a file's content is in it.

    `paths` are those that the machine's roles declare.
    """
    own_way = tuple(path.path for path in paths if path.restore)
    ordered = sorted(differences, key=lambda difference: difference.path)
    grouped = groupby(ordered, lambda difference: difference.path)
    return tuple(_change(path, tuple(each), own_way=units.covers(own_way, path)) for path, each in grouped)


def _change(path: str, differences: Sequence[Difference], *, own_way: bool) -> Change:
    kinds = {each.what for each in differences}
    if "missing" in kinds:
        return Change(path, "+", "is not there now")
    if "extra" in kinds:
        return Change(path, " ", "is in no snapshot, and stays")
    newer = "; it changed here after the snapshot" if any(each.newer for each in differences) else ""
    words = ", ".join(map(_words, differences))
    if own_way:  # mail that is there is not put back a second time
        return Change(path, "?", f"{words}; it may stay, as this is restored by a way of its own{newer}")
    return Change(path, "~", words + newer)


def _words(difference: Difference) -> str:
    if difference.what in ("content", "xattrs"):  # the program may say more of them than is to be seen
        return difference.what
    return f"{difference.what} {difference.found} -> {difference.expected}"


@dataclass(frozen=True)
class Restore:
    """Bringing files of one machine back onto it."""

    plan: MachinePlan
    client: Client

    @contextmanager
    def staged(self, at: datetime | None = None, paths: Sequence[str] = ()) -> Iterator[Staged]:
        """Bring snapshots back into a folder of the machine that is gone when the block ends.

        Raises:
            BackupError: they cannot be brought back; nothing is left of them.
            UnknownError: the machine does not answer.
        """
        folder = self.client.shell(_STAGE).strip()
        try:
            yield self.client.stage(folder, at, paths)
        finally:
            with suppress(MailwrightError):  # what went wrong before is what is told; a day later it is gone
                self.client.shell(f"rm -rf -- {shlex.quote(folder)}")

    def put(self, staged: Staged, paths: Sequence[str] = ()) -> tuple[str, ...]:
        """Put a staged tree to use; what its units took then, one line each.

        Raises:
            BackupError: something could not be put in its place, or a unit does not run on it.
            UnknownError: the machine does not answer.
        """
        self.client.place(staged.folder, paths)
        return self._reload(staged.paths)

    def _reload(self, placed: Sequence[str]) -> tuple[str, ...]:
        """Restart or reload what reads the paths and is older than they are, as a deploy would."""
        readers = [
            unit
            for unit in self.plan.merged.units
            if unit.running and any(_touch(read, path) for read in unit.reads for path in placed)
        ]
        seen = evidence(self.client.run, self.plan.merged, ()).observation
        due = units.decide(readers, self.plan.merged, seen)
        if not due:
            return ()
        done = self.client.run(f"sh -c {shlex.quote(script(units.apply(due)))}")
        if done.status:
            said = done.stderr.strip().splitlines() or [f"status {done.status}"]
            what = "its files are in place, but a unit does not run on them"
            raise BackupError(f"{self.plan.machine.name}: {what}: {said[-1]}")
        return due.lines


# What somebody who was killed left behind goes with the next restore, once it is old.
_STAGE = (
    f"mkdir -p -m 0700 {STAGES} && "
    f"find {STAGES} -mindepth 1 -maxdepth 1 -mmin +{_OLD} -exec rm -rf -- {{}} + && "
    f"mktemp -d {STAGES}/XXXXXXXX"
)


def _touch(one: str, other: str) -> bool:
    return units.covers((one,), other) or units.covers((other,), one)

"""The programs on the hosts that make and keep backups, as the operator's side calls them over SSH."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailwright.backup.snapshots import BackupError, Snapshot, stamp
from mailwright.model.fleet import Fleet, Machine
from mailwright.verify.gather import Run
from mailwright.verify.ssh import runner

CLIENT = "/usr/local/sbin/mailwright-backup"
"""On every machine with the role `backup`."""
KEEPER = "/usr/local/sbin/mailwright-backup-keeper"
"""On the machine with the role `backup_store`."""


@dataclass(frozen=True)
class Difference:
    """Where what was brought back and what lies on the machine are not the same."""

    path: str
    what: str
    """`missing`: it is in the snapshot and not on the machine; `extra`: the other way round; else
    `content`, `owner`, `group`, `mode`, `xattrs` or `type`."""
    expected: str = ""
    """What the snapshot has; never of a content."""
    found: str = ""
    newer: bool = False
    """It changed on the machine after the snapshot was made."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Difference:
        """Read one as the host program says it.

        Raises:
            BackupError: it is none.
        """
        try:
            expected, found = (_text(data.get(key)) for key in ("expected", "found"))
            return cls(data["path"], data["what"], expected, found, bool(data.get("newer")))
        except (KeyError, TypeError, AttributeError) as error:
            raise BackupError(f"that is no difference: {type(error).__name__}: {error}") from None


@dataclass(frozen=True)
class Staged:
    """What was brought back beside the machine's own files."""

    folder: str
    snapshots: tuple[Snapshot, ...]
    paths: tuple[str, ...]
    strangers: tuple[str, ...] = ()
    """Accounts that own something of it and that the machine lacks: it is root's."""


@dataclass(frozen=True)
class Program:
    """A host program."""

    machine: Machine
    run: Run
    """Runs a shell command on the machine."""

    def _ask(self, *arguments: str) -> str:
        """Run a command on it; what it said.

        Raises:
            BackupError: it failed, with its last line.
            UnknownError: the machine does not answer.
        """
        done = self.run(shlex.join(arguments))
        if done.status:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise BackupError(f"{self.machine.name}: {said[-1] if said else f'status {done.status}'}")
        return done.stdout

    def _json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        text = self._ask(*arguments)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            what = " ".join(arguments[:2])
            raise BackupError(f"{self.machine.name}: {what} answers no JSON: {error}") from None

    def _snapshots(self, data: object) -> tuple[Snapshot, ...]:
        if not isinstance(data, list):
            raise BackupError(f"{self.machine.name}: that is no list of snapshots")
        return tuple(sorted(map(Snapshot.of, data)))


class Client(Program):
    """What makes a machine's backups and brings them back."""

    @classmethod
    def at(cls, machine: Machine) -> Client:
        """The one of a machine, over SSH."""
        return cls(machine, runner(machine))

    def make(self, *retentions: str) -> None:
        """Back up now: all classes, or some.

        Raises:
            BackupError: it failed, or another run is at work.
            UnknownError: the machine does not answer.
        """
        self._ask(CLIENT, "run", *retentions)

    def status(self) -> Mapping[str, Any]:
        """What the last run of each class came to, and `held`: why none is made, or nothing.

        Raises:
            BackupError: it cannot say.
            UnknownError: the machine does not answer.
        """
        found = self._json(CLIENT, "status")
        if not isinstance(found, dict):
            raise BackupError(f"{self.machine.name}: that is no status of backups")
        return found

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The machine's own, oldest first, asked of the store.

        Raises:
            BackupError: the store does not answer, or refuses the machine.
            UnknownError: the machine does not answer.
        """
        return self._snapshots(self._json(CLIENT, "snapshots"))

    def stage(self, folder: str, at: datetime | None = None, paths: Sequence[str] = ()) -> Staged:
        """Bring the newest snapshots (at a time or before it) back into an empty folder of the machine.

        Raises:
            BackupError: there are none, they have no such path, or the disk is full.
            UnknownError: the machine does not answer.
        """
        when = ("--at", stamp(at)) if at else ()
        data = self._json(CLIENT, "stage", folder, *when, *_paths(paths))
        try:
            snapshots, strangers = self._snapshots(data["snapshots"]), data.get("strangers", ())
            return Staged(folder, snapshots, tuple(data["paths"]), tuple(strangers))
        except (KeyError, TypeError) as error:
            raise BackupError(f"{self.machine.name}: that says nothing of a restore: {error}") from None

    def compare(self, folder: str, paths: Sequence[str] = ()) -> tuple[Difference, ...]:
        """Where a staged tree and the machine's own files are not the same.

        Raises:
            BackupError: it cannot say.
            UnknownError: the machine does not answer.
        """
        found = self._json(CLIENT, "compare", folder, *_paths(paths))
        if not isinstance(found, list):
            raise BackupError(f"{self.machine.name}: that is no comparison")
        return tuple(map(Difference.of, found))

    def place(self, folder: str, paths: Sequence[str] = ()) -> None:
        """Put a staged tree to use.

        Raises:
            BackupError: something could not be put in place.
            UnknownError: the machine does not answer.
        """
        self._ask(CLIENT, "place", folder, *_paths(paths))

    def hold(self, reason: str) -> None:
        """Make no backups until `release`, also after a reboot.

        Raises:
            BackupError: it failed.
            UnknownError: the machine does not answer.
        """
        self._ask(CLIENT, "hold", reason)

    def shell(self, text: str) -> str:
        """Run shell text as root; what it said.

        Raises:
            BackupError: it failed.
            UnknownError: the machine does not answer.
        """
        return self._ask("sh", "-c", text)


class Keeper(Program):
    """What lists, prunes and checks the backups of all machines."""

    @classmethod
    def of(cls, fleet: Fleet) -> Keeper:
        """The fleet's.

        Raises:
            BackupError: the fleet has none.
        """
        if fleet.backup.kept_by is None:
            raise BackupError("this fleet has no backups: its file says no `backup.store`")
        machine = fleet.machine(fleet.backup.kept_by)
        return cls(machine, runner(machine))

    def snapshots(self, machine: str) -> tuple[Snapshot, ...]:
        """A machine's, oldest first.

        Raises:
            BackupError: its repository cannot be read.
            UnknownError: the keeper does not answer.
        """
        return self._snapshots(self._json(KEEPER, "snapshots", machine))

    def status(self) -> Kept:
        """What is known of the repositories and the store.

        Raises:
            BackupError: it cannot say.
            UnknownError: the keeper does not answer.
        """
        data = self._json(KEEPER, "status")
        try:
            checked = {name: _moment(each["check"]["good"]) for name, each in data["machines"].items()}
            # How fresh snapshots are is judged here, by what the machines' own settings say.
            lines = [line for kind, each in data["faults"].items() if kind != "fresh" for line in each]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BackupError(f"{self.machine.name}: that says nothing of repositories: {error}") from None
        return Kept(checked, tuple(lines))

    def check(self, machine: str) -> None:
        """Check a machine's repository now, and read a part of its data; `status` has what was found.

        Raises:
            BackupError: it is damaged.
            UnknownError: the keeper does not answer.
        """
        self._ask(KEEPER, "check", machine)


@dataclass(frozen=True)
class Kept:
    """What the keeper knows of repositories and of the store."""

    checked: Mapping[str, datetime | None]
    """When a check last found a machine's repository whole."""
    faults: tuple[str, ...]
    """A line each; those of a machine begin with its name and a colon."""

    def of(self, machine: str) -> tuple[str, ...]:
        """A machine's faults, without its name."""
        start = f"{machine}: "
        return tuple(line.removeprefix(start) for line in self.faults if line.startswith(start))

    @property
    def common(self) -> tuple[str, ...]:
        """What is wrong with the store itself."""
        starts = tuple(f"{machine}: " for machine in self.checked)
        return tuple(line for line in self.faults if not line.startswith(starts))


def _paths(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for path in paths for word in ("--path", path))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

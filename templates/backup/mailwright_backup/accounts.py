"""Names and numbers of accounts: owners are backed up by number, and come back by name."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailwright_backup.memory import exchange
from mailwright_backup.wanted import BackupError

_ROOT = 0
FOLDER = "accounts"
"""Below the program's home: a file for each class, so that two snapshots never hold the same path."""


def note(home: Path, retention: str) -> Path:
    """Write down the accounts of this machine; returns the file."""
    folder = home / FOLDER
    folder.mkdir(0o700, exist_ok=True)
    file = folder / f"{retention}.json"
    found = {
        "users": {user.pw_name: user.pw_uid for user in pwd.getpwall()},
        "groups": {group.gr_name: group.gr_gid for group in grp.getgrall()},
    }
    exchange(file, json.dumps(found, indent=1, sort_keys=True) + "\n", 0o600)
    return file


@dataclass
class Owners:
    """From a snapshot's numbers to this machine's, by name."""

    users: Mapping[int, str]
    groups: Mapping[int, str]
    strangers: set[str] = field(default_factory=set)
    """Accounts that this machine lacks; what was theirs is root's."""

    @classmethod
    def of(cls, file: Path) -> Owners:
        """As a snapshot has them.

        Raises:
            BackupError: it has not.
        """
        try:
            data = json.loads(file.read_text())
            users, groups = ({no: name for name, no in data[kind].items()} for kind in ("users", "groups"))
        except (OSError, ValueError, KeyError, AttributeError):
            raise BackupError("a snapshot does not say whose numbers are whose: it is none of ours") from None
        return cls(users, groups)

    def give(self, paths: Iterable[Path]) -> None:
        """Give what lies there to the accounts of the same names."""
        for path in paths:
            state = path.lstat()
            uid, gid = self._user(state.st_uid), self._group(state.st_gid)
            if (uid, gid) != (state.st_uid, state.st_gid):
                os.chown(path, uid, gid, follow_symlinks=False)
                if not stat.S_ISLNK(state.st_mode):
                    path.chmod(stat.S_IMODE(state.st_mode))  # chown(2) took the bits above 0777

    def _user(self, number: int) -> int:
        name = self.users.get(number)
        if name is None:
            return number
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            self.strangers.add(name)
            return _ROOT

    def _group(self, number: int) -> int:
        name = self.groups.get(number)
        if name is None:
            return number
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            self.strangers.add(f"group {name}")
            return _ROOT


def owner(state: os.stat_result) -> str:
    """Whose something is, by name where there is one."""
    try:
        return pwd.getpwuid(state.st_uid).pw_name
    except KeyError:
        return str(state.st_uid)


def group(state: os.stat_result) -> str:
    """The same of its group."""
    try:
        return grp.getgrgid(state.st_gid).gr_name
    except KeyError:
        return str(state.st_gid)


def tree(top: Path) -> Iterator[Path]:
    """A path and all below it, a folder before what it holds; links are not followed."""
    yield top
    if top.is_dir() and not top.is_symlink():
        for entry in sorted(os.scandir(top), key=lambda e: e.name):
            yield from tree(Path(entry.path))

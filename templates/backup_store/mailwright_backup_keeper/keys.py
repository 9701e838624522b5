"""Whose keys open a repository: the keeper's and the machine's, and nobody else's.

The new key is there before an old one goes, so a run that is killed anywhere leaves a repository that opens,
and the next one puts the rest right.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

from mailwright_backup_keeper import doors, room
from mailwright_backup_keeper.memory import Memory, recall, remember
from mailwright_backup_keeper.restic import Locked, NoRepository, Restic, WrongPassword
from mailwright_backup_keeper.wanted import Failed, Machine, Wanted

IN_FORCE = "password"
"""The keeper's password as it was when all keys were in order: it opens what an exchange did not reach."""


def settle(wanted: Wanted) -> list[str]:
    """Make what is missing and put the keys of all machines right; returns what failed, a line each."""
    wrong = []
    doors.close(wanted)
    room.hold(wanted)
    for machine in wanted.machines:
        try:
            if not settled(wanted, machine):
                _settle(wanted, machine)
        except Failed as error:
            wrong.append(str(error))
    if not wrong:
        _keep(wanted)
    return wrong


def settled(wanted: Wanted, machine: Machine) -> bool:
    """Whether nothing is to do for a machine, by a look at files alone."""
    memory = recall(wanted, machine.name)
    if memory.repository != machine.repository:
        return False
    if memory.passwords != _digest(wanted.password, machine.password):
        return False
    return machine.folder is None or sorted(_names(machine.folder)) == sorted(memory.keys)


def all_settled(wanted: Wanted) -> bool:
    """Whether `settle` would do nothing."""
    kept = wanted.home / IN_FORCE
    same = kept.exists() and _digest(kept) == _digest(wanted.password)
    return same and not doors.left(wanted) and all(settled(wanted, machine) for machine in wanted.machines)


def _settle(wanted: Wanted, machine: Machine) -> None:
    restic, memory = Restic(wanted, machine), recall(wanted, machine.name)
    if memory.repository != machine.repository:
        memory = Memory(machine.repository, time.time())
    ours = _current(_opened(restic))
    theirs = _added(restic, machine.password)
    for key in restic.json("key", "list"):
        if key["id"] not in (ours, theirs):
            _remove(restic, key["id"])
    folder = machine.folder
    memory.keys = _names(folder) if folder else [ours, theirs]
    memory.passwords = _digest(wanted.password, machine.password)
    remember(wanted, machine.name, memory)


def _opened(restic: Restic) -> list[dict[str, object]]:
    """The keys, listed with the keeper's own; the repository, or that key, is made where it is missing."""
    wanted, machine = restic.wanted, restic.machine
    try:
        return restic.json("key", "list")
    except NoRepository:
        restic.run("init")
        return restic.json("key", "list")
    except WrongPassword:
        pass
    for other in (wanted.home / IN_FORCE, machine.password):
        try:
            if other.exists():
                restic.run("key", "add", "--new-password-file", str(wanted.password), password=other)
                return restic.json("key", "list")
        except WrongPassword:
            continue
    raise Failed(
        f"{machine.name}: no password that is known here opens the repository at"
        f" {machine.folder or 'its store'}; bring the old secret back, or move the repository away"
    )


def _added(restic: Restic, password: Path) -> str:
    """The name of the machine's key, which is added if none opens with its password."""
    try:
        return _current(restic.json("key", "list", password=password))
    except WrongPassword:
        name = restic.machine.name
        restic.run("key", "add", "--new-password-file", str(password), "--host", name, "--user", name)
        return _current(restic.json("key", "list", password=password))


def _remove(restic: Restic, key: str) -> None:
    """A client that is to be shut out must not keep us from it by its lock.

    The keeper's own prune and check have ended: whoever runs this is alone.
    """
    try:
        restic.run("key", "remove", key)
    except Locked:
        restic.run("unlock", "--remove-all")
        restic.run("key", "remove", key)


def _current(listed: list[dict[str, object]]) -> str:
    return next(str(key["id"]) for key in listed if key["current"])


def _names(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in (folder / "keys").iterdir())
    except OSError:
        return []


def _digest(*passwords: Path) -> str:
    """Of passwords with 192 random bits; to compare them, not to store them."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in passwords)).hexdigest()


def _keep(wanted: Wanted) -> None:
    kept = wanted.home / IN_FORCE
    new = kept.with_name(".password.new")
    shutil.copyfile(wanted.password, new)
    shutil.chown(new, group=wanted.group)
    new.chmod(0o640)
    new.replace(kept)

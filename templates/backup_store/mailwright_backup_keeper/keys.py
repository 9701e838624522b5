"""Whose keys open a repository: the keeper's and the machine's, and nobody else's.

The new key is there before an old one goes, so a run that is killed anywhere leaves a repository that opens,
and the next one puts the rest right.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from mailwright_backup_keeper import doors, room
from mailwright_backup_keeper.memory import Memory, recall, remember
from mailwright_backup_keeper.restic import Locked, NoRepository, Restic, WrongPassword
from mailwright_backup_keeper.wanted import Failed, Machine, Wanted

IN_FORCE = "password"
"""The keeper's password as it was when all keys were in order: it opens what an exchange did not reach."""


def settle(wanted: Wanted, anew: Collection[str] = ()) -> list[str]:
    """Make what is missing and put the keys of all machines right; returns what failed, a line each.

    A repository that was there and is gone is made again for the machines in `anew` only: its disk may
    just not be mounted, and an empty one in its place would be taken for all there is.
    """
    doors.close(wanted)
    if not anew and (lost := _lost(wanted)):
        return [lost]
    wrong = []
    room.hold(wanted)
    for machine in wanted.machines:
        try:
            if not settled(wanted, machine):
                _settle(wanted, machine, anew=machine.name in anew)
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


def _lost(wanted: Wanted) -> str:
    """What is to be said where this machine's disk had repositories, and has none of them now."""
    made = [m.folder for m in wanted.machines if m.folder is not None and _was_made(wanted, m)]
    if not made or any(map(_names, made)):
        return ""
    return (
        f"{made[0].parent}: the repositories that were made there are gone, all of them: mount their disk and"
        " deploy again, or make new and empty ones by `mailwright-backup-keeper keys --anew`"
    )


def _was_made(wanted: Wanted, machine: Machine) -> bool:
    """Whether the repository was once there, by what is remembered on another disk than its own."""
    memory = recall(wanted, machine.name)
    return memory.repository == machine.repository and bool(memory.keys)


def _settle(wanted: Wanted, machine: Machine, *, anew: bool) -> None:
    restic, memory = Restic(wanted, machine), recall(wanted, machine.name)
    if _made(restic, anew=anew) or memory.repository != machine.repository:
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


def _made(restic: Restic, *, anew: bool) -> bool:
    """Make a repository that is missing; whether it was."""
    name = restic.machine.name
    try:
        restic.run("key", "list")
    except WrongPassword:
        return False
    except NoRepository as error:
        if _was_made(restic.wanted, restic.machine) and not anew:
            raise Failed(
                f"{error}; it was there once: bring it back, or make a new and empty one by"
                f" `mailwright-backup-keeper keys --anew {name}`"
            ) from None
        restic.run("init")
        return True
    return False


def _opened(restic: Restic) -> list[dict[str, object]]:
    """The keys, listed with the keeper's own, which is added where it is missing."""
    wanted, machine = restic.wanted, restic.machine
    try:
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

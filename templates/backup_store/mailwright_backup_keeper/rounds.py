"""What the timers do: take superseded snapshots away, and find out whether the others can be read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mailwright_backup_keeper import looking, room
from mailwright_backup_keeper.memory import Memory, not_done, recorded
from mailwright_backup_keeper.restic import Locked, Restic, hindrance, sentence
from mailwright_backup_keeper.retention import gone
from mailwright_backup_keeper.wanted import Failed, Machine, Wanted

_PACK = re.compile(r"\b(?:pack|[Pp]ack ID does not match, want) ([0-9a-f]{64})\b")
_INDEX = re.compile(r"error loading index|repository index is damaged|LoadIndex returned errors")
_AFFECTED = re.compile(r"in (file|snapshot) (\S+)")
_AT_ONCE = 500
"""Names in one command line."""
_SHOWN = 5


def prune(wanted: Wanted, machine: Machine) -> None:
    """Take away what no rule keeps.

    Raises:
        Failed: saying why it stays.
    """
    restic = Restic(wanted, machine)
    with room.given_up(wanted), recorded(wanted, machine.name, "prune"):
        restic.sweep()
        restic.patiently(lambda: _prune(restic))
        if machine.unit:  # it counts anew when it starts, and what is lent to nobody needs no server
            subprocess.run(["systemctl", "stop", f"{machine.unit}.service"], check=False)
        looking.look(restic)


def _prune(restic: Restic) -> None:
    names = sorted(gone(looking.look(restic).snapshots, restic.wanted.rules, time.time()))
    for start in range(0, len(names), _AT_ONCE):
        restic.run("forget", *names[start : start + _AT_ONCE])
    restic.run("prune")


def check(wanted: Wanted, machine: Machine, *, whole: bool = False) -> None:
    """Check the repository and read a part of its data; `whole`, or after a check that failed, all of it.

    What can be mended without losing anything is mended, and the failure stands until a check finds all well.

    Raises:
        Failed: saying what is damaged, and what has been done.
    """
    restic = Restic(wanted, machine)
    with room.given_up(wanted), recorded(wanted, machine.name, "check") as memory:
        part = memory.check.count % wanted.parts + 1
        failed = memory.check.error not in ("", not_done(machine.name, "check"))
        doubtful = whole or failed or not memory.check.good
        subset = "1/1" if doubtful else f"{part}/{wanted.parts}"
        try:
            restic.patiently(lambda: restic.run("check", f"--read-data-subset={subset}"))
        except Locked as error:
            raise Failed(_unchecked(restic, error)) from None
        except Failed as error:
            raise Failed(_mended(restic, memory, error)) from None
        memory.damaged = []


def _mended(restic: Restic, memory: Memory, error: Failed) -> str:
    """What a failed check found, after what can be done has been done.

    A repository that could not be reached or locked has shown no damage, and nothing is done to it.
    """
    done = restic.process("check", "--read-data-subset=1/1")
    if why := hindrance(restic, done):
        return _unchecked(restic, why)
    said = [str(error)]
    if _INDEX.search(done.stdout + done.stderr):
        _repair_index(restic)
        said.append("the index was damaged and has been made anew")
        done = restic.process("check", "--read-data-subset=1/1")
        if why := hindrance(restic, done):
            return "; ".join([*said, _unchecked(restic, why)])
    packs = sorted(set(_PACK.findall(done.stdout + done.stderr)))
    for pack in packs:
        note = f"pack {pack[:8]}: {_affected(restic, pack)}"
        memory.damaged = [*(one for one in memory.damaged if one != note), note]
    if packs:
        said += memory.damaged[-_SHOWN:]
        said.append(_taken_out(restic, packs))
    elif done.returncode != 0:
        memory.damaged = [sentence(done)]
        said.append(f"mailwright-backup-keeper restic {restic.machine.name} check names the snapshots")
    return "; ".join(said)


def _unchecked(restic: Restic, why: Failed) -> str:
    name = f"{restic.machine.name}: "
    return f"{name}could not be checked: {str(why).removeprefix(name)}"


def _affected(restic: Restic, pack: str) -> str:
    """What needs a pack: some files, and the snapshots that they are in."""
    done = restic.process("find", "--no-lock", "--pack", pack)
    found: dict[str, list[str]] = {"file": [], "snapshot": []}
    for kind, name in _AFFECTED.findall(done.stdout):
        if name not in found[kind]:
            found[kind].append(name)
    if not found["snapshot"]:
        return "nothing that restic can name needs it"
    return f"{_some(found['file']) or 'folders'} of snapshots {_some(found['snapshot'])}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _repair_index(restic: Restic) -> None:
    restic.run(*(("repair", "index") if restic.wanted.salvage else ("rebuild-index",)))


def _taken_out(restic: Restic, packs: Iterable[str]) -> str:
    """Take damaged packs out, so that the next backup stores again what it still finds on the machine.

    A pack is kept beside the repositories, or with the keeper: nothing is lost that was not lost before.
    """
    folder = restic.machine.folder
    if restic.wanted.salvage:
        # A folder of its own each time: restic writes over no copy that an earlier run made.
        own = Path(tempfile.mkdtemp(dir=_aside(restic)))
        _give(restic, own)
        restic.run("repair", "packs", *packs, cwd=own)
    elif folder:
        there = [f for pack in packs if (f := folder / "data" / pack[:2] / pack).exists()]
        if there:
            restic.aside(["mv", "-t", str(_aside(restic)), *map(str, there)])
        _repair_index(restic)
    else:
        return "the keeper's restic is too old to take damaged packs out: use one of version 0.16 or later"
    return "damaged packs were taken out: back the machine up now, then check again"


def _aside(restic: Restic) -> Path:
    """Where a machine's damaged packs are kept."""
    machine = restic.machine
    name = f"damaged-{machine.name}"
    aside = machine.folder.with_name(f".{name}") if machine.folder else restic.wanted.home / name
    aside.mkdir(mode=0o700, exist_ok=True)
    _give(restic, aside)
    return aside


def _give(restic: Restic, folder: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, restic.machine.account, restic.machine.account)


def repair(wanted: Wanted, machine: Machine) -> str:
    """Drop from snapshots what is beyond repair, after a backup had its chance to bring it back.

    Raises:
        Failed: restic is too old, or cannot.
    """
    if not wanted.salvage:
        raise Failed(
            f"{machine.name}: this restic cannot repair snapshots: `restic {machine.name} check` names them,"
            f" `restic {machine.name} forget ID` lets one go"
        )
    restic = Restic(wanted, machine)
    with room.given_up(wanted):
        said = restic.patiently(lambda: restic.run("repair", "snapshots", "--forget"))
        looking.look(restic)
    return said

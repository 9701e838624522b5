"""`mailwright-backup-keeper`: look after the backups of all machines."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mailwright_backup_keeper import keys, looking, rounds
from mailwright_backup_keeper.memory import missed, not_done
from mailwright_backup_keeper.restic import Restic, sentence
from mailwright_backup_keeper.status import measure, status
from mailwright_backup_keeper.wanted import Failed, Machine, Wanted, failed, read

CONFIG = "/etc/mailwright/backup-keeper.json"
_WAIT = 300.0
"""Seconds that one run waits for another."""


class Busy(Failed):
    """Another run did not end."""


Run = Callable[[Wanted, argparse.Namespace], "int | None"]


def main() -> int:
    """Run one command line; returns the exit status."""
    asked = _parser().parse_args()
    try:
        return int(asked.run(read(asked.config), asked) or 0)
    except Failed as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'mailwright-backup-keeper'}: {error.strerror}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailwright-backup-keeper",
        description="Look after the backups of all machines. Exit status: 0 all is well, 1 something is not;"
        " one line each says what.",
    )
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[Wanted, argparse.Namespace], int | None], what: str
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=what, description=what)
        one.set_defaults(run=run)
        return one

    own = command("keys", _keys, "make repositories, and let nobody but keeper and machine open them")
    own.add_argument("--settled", action="store_true", help="succeed if there is nothing to do")
    own.add_argument(
        "--anew", action="store_true", help="make repositories again that were there and are gone"
    )
    own.add_argument("machine", nargs="?", help="whose is made again; default: all that are gone")
    for name, run, what in (
        ("snapshots", _snapshots, "print the snapshots as JSON, newest last"),
        ("status", _status, "print what is there and what is wrong, as JSON"),
        ("look", _look, "see what arrived, and write the metrics"),
        ("prune", _prune, "take away the snapshots that no rule keeps"),
        ("check", _check, "check, and read a part of the data; mend what can be mended"),
    ):
        one = command(name, run, what)
        if name != "look":
            one.add_argument("machine", nargs="?", help="default: all")
        if name == "check":
            one.add_argument("--all", action="store_true", help="read all data now, however long it takes")
    repair = command("repair", _repair, "drop what is beyond repair from a machine's snapshots")
    repair.add_argument("machine")
    view = command(
        "view", _view, "restore a snapshot into a new or empty folder; the repository is only read"
    )
    view.add_argument("machine")
    view.add_argument("folder", type=Path)
    view.add_argument("--snapshot", default="latest", help="an id of `snapshots`; default: the newest")
    view.add_argument("--path", action="append", default=[], help="only this path; more than one is allowed")
    other = command(
        "restic", _restic, "run any restic command on a machine's repository with the keeper's key"
    )
    other.add_argument("machine")
    other.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _keys(wanted: Wanted, asked: argparse.Namespace) -> int:
    if asked.settled:
        return 0 if keys.all_settled(wanted) else 1
    with _alone(wanted):
        named = wanted.named(asked.machine)
        return _say(keys.settle(wanted, [machine.name for machine in named] if asked.anew else ()))


def _snapshots(wanted: Wanted, asked: argparse.Namespace) -> None:
    found: list[dict[str, Any]] = [
        {"machine": machine.name, "id": name, "class": one.kind}
        | {"time": one.time, "seen": one.seen, "paths": one.paths, "bytes": one.size}
        for machine in wanted.named(asked.machine)
        for name, one in looking.look(Restic(wanted, machine)).snapshots.items()
    ]
    print(json.dumps(sorted(found, key=lambda one: one["seen"]), indent=1))


def _status(wanted: Wanted, asked: argparse.Namespace) -> None:
    print(json.dumps(status(wanted, asked.machine), indent=1))


def _look(wanted: Wanted, _: argparse.Namespace) -> int:
    wrong = []
    for machine in wanted.machines:
        try:
            looking.look(Restic(wanted, machine))
        except (Failed, OSError) as error:
            wrong.append(failed(machine.name, error))
    measure(wanted)
    return _say(wrong)


def _prune(wanted: Wanted, asked: argparse.Namespace) -> int:
    return _round(wanted, asked.machine, "prune", rounds.prune)


def _check(wanted: Wanted, asked: argparse.Namespace) -> int:
    return _round(wanted, asked.machine, "check", partial(rounds.check, whole=asked.all))


def _round(wanted: Wanted, name: str | None, kind: str, work: Callable[[Wanted, Machine], None]) -> int:
    """What is wrong with one repository is no reason to leave the others, nor is a run that does not end."""
    wrong = []
    for machine in wanted.named(name):
        try:
            with _alone(wanted):
                work(wanted, machine)
        except Busy:
            missed(wanted, machine.name, kind)
            wrong.append(not_done(machine.name, kind))
        except (Failed, OSError) as error:
            wrong.append(failed(machine.name, error))
        measure(wanted)
    return _say(wrong)


def _repair(wanted: Wanted, asked: argparse.Namespace) -> None:
    (machine,) = wanted.named(asked.machine)
    with _alone(wanted):
        print(rounds.repair(wanted, machine), end="")


def _view(wanted: Wanted, asked: argparse.Namespace) -> int:
    (machine,) = wanted.named(asked.machine)
    if asked.folder.exists() and any(asked.folder.iterdir()):
        raise Failed(f"{asked.folder}: is not empty")
    asked.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = [word for path in asked.path for word in ("--include", path)]
    arguments = ("restore", asked.snapshot, "--no-lock", "--target", str(asked.folder.resolve()), *paths)
    done = Restic(wanted, machine).process(*arguments, root=True)
    if done.returncode != 0:
        raise Failed(f"{machine.name}: {sentence(done)}")
    return 0


def _restic(wanted: Wanted, asked: argparse.Namespace) -> int:
    (machine,) = wanted.named(asked.machine)
    done = Restic(wanted, machine).process(*asked.arguments)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode


def _say(wrong: list[str]) -> int:
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


@contextmanager
def _alone(wanted: Wanted) -> Iterator[None]:
    """One run at a time changes anything."""
    wanted.run.mkdir(parents=True, exist_ok=True)
    handle = os.open(wanted.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy("another run is at work: try again when it has ended") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)

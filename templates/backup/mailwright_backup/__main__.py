"""`mailwright-backup`: back this machine up, and bring it back."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from mailwright_backup import comparing, dumping, memory, placing, running, staging
from mailwright_backup.restic import RefusedError, Restic
from mailwright_backup.wanted import BackupError, Wanted, read

CONFIG = "/etc/mailwright/backup.json"
REPLACED = 3
"""Status of `fence`: the store knows this machine no more."""
_ANSWER = 15.0
"""Seconds that a store has to answer `fence`: a machine that boots waits for no longer."""
_GLANCE = 5.0
"""Seconds of these for the question that spares it restic."""
_EXAMPLES = """\
examples:
  mailwright-backup run                              back up everything now
  mailwright-backup stage /var/tmp/back              bring the newest snapshots back beside the live files
  mailwright-backup stage /var/tmp/back --at 2026-11-20T06:00:00Z --path /srv/mail
  mailwright-backup compare /var/tmp/back            what is not as it was
  mailwright-backup place /var/tmp/back              put them to use

Exit status: 0 done, 1 not, with one line that says why; of `fence` 3: this machine has been replaced.
"""


def main() -> int:
    """Run one command line; returns the exit status."""
    asked = _parser().parse_args()
    signal.signal(signal.SIGTERM, _stop)
    os.umask(0o077)
    try:
        status: int = asked.does(read(asked.config), asked)
    except BackupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or 'mailwright-backup'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailwright-backup",
        description="Back up what the roles of this machine declare, and bring it back.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=Path(CONFIG), help=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, does: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(does=does)
        return command

    run = add("run", _run, "dump, back up, note how it went")
    run.add_argument("classes", nargs="*", metavar="CLASS", help="long, short; default: all")
    run.add_argument("--patience", type=float, metavar="SECONDS", help="how long it may make no progress")
    add("settle", _settle, "note that a run was killed, and say what failed (for the units)")
    add("snapshots", _snapshots, "which there are, as JSON")
    add("status", _status, "how the last runs went, as JSON")
    stage = add("stage", _stage, "bring snapshots back into an empty folder")
    stage.add_argument("--at", metavar="TIME", help="the newest that were made by then (RFC 3339, UTC)")
    compare = add("compare", _compare, "what differs between a staged tree and the live one, as JSON")
    place = add("place", _place, "put a staged tree to use")
    for command in (stage, compare, place):
        command.add_argument("folder", type=Path, metavar="DIR")
        command.add_argument(
            "--path", action="append", default=[], dest="paths", help="only this; repeatable"
        )
    hold = add("hold", _hold, "no backups from now on, also after a boot")
    hold.add_argument("reason")
    add("release", _release, "backups again")
    fence = add("fence", _fence, "whether the store still knows this machine; 3: it does not")
    fence.add_argument(
        "--within", type=float, default=_ANSWER, metavar="SECONDS", help="how long it has (default: 15)"
    )
    fence.add_argument(
        "--remember", action="store_true", help="what it took, which makes it cheap to ask again"
    )
    return parser


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal.signal asks for
    raise KeyboardInterrupt


def _print(data: object) -> int:
    print(json.dumps(data, indent=1))
    return 0


def _run(wanted: Wanted, asked: argparse.Namespace) -> int:
    with memory.alone(wanted):
        if (reason := memory.held(wanted)) is not None:
            raise BackupError(f"backups are on hold: {reason} (mailwright-backup release ends that)")
        return running.run(wanted, asked.classes, asked.patience)


def _settle(wanted: Wanted, _: argparse.Namespace) -> int:
    with memory.alone(wanted):
        known = memory.Memory(wanted)
        known.settle()
        dumping.clear_all(wanted)
        for retention in wanted.classes:
            if error := known.of(retention).error:
                print(f"{retention}: {error}")
    return 0


def _snapshots(wanted: Wanted, _: argparse.Namespace) -> int:
    return _print([snapshot.told(wanted) for snapshot in staging.snapshots(wanted)])


def _status(wanted: Wanted, _: argparse.Namespace) -> int:
    return _print(memory.Memory(wanted).status(running=memory.running(wanted)))


def _stage(wanted: Wanted, asked: argparse.Namespace) -> int:
    return _print(staging.stage(wanted, asked.folder.absolute(), asked.at, tuple(asked.paths)))


def _compare(wanted: Wanted, asked: argparse.Namespace) -> int:
    with memory.alone(wanted):
        return _print(comparing.compare(wanted, asked.folder.absolute(), tuple(asked.paths)))


def _place(wanted: Wanted, asked: argparse.Namespace) -> int:
    with memory.alone(wanted):
        return _print({"paths": placing.place(wanted, asked.folder.absolute(), tuple(asked.paths))})


def _hold(wanted: Wanted, asked: argparse.Namespace) -> int:
    memory.hold(wanted, asked.reason)
    return 0


def _release(wanted: Wanted, _: argparse.Namespace) -> int:
    memory.release(wanted)
    return 0


def _fence(wanted: Wanted, asked: argparse.Namespace) -> int:
    from mailwright_backup import opening  # noqa: PLC0415 - nothing else needs TLS, which takes time to load

    until = time.monotonic() + asked.within
    seal = opening.seal(wanted, min(asked.within, _GLANCE))
    if seal and seal == opening.remembered(wanted):
        return 0
    try:
        left = max(1.0, until - time.monotonic())
        # No cache: the machine's own copy would answer in the place of the store.
        Restic(wanted).ask("cat", "config", "--no-lock", "--no-cache", longest=left)
        if seal and asked.remember:
            opening.remember(wanted, seal)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return REPLACED
    except BackupError as error:
        print(f"nobody can tell: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

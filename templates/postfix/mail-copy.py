#!/usr/bin/python3 -IS
"""mailwright-mail-copy: copies of mail that moves, and mail put back. Written by mailwright.

  mailwright-mail-copy queue-dump DIR                 all mail of the queue that was accepted by now
  mailwright-mail-copy queue-restore DIR UNIT         such a copy back into the queue, UNIT stopped meanwhile
  mailwright-mail-copy maildirs-dump MAILDIRS DIR     the same of the Maildirs below a folder
  mailwright-mail-copy maildirs-restore MAILDIRS DIR

A copy is made of hard links, so DIR is an empty folder of the same file system. Mail that is there already,
by its queue id or its name in a Maildir, is not put back a second time. Exit status: 0 done, 1 not, with one
line that says why.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

QUEUE = Path("/var/spool/postfix")
MOVES = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")
"""The queues in the order in which a message moves; from `deferred` and `hold` it may go back, too."""
BESIDE = ("defer", "bounce", "trace")
"""What has happened to a message so far: a file with its queue id each (https://www.postfix.org/bounce.8.html)."""
TAKEN_UP = {"active": "incoming"}
"""qmgr(8) looks through `incoming`; what is active belongs to one that runs."""
LEAST_PASSES = 2
"""A message that goes back while it is looked for is missed once, and is back no sooner than
`minimal_backoff_time` later: https://www.postfix.org/postconf.5.html#minimal_backoff_time."""
DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
"""Of the seconds that a long queue id begins with (base 52; https://www.postfix.org/postconf.5.html,
enable_long_queue_ids)."""
SECONDS = 6
INFORMATION = ":"
"""What follows it in the name of a message in `cur` are its flags (https://cr.yp.to/proto/maildir.html)."""


class CopyError(Exception):
    """What cannot be done, in one line."""


# --- the queue


def queue_dump(copy: Path) -> None:
    """Link every message that is there, whatever moves meanwhile.

    A message that was accepted before this began, and is not delivered meanwhile, is in the copy, once.
    """
    began = int(time.time())
    for queue in dict.fromkeys(TAKEN_UP.get(q, q) for q in MOVES):
        if (QUEUE / queue).is_dir():
            like(QUEUE / queue, copy / queue)
    linked: dict[str, Path] = {}
    passes, late, picked_up = 0, True, True
    while late or picked_up or passes < LEAST_PASSES:
        late = queue_pass(copy, linked, began)
        passes += 1
        # pickup(8) gives a message of maildrop another id; its old one is not to be sent as well.
        waiting = [name for name, path in linked.items() if path.parent.name == "maildrop"]
        gone = [name for name in waiting if not (QUEUE / "maildrop" / name).exists()]
        for name in gone:
            linked.pop(name).unlink()
        picked_up = any(born(name) <= began for name in gone)
    for log in BESIDE:
        for path in files(QUEUE / log):
            if path.name in linked:
                link(path, QUEUE, copy, log)
    date_like(QUEUE, copy)


def queue_pass(copy: Path, linked: dict[str, Path], began: int) -> bool:
    """Link what is new; whether some of that was there before the dump began."""
    late = False
    for queue in MOVES:
        for path in files(QUEUE / queue):
            if path.name in linked or not ready(path):
                continue
            made = link(path, QUEUE, copy, TAKEN_UP.get(queue, queue))
            if made is not None:
                linked[path.name] = made
            late |= born(path.name) <= began
    return late


def ready(path: Path) -> bool:
    """Whether it is mail: what is still being written is not executable (MAIL_QUEUE_STAT_READY)."""
    try:
        state = path.lstat()
    except FileNotFoundError:
        return True  # it has moved: the next pass finds out
    return stat.S_ISREG(state.st_mode) and bool(state.st_mode & stat.S_IXUSR)


def born(queue_id: str) -> int:
    """When a long queue id was given, in seconds since the epoch; 0 of a short one."""
    if len(queue_id) <= SECONDS or any(c not in DIGITS for c in queue_id[:SECONDS]) or "z" not in queue_id:
        return 0
    seconds = 0
    for digit in queue_id[:SECONDS]:
        seconds = seconds * len(DIGITS) + DIGITS.index(digit)
    return seconds


def queue_restore(copy: Path, unit: str) -> None:
    """Put the messages where qmgr(8) takes them up; it does not run meanwhile."""
    runs = systemctl("is-active", "--quiet", unit) == 0
    if runs and systemctl("stop", unit) != 0:
        raise CopyError(f"{unit} does not stop")
    try:
        there = {path.name for queue in MOVES for path in files(QUEUE / queue)}
        for part in (*BESIDE, *dict.fromkeys(TAKEN_UP.get(q, q) for q in MOVES)):
            for path in files(copy / part):
                if path.name not in there:
                    target = QUEUE / path.relative_to(copy)
                    folders(path.parent, target.parent)
                    path.rename(target)
        os.sync()
    finally:
        if runs and systemctl("start", unit) != 0:
            raise CopyError(f"{unit} does not start again")


def systemctl(*arguments: str) -> int:
    """Its exit status."""
    return subprocess.run(
        ["/usr/bin/systemctl", *arguments], stdin=subprocess.DEVNULL, check=False
    ).returncode


# --- Maildirs


def maildirs_dump(top: Path, copy: Path) -> None:
    """Link all that lies in Maildirs, but for what is still being delivered.

    A message moves from `new` to `cur`, and gets other flags there: what is looked through is looked through
    again until nothing turns up that was there before this began, and a name counts without its flags.
    """
    began = int(time.time())
    linked: set[tuple[str, str]] = set()
    passes, late = 0, True
    while late or passes < LEAST_PASSES:
        late = maildirs_pass(top, copy, linked, began)
        passes += 1
    date_like(top, copy)


def maildirs_pass(top: Path, copy: Path, linked: set[tuple[str, str]], began: int) -> bool:
    """Link what is new; whether some of that was there before the dump began."""
    late = False
    for path in files(top, skip=lambda p: p == copy or unfinished(p)):
        key = known_as(path.relative_to(top))
        if key not in linked:
            if link(path, top, copy) is not None:
                linked.add(key)
            late |= delivered(path.name) <= began
    for path in empty(top, copy):
        with suppress(FileNotFoundError):  # a mailbox that was removed meanwhile
            like(path, copy / path.relative_to(top))
    return late


def delivered(name: str) -> int:
    """The seconds that a message's name begins with (https://cr.yp.to/proto/maildir.html); 0 of any other."""
    seconds = name.partition(".")[0]
    return int(seconds) if seconds.isdecimal() and seconds.isascii() else 0


def unfinished(path: Path) -> bool:
    """Whether a folder is a Maildir's for what is being delivered, and no mailbox of that name."""
    return path.name == "tmp" and all((path.parent / part).is_dir() for part in ("new", "cur"))


def maildirs_restore(top: Path, copy: Path) -> None:
    """Put messages back that are not there, be it with other flags."""
    there = {known_as(path.relative_to(top)) for path in files(top, skip=lambda p: p == copy)}
    for folder in (p for p in copy.rglob("*") if p.is_dir()):
        folders(folder, top / folder.relative_to(copy))
    for path in files(copy):
        if known_as(path.relative_to(copy)) not in there:
            path.rename(top / path.relative_to(copy))
    os.sync()


def known_as(path: Path) -> tuple[str, str]:
    """A message by its Maildir and its name without flags; any other file by its place."""
    if path.parent.name in ("new", "cur"):
        return str(path.parent.parent), path.name.partition(INFORMATION)[0]
    return str(path.parent), path.name


def empty(top: Path, copy: Path) -> Iterator[Path]:
    """Folders that a Maildir needs though nothing lies in them."""
    for folder, names, _ in os.walk(top):
        if Path(folder) == copy.parent:
            names[:] = [n for n in names if n != copy.name]
        yield from (Path(folder, n) for n in names if not (copy / Path(folder, n).relative_to(top)).exists())


# --- files


def files(top: Path, skip: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Files below a folder, `new` before `cur`. What goes meanwhile is not there."""
    try:
        entries = sorted(os.scandir(top), key=lambda e: (e.name == "cur", e.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if not skip(path):
                yield from files(path, skip)
        elif entry.is_file(follow_symlinks=False):
            yield path


def link(path: Path, top: Path, copy: Path, queue: str = "") -> Path | None:
    """Link a file into the copy, at the same place or in another queue; `None`: it was gone."""
    inside = path.relative_to(top)
    target = copy / (Path(queue, *inside.parts[1:]) if queue else inside)
    try:
        folders(path.parent, target.parent)
        os.link(path, target, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return target


def folders(path: Path, target: Path) -> None:
    """Make a folder and those above it like others."""
    if not target.is_dir():
        folders(path.parent, target.parent)
        like(path, target)


def like(path: Path, target: Path) -> None:
    """Make a folder with the owner, the mode and the times of another one."""
    state = path.stat()
    target.mkdir(0o700, exist_ok=True)
    os.chown(target, state.st_uid, state.st_gid)
    shutil.copystat(path, target)


def date_like(top: Path, copy: Path) -> None:
    """Folders have the times of those that they are copies of, and not of when they were filled."""
    for folder in (path for path in copy.rglob("*") if path.is_dir()):
        with suppress(FileNotFoundError):  # of a mailbox that was removed meanwhile
            shutil.copystat(top / folder.relative_to(copy), folder)


COMMANDS: dict[str, tuple[int, Callable[..., None]]] = {
    "queue-dump": (1, lambda copy: queue_dump(Path(copy))),
    "queue-restore": (2, lambda copy, unit: queue_restore(Path(copy), unit)),
    "maildirs-dump": (2, lambda top, copy: maildirs_dump(Path(top), Path(copy))),
    "maildirs-restore": (2, lambda top, copy: maildirs_restore(Path(top), Path(copy))),
}


def main(arguments: list[str]) -> int:
    """Run one command line."""
    number, command = COMMANDS.get(arguments[0] if arguments else "", (-2, print))
    if len(arguments) != number + 1:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 1
    try:
        command(*arguments[1:])
    except (CopyError, OSError) as error:
        print(f"{type(error).__name__}: {error}" if isinstance(error, OSError) else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

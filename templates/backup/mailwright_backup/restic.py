"""restic(1) as a child that is watched: what it says is judged, and it does not hang for ever.

Debian 12 has 0.14, which ends every failure with status 1, and Debian 13 has 0.18, which tells some of them
apart (https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes): the words count for both.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mailwright_backup.wanted import BackupError, Wanted

PARTIAL = 3
"""restic's status when a snapshot was made without something that could not be read."""
_ANOTHER_KEY = "wrong password or no key found"
"""The repository has another key for this machine: of any store that says that it has been replaced."""
_REFUSED = (
    "(401)",  # rest-server: another password
    "(403)",
    "Permission denied (publickey",  # ssh: another key
)
"""What a store of the fleet says besides. From somebody else's it may be a bill that nobody paid."""
_NO_KEY = ('Load key "', "Identity file ")
"""ssh had no key to show: it is damaged, gone, or others could read it. So the store was not asked."""
_LOCKED = ("already locked",)
_NO_LOCK = ("unable to create lock", "Save(<lock/")
"""No lock can be written, as where the store's disk is full. restic tries for a quarter of an hour."""
_ABSENT = ("does not exist", "unable to open config file: stat")
_MOVED = 4096
"""Bytes read and written that count as progress: fewer are those of a process that wakes up to wait."""
_LOOK = 0.5
_GRACE = 5.0
"""Seconds that restic has to take its lock away when it is told to end."""
_WAIT = 15.0
"""Seconds between two tries of a repository that is locked."""
_PR_SET_PDEATHSIG = 1


class RefusedError(BackupError):
    """The store refuses this machine's key or password: it has been replaced."""


class LockedError(BackupError):
    """The keeper is at work in the repository."""


class NoLockError(BackupError):
    """The store takes no lock, and nobody else has one that is in the way."""


@dataclass(frozen=True)
class Answer:
    """What a command said that ended with status 0 or `PARTIAL`."""

    status: int
    stdout: str
    complaints: tuple[str, ...]
    """The lines of its standard error output."""


@dataclass(frozen=True)
class Restic:
    """The machine's repository."""

    wanted: Wanted

    def ask(self, *arguments: str, patience: float | None = None, longest: float | None = None) -> Answer:
        """Run one command.

        `patience` is for how many seconds it may make no progress, `longest` how long it may take at all.

        Raises:
            RefusedError, LockedError, NoLockError: as they say.
            BackupError: it failed, stood still or took too long.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(
                ["restic", *self.wanted.options, "--cache-dir", str(self.wanted.cache), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**_environment(), **self.wanted.environment},
                preexec_fn=die_with_parent,
            )
            try:
                late = _watch(child, patience or self.wanted.patience, longest)
            finally:
                _end(child)
            complaints = tuple(line for line in map(str.strip, _text(err).splitlines()) if line)
            if late:
                kind = NoLockError if _NO_LOCK[1] in "".join(complaints[-1:]) else BackupError
                raise kind(f"{late}{_last(complaints)}")
            if child.returncode not in (0, PARTIAL):
                raise _failure(child.returncode, complaints, ours=self.wanted.ours)
            return Answer(child.returncode, _text(out), complaints)

    def ask_when_free(
        self, *arguments: str, longest_wait: float, pause: Callable[[float], None] = time.sleep
    ) -> Answer:
        """The same, and wait for a keeper who prunes or checks.

        A lock whose owner is gone is taken away: of this machine's own at once, of anybody's once it has
        not been renewed for half an hour (https://restic.readthedocs.io/en/stable/100_references.html#locks).
        An append-only store lets locks, and nothing else, be removed.
        """
        until = time.monotonic() + longest_wait
        while True:
            try:
                return self.ask(*arguments)
            except LockedError:
                if time.monotonic() > until:
                    raise
            pause(_WAIT)
            self.unlock()

    def unlock(self) -> None:
        """Take away locks of processes that are gone. What another one still uses stays."""
        self.ask("unlock")


def refused(words: str, *, ours: bool) -> bool:
    """Whether a store that speaks so knows this machine no more; `ours`: it is a machine of the fleet."""
    said = ours and any(sign in words for sign in _REFUSED)
    return _ANOTHER_KEY in words or (said and not any(sign in words for sign in _NO_KEY))


def run_shell(what: str, script: str) -> None:
    """Run the shell of a dump or a restore.

    Raises:
        BackupError: it failed.
    """
    child = subprocess.Popen(
        ["/bin/sh", "-c", f"set -eu\n{script}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    try:
        said, _ = child.communicate()
    finally:
        _end(child)
    if child.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise BackupError(f"{what}: {lines[-1][:200] if lines else f'status {child.returncode}'}")


def die_with_parent() -> None:
    """Between fork and exec: who is killed leaves no restic behind that goes on without a lock (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _watch(child: subprocess.Popen[bytes], patience: float, longest: float | None) -> str | None:
    """Wait for its end; returns what is to be said of one that is to be ended."""
    began = moved = time.monotonic()
    before = 0
    while True:
        try:
            child.wait(_LOOK)
        except subprocess.TimeoutExpired:
            now, count = time.monotonic(), _io(child.pid)
            if count - before >= _MOVED:
                before, moved = count, now
            if longest is not None and now - began > longest:
                return f"no answer for {longest:.0f} s"
            if now - moved > patience:
                return f"no progress for {patience:.0f} s"
        else:
            return None


def _io(pid: int) -> int:
    """Bytes that a process has read and written, sockets included (proc(5), /proc/PID/io)."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _failure(status: int, complaints: tuple[str, ...], *, ours: bool) -> BackupError:
    words = "\n".join(complaints)
    line = _reason(complaints) or f"restic ended with status {status}"
    if refused(words, ours=ours):
        return RefusedError(f"the store refuses this machine: {line}")
    if any(sign in words for sign in _LOCKED):
        return LockedError(line)
    if lock := next((line for line in complaints if any(sign in line for sign in _NO_LOCK)), ""):
        return NoLockError(lock.removeprefix("Fatal:").strip()[:300])
    if any(sign in words for sign in _ABSENT) and "onfig file" in words:
        return BackupError(f"the store has no repository for this machine, or does not answer: {line}")
    return BackupError(line)


def _reason(complaints: tuple[str, ...]) -> str:
    """The line that says why; restic puts advice after it."""
    fatal = [line for line in complaints if line.startswith("Fatal:")]
    chosen = fatal[0] if fatal else complaints[-1] if complaints else ""
    return chosen.removeprefix("Fatal:").strip()[:300]


def _last(complaints: Iterable[str]) -> str:
    lines = list(complaints)
    return f"; the last word was: {lines[-1][:200]}" if lines else ""

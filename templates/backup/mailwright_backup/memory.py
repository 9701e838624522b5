"""How the last runs ended and whether backups are on hold: for the next run, verification, monitoring."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mailwright_backup.wanted import BackupError, Wanted

_CUT_SHORT = "the run was cut short: killed, or the machine went down"


@dataclass(frozen=True)
class Run:
    """What is known of a class. Times are seconds since the epoch; 0: never."""

    began: float = 0
    ended: float = 0
    """0 while it goes on, and of one that was killed."""
    error: str = ""
    snapshot: str = ""
    """The last one that it made, be it with errors."""
    succeeded: float = 0
    """When the last good one ended."""
    seconds: float = 0
    """How long that took."""
    size: int = 0
    """Bytes of all that it looked at."""
    added: int = 0
    """Bytes that were new to the repository."""


class Memory:
    """Runs by class, in a file that outlives a boot and is exchanged whole."""

    def __init__(self, wanted: Wanted) -> None:
        """Read what there is; what cannot be read is nothing."""
        self._wanted = wanted
        self._file = wanted.home / "runs.json"
        try:
            data = json.loads(self._file.read_text())
            self._runs = {name: Run(**each) for name, each in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._runs = {}

    def of(self, retention: str) -> Run:
        """What is known of a class."""
        return self._runs.get(retention, Run())

    def began(self, retention: str, now: float) -> None:
        """A run begins: who finds it without an end later knows that it was killed."""
        self._note(retention, replace(self.of(retention), began=now, ended=0))

    def ended(self, retention: str, run: Run) -> None:
        """It came to its end, be it a bad one."""
        self._note(retention, run)

    def settle(self) -> list[str]:
        """Note of runs that were killed when that was found out; only for who holds the lock.

        Returns the classes.
        """
        cut = [name for name, run in self._runs.items() if run.began and not run.ended]
        for name in cut:
            run = self._runs[name]
            now = datetime.now(UTC).timestamp()
            self._runs[name] = replace(run, ended=max(run.began, now), error=_CUT_SHORT)
        if cut:
            self._write()
        write_metrics(self._wanted, self)
        return cut

    def status(self, *, running: bool) -> dict[str, object]:
        """What `status` prints. A run that has no end while none is going on was killed.

        The first that is going on is no error yet.
        """
        found: dict[str, object] = {}
        for retention in self._wanted.classes:
            run = self.of(retention)
            cut = bool(run.began and not run.ended and not running)
            none_yet = not run.succeeded and not (run.began and running)
            error = _CUT_SHORT if cut else run.error or ("no backup yet" if none_yet else "")
            found[retention] = {
                "ok": not error,
                "began": told(run.began),
                "ended": told(run.ended),
                "error": error or None,
                "snapshot": run.snapshot or None,
                "succeeded": told(run.succeeded),
            }
        return found | {"held": held(self._wanted)}

    def _note(self, retention: str, run: Run) -> None:
        self._runs[retention] = run
        self._write()
        write_metrics(self._wanted, self)

    def _write(self) -> None:
        exchange(self._file, json.dumps({name: asdict(run) for name, run in self._runs.items()}), 0o600)


@contextmanager
def alone(wanted: Wanted) -> Iterator[None]:
    """Hold the lock. The kernel gives it back whatever becomes of who had it.

    Raises:
        BackupError: somebody else does.
    """
    wanted.home.mkdir(0o700, parents=True, exist_ok=True)
    handle = os.open(wanted.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(handle, 100, 0).decode(errors="replace").strip()
            raise BackupError(f"another one is running ({who or 'it has just begun'})") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"PID {os.getpid()} since {told(datetime.now(UTC).timestamp())}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def running(wanted: Wanted) -> bool:
    """Whether somebody holds the lock. Asked by trying, without waiting."""
    try:
        handle = os.open(wanted.home / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def held(wanted: Wanted) -> str | None:
    """Why backups are on hold; `None`: they are not."""
    try:
        return (wanted.home / "held").read_text(errors="replace").strip() or "nobody said why"
    except FileNotFoundError:
        return None


def hold(wanted: Wanted, reason: str) -> None:
    """No backups from now on, also after a boot."""
    wanted.home.mkdir(0o700, parents=True, exist_ok=True)
    exchange(wanted.home / "held", " ".join(reason.split()) + "\n", 0o600)
    write_metrics(wanted, Memory(wanted))


def release(wanted: Wanted) -> None:
    """Backups again."""
    (wanted.home / "held").unlink(missing_ok=True)
    write_metrics(wanted, Memory(wanted))


def told(seconds: float) -> str | None:
    """A time as RFC 3339 has it, in UTC; `None` for never."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else None


def exchange(file: Path, text: str, mode: int) -> None:
    """Write a file whole, so that it survives the loss of power."""
    half = file.with_name(f"{file.name}.new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
        os.fchmod(handle.fileno(), mode)  # whatever the umask of who runs us
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    half.replace(file)


_METRICS = {
    "began_seconds": "When the last run of this retention class began, in seconds since the epoch.",
    "success_seconds": "When the last good one ended; 0: never.",
    "failed": "1: the last one failed, or was found killed.",
    "unfinished_seconds": "When the one began that has not ended: it goes on, or was killed; 0: none.",
    "duration_seconds": "How long the last good one took.",
    "size_bytes": "What it looked at.",
    "added_bytes": "What of that was new to the repository.",
}


def write_metrics(wanted: Wanted, memory: Memory) -> None:
    """For the textfile collector of prometheus-node-exporter(1). Not to be able to is no reason to fail."""
    lines = []
    runs = {retention: memory.of(retention) for retention in wanted.classes}
    for name, meaning in _METRICS.items():
        lines += _header(name, meaning)
        lines += [
            f'mailwright_backup_{name}{{class="{retention}"}} {_measured(run)[name]:.0f}'
            for retention, run in runs.items()
        ]
    lines += [*_header("held", "1: backups are on hold."), f"mailwright_backup_held {bool(held(wanted)):d}"]
    try:
        wanted.metrics.parent.mkdir(parents=True, exist_ok=True)
        exchange(wanted.metrics, "\n".join(lines) + "\n", 0o644)
    except OSError as error:
        print(f"metrics: {wanted.metrics}: {error.strerror}", file=sys.stderr)


def _header(name: str, meaning: str) -> list[str]:
    return [f"# HELP mailwright_backup_{name} {meaning}", f"# TYPE mailwright_backup_{name} gauge"]


def _measured(run: Run) -> dict[str, float]:
    unfinished = bool(run.began and not run.ended)
    return {
        "began_seconds": run.began,
        "success_seconds": run.succeeded,
        "failed": bool(run.error),
        "unfinished_seconds": run.began if unfinished else 0,
        "duration_seconds": run.seconds,
        "size_bytes": run.size,
        "added_bytes": run.added,
    }

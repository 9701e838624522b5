"""What failed, since when and why: for the next run, for the verification and for the monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_FIRST_WAIT, _LONGEST_WAIT = 3600, 12 * 3600


@dataclass(frozen=True)
class Failure:
    """A renewal that does not succeed. Times are seconds since the epoch."""

    reason: str
    since: float
    last: float
    tries: int
    """As far as the wait before each was over: what a deploy asks in between does not make it longer."""

    @property
    def next(self) -> float:
        """When the timer asks again: an hour after the first time, then twice as long, at most half a day."""
        return self.last + min(_FIRST_WAIT << min(self.tries - 1, 10), _LONGEST_WAIT)

    def waits(self, now: float) -> bool:
        """Whether that is still to come; nobody waits where the clock was set back meanwhile."""
        return self.last <= now < self.next


class Memory:
    """Failures by title, in a file on a file system of its own: a full disk is among what it tells."""

    def __init__(self, folder: Path) -> None:
        """Read what there is; what cannot be read is nothing."""
        self._file = folder / "failures.json"
        self.failures: dict[str, Failure] = {}
        try:
            data = json.loads(self._file.read_text())
            self.failures = {title: Failure(**each) for title, each in data.items()}
        except (OSError, ValueError, TypeError):
            return

    def failed(self, title: str, reason: str, now: float) -> None:
        """Remember a failure."""
        before = self.failures.get(title)
        since, tries = (before.since, before.tries + (not before.waits(now))) if before else (now, 1)
        self.failures[title] = Failure(reason, since, now, tries)
        self._write()

    def succeeded(self, title: str) -> None:
        """Forget a failure."""
        if self.failures.pop(title, None):
            self._write()

    def keep(self, titles: set[str]) -> None:
        """Forget failures of what is not wanted any more."""
        if gone := self.failures.keys() - titles:
            for title in gone:
                del self.failures[title]
            self._write()

    def _write(self) -> None:
        replace(self._file, json.dumps({title: asdict(each) for title, each in self.failures.items()}))


def replace(file: Path, text: str) -> None:
    """Write a file that others read, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f"{file.name}.new")
    half.write_text(text)
    half.chmod(0o644)  # whatever the umask of who runs us
    half.replace(file)

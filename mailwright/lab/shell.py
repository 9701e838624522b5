"""Running programs on the controller, and waiting for conditions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailwright.model.errors import LabError

# A program started this way dies with the thread that waits for it, and takes its mounts and
# children along: killing mailwright in the middle of a build leaves nothing running or mounted.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)

_PATIENCE, _LONGEST = 0.1, 1.0
"""Between two looks: the share of the time that has passed, and the most in seconds."""


@dataclass(frozen=True)
class Completed:
    """What a program did. `stdout` and `stderr` are text; undecodable bytes are escaped."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.status == 0

    def require(self, what: str = "") -> Completed:
        """Return self.

        Raises:
            LabError: it failed; the message is `what` and the last line the program said.
        """
        if self.ok:
            return self
        said = [line.strip() for line in (self.stderr.strip() or self.stdout.strip()).splitlines()]
        errors = [line for line in said if line.startswith("E:")]  # apt says warnings after errors
        last = (errors or said or [f"exit status {self.status}"])[-1]
        raise LabError(f"{what or ' '.join(self.argv)[:120]}: {last}")


def attempt(
    argv: Sequence[str], *, stdin: str | bytes | None = None, timeout: float | None = None
) -> Completed:
    """Run `argv` to its end and report, whatever its exit status.

    Raises:
        LabError: there is no such program, or it took longer than `timeout` seconds.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin or b""
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)[:120]}: no end after {timeout:g} s") from error
    return Completed(tuple(argv), done.returncode, _text(done.stdout), _text(done.stderr))


def run(
    argv: Sequence[str], *, stdin: str | bytes | None = None, what: str = "", timeout: float | None = None
) -> str:
    """Run `argv` and return its standard output.

    Raises:
        LabError: it failed, or took longer than `timeout` seconds.
    """
    return attempt(argv, stdin=stdin, timeout=timeout).require(what).stdout


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 30, interval: float = 0.05) -> None:
    """Ask `condition` until it holds: at first every `interval` seconds, and less often the longer it takes.

    To ask is often to run something on a host, and who waits for a minute need not know to a twentieth of a
    second.

    Raises:
        LabError: it did not hold within `timeout` seconds.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > timeout:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(max(interval, min(waited * _PATIENCE, _LONGEST)))

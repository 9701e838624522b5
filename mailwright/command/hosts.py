"""The host half of `plan` and `apply`: a pyinfra run in a process of its own, followed event by event."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from mailwright.converge.events import GO, Event
from mailwright.model.errors import ConvergeError

_PATIENCE = 20
"""Seconds for the run to close its connections once it has nothing left to do."""


class Run:
    """A run of deploy.py over some machines: planned first, then begun with `go` or left alone.

    Use it as a context manager: a run that was not begun ends without touching a machine.
    """

    def __init__(
        self,
        repository: Path,
        shim: Path,
        machines: Sequence[str],
        *,
        roles: Sequence[str] = (),
        dry: bool = False,
    ) -> None:
        """Start planning at once, in the repository, from pyinfra's inventory `shim`.

        `roles`: only what is theirs, on machines that were deployed before.
        """
        # What the process prints besides its events (a traceback, a library's warning) is kept for
        # the case that it dies without a word. A file, because nobody reads a pipe meanwhile.
        self._stray = TemporaryFile()  # noqa: SIM115 - closed in __exit__
        command = [sys.executable, "-m", "mailwright.converge.driver", str(shim.absolute()), "deploy.py"]
        command += [f"--machine={name}" for name in machines] + [f"--role={name}" for name in roles]
        command += ["--dry"] if dry else []
        self._process = subprocess.Popen(
            command,
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stray,
            text=True,
            encoding="utf-8",
        )

    def events(self) -> Iterator[Event]:
        """What happens, until the plan is `ready` or the run has `ended`; call it again after `go`.

        Raises:
            ConvergeError: the run as a whole is impossible, or its process died.
        """
        for line in _open(self._process.stdout):
            event = Event.read(line)
            if event.kind == "error":
                raise ConvergeError(event.text)
            yield event
            if event.kind in ("ready", "ended"):
                return
        raise ConvergeError(f"the pyinfra process ended early: {self._last_words()}")

    def go(self) -> None:
        """Let what was planned happen."""
        stdin = _open(self._process.stdin)
        stdin.write(GO)
        stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            _open(self._process.stdin).close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _open(self._process.stdout).close()
        self._stray.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._stray.seek(0)
        lines = self._stray.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"status {self._process.returncode}"


def _open(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ConvergeError("the pyinfra process has no pipe")
    return stream


@dataclass
class MachinePlan:
    """What a run would do on a machine."""

    name: str
    changes: list[tuple[str, str]] = field(default_factory=list)
    """Operations that would change something, with their diffs."""
    unchanged: int = 0
    problem: str = ""
    """Why the machine could not be planned; empty when it could."""


@dataclass
class MachineResult:
    """What a run did on a machine."""

    name: str
    changed: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    problem: str = ""
    """The operation that failed and what it said, or why the machine took no part."""


def read_plan(events: Iterator[Event], machines: Sequence[str]) -> list[MachinePlan]:
    """Gather the plan of a run, in the order of `machines`."""
    plans = {name: MachinePlan(name) for name in machines}
    for event in events:
        plan = plans.get(event.machine)
        if plan is None:
            continue
        if event.kind == "planned" and event.changed:
            plan.changes.append((event.operation, event.text))
        elif event.kind == "planned":
            plan.unchanged += 1
        elif event.kind in ("unreachable", "refused"):
            plan.problem = event.text
    return list(plans.values())


def note_result(results: dict[str, MachineResult], event: Event) -> None:
    """Add one event of a run to its results."""
    result = results.get(event.machine)
    if result is None:
        return
    result.seconds += event.seconds
    if event.kind == "finished" and event.changed:
        result.changed += 1
    elif event.kind == "finished":
        result.unchanged += 1
    elif event.kind == "failed":
        result.problem = f"{event.operation}: {event.text or 'failed without a word'}"
    elif event.kind in ("unreachable", "refused"):
        result.problem = event.text


def converge(
    repository: Path, shim: Path, machines: Sequence[str], roles: Sequence[str], say: Callable[[str], None]
) -> dict[str, str]:
    """Deploy nothing but some roles, for a command that has work of its own with them.

    The fleet is read from its files anew, so what is to be deployed must have been written down. Returns each
    machine with what went wrong, or with nothing.
    """
    try:
        with Run(repository, shim, machines, roles=roles) as run:
            plans = read_plan(run.events(), machines)
            results = {p.name: MachineResult(p.name, problem=p.problem) for p in plans}
            if any(plan.changes for plan in plans):
                say(f"deploying {', '.join(roles)} to {', '.join(p.name for p in plans if p.changes)}")
                run.go()
                for event in run.events():
                    note_result(results, event)
    except ConvergeError as error:
        return dict.fromkeys(machines, str(error))
    return {name: result.problem for name, result in results.items()}

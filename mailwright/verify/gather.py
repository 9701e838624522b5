"""Evidence: one round trip to a machine, all machines at once."""

from __future__ import annotations

import base64
import gzip
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from math import inf

from mailwright import observe
from mailwright.model.errors import UnknownError
from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.observe import ObservationError
from mailwright.verify import batch, sockets
from mailwright.verify.expectation import Evidence, Expectation, Joint
from mailwright.verify.visiting import visits

Run = Callable[[str], Result]
"""Runs a shell command on a machine, as root; raises `UnknownError` when the machine does not answer."""

_MACHINES_AT_ONCE = 16
_WHOLE = 900
"""Seconds for all commands together. Each has its own limit, but what waits for a dead disk outlives that."""
_ARGUMENT = 120_000
"""Octets of one command: Linux takes 128 KiB in one argument (execve(2), MAX_ARG_STRLEN)."""


def evidence(run: Run, needs: Needs, expectations: Sequence[Expectation | Joint]) -> Evidence:
    """Ask a machine everything in one command, and call at its ports meanwhile.

    Raises:
        UnknownError: it did not answer, or with something that is no answer.
    """
    wanted = [v for e in expectations if isinstance(e, Expectation) for v in e.visits]
    pool = ThreadPoolExecutor(1, "outside")
    try:
        outside = pool.submit(visits, wanted)
        inside = _inside(run, needs, expectations)
        return replace(inside, receptions=outside.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _inside(run: Run, needs: Needs, expectations: Sequence[Expectation | Joint]) -> Evidence:
    asked = {e.name: e.command for e in expectations if e.command is not None}
    # What several checks judge is asked once.
    places = {command: place for place, command in enumerate(dict.fromkeys(asked.values()), start=2)}
    commands = [sockets.COMMAND, observe.script(needs), *places, sockets.COMMAND]
    began = time.time()
    output = run(packed(batch.script(commands, abreast=range(2, len(commands) - 1)), limit=_WHOLE))
    if output.status == batch.TIMED_OUT:
        raise UnknownError(f"what it was asked came to no end within {_WHOLE} s; does a disk hang?")
    frames = batch.parse(output.stdout)
    last = len(commands) - 1
    if not {0, 1, last} <= frames.keys():
        said = " / ".join((output.stderr or output.stdout).split("\n"))[:300]
        raise UnknownError(f"its answer is not whole; it said: {said or 'nothing'}")
    if frames[1].status == batch.TIMED_OUT:
        raise UnknownError("it did not answer in time; is another run changing it?")
    try:
        seen = observe.parse(frames[1].stdout)
        before, after = sockets.parse(frames[0].stdout), sockets.parse(frames[last].stdout)
    except (ObservationError, ValueError) as e:
        raise UnknownError(str(e)) from e
    if seen.uid != 0:
        raise UnknownError(f"it was looked at as user {seen.uid}; only root sees everything")
    if frames[last].status != 0:
        raise UnknownError(f"`{sockets.COMMAND}` failed: {frames[last].stderr.strip()[:200]}")
    results = {
        name: replace(frames[places[c]], asked=began) for name, c in asked.items() if places[c] in frames
    }
    return Evidence(seen, before, after, results)


def packed(script: str, *, limit: int = 0) -> str:
    """A script as one command of any POSIX login shell, small and free of quoting.

    `limit`: after so many seconds it is ended, and the status is `TIMED_OUT`.

    Raises:
        UnknownError: it is too long for that.
    """
    text = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
    if len(text) > _ARGUMENT:
        raise UnknownError(f"its checks take {len(text)} octets, more than one command may have")
    shell = f"timeout -k 5 {limit} sh" if limit else "sh"
    return f"sh -c {shlex.quote(f'echo {text} | base64 -d | gzip -dc | {shell}')}"


class Gathering:
    """The evidence about several machines, asked for at the same time and waited for one by one."""

    def __init__(self, jobs: dict[str, Callable[[], Evidence]]) -> None:
        """Begin at once. A job may raise `UnknownError`."""
        self.ended: dict[str, float] = {}
        """When a machine's job came to its end, on the monotonic clock."""
        self._pool = ThreadPoolExecutor(min(_MACHINES_AT_ONCE, max(1, len(jobs))), "verify")
        self._futures: dict[str, Future[Evidence]] = {
            machine: self._pool.submit(self._timed, machine, job) for machine, job in jobs.items()
        }

    def of(self, machine: str) -> Evidence:
        """Wait for a machine's evidence.

        Raises:
            UnknownError: it did not answer.
        """
        return self._futures[machine].result()

    def finished(self, machines: Collection[str]) -> Iterator[str]:
        """Each of `machines` as its job ends, well or not, in that order however late somebody looks."""
        names = {self._futures[machine]: machine for machine in machines}
        waiting = set(names)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from sorted((names[future] for future in done), key=lambda name: self.ended.get(name, inf))

    def close(self) -> None:
        """Do not begin what has not begun; what runs ends by its own time limits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, machine: str, job: Callable[[], Evidence]) -> Evidence:
        try:
            return job()
        finally:
            self.ended[machine] = time.monotonic()

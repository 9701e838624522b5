"""Telling the operator what is done and how long it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """One line for each finished step, with its seconds. Steps may run in parallel."""

    def __init__(self, console: Console | None = None) -> None:
        """Report to `console`; `None`: say nothing."""
        self._console = console
        self._lock = threading.Lock()
        self._begin = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A step that takes time; nothing is printed if it fails, for then the error is."""
        begin = time.monotonic()
        yield
        self._print(time.monotonic() - begin, what)

    def note(self, what: str) -> None:
        """A line without a time."""
        self._print(None, what)

    def total(self, what: str) -> None:
        """The last line: everything since the beginning."""
        self._print(time.monotonic() - self._begin, what)

    def _print(self, seconds: float | None, what: str) -> None:
        if self._console:
            figure = "" if seconds is None else f"{seconds:.1f} s"
            with self._lock:
                self._console.print(f"{figure:>8}  {what}", highlight=False, markup=False, soft_wrap=True)

"""From a decision to a pyinfra command: the one way in which operations act."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from pyinfra.api.command import PyinfraCommand

from mailwright.converge import diff, session
from mailwright.converge.files import Changes
from mailwright.converge.remote import Refusal, Script, say_no
from mailwright.converge.session import Session
from mailwright.converge.shell import script
from mailwright.observe import Observation, ObservationError
from mailwright.redact import Redactor

Commands = Generator[PyinfraCommand, None, None]


@dataclass(frozen=True)
class Task:
    """Something to do on a host: the shell text that does it, or why it cannot be done."""

    text: str = ""
    lines: tuple[str, ...] = ()
    """What will change, one line each, without secrets."""
    obstacles: tuple[str, ...] = ()
    files: Changes | None = None
    """For `--diff`."""


def converge(
    title: str,
    decide: Callable[[Session, Observation], Task | None],
    make: Callable[[str, str, Redactor], PyinfraCommand] = Script,
) -> Commands:
    """Look at the host, decide, and yield the one command that is needed, or none.

    pyinfra asks this generator twice: up to its first command while it prepares (that is how it knows
    that something will change), and again, with a newer look at the host, when it executes.
    """
    own = session.current()
    try:
        task = decide(own, own.look())
    except ObservationError as e:
        task = Task(obstacles=(str(e),))
    if task is None:
        return
    if task.obstacles:
        if not own.executing:
            say_no(own.host, task.obstacles)
        yield Refusal(task.obstacles)
        return
    diff.show(own, title, task.lines, task.files)
    if own.executing:
        own.forget()
    yield make(title, script(own.first_words(), task.text), own.redact)

"""A guide: steps one after the other, each of which looks first, so that it can be begun anew at any time."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mailwright.command.console import note, problem, say
from mailwright.command.leaving import terms
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Steps = Annotated[bool, typer.Option("--steps", help="Only print the steps.")]
MachineName = Annotated[str, typer.Argument(metavar="MACHINE", help="Its name in the fleet file.")]


@dataclass(frozen=True)
class Step:
    """One step of a guide."""

    title: str
    """What it does, as an operator reads it."""
    work: Callable[[], str]
    """Does it, unless it is done; returns what was found. A `MailwrightError` ends the guide there."""


@dataclass(frozen=True)
class Operator:
    """Who is asked before something is changed."""

    yes: bool = False

    def agree(self, question: str) -> None:
        """Ask.

        Raises:
            typer.Abort: the operator does not want it.
        """
        if not self.yes:
            typer.confirm(question, abort=True, err=True)


def follow(steps: Sequence[Step], *, only_print: bool = False) -> int:
    """Take the steps in turn, and stop at the first that fails; the exit status."""
    for number, step in enumerate(steps, start=1):
        say(f"{number}/{len(steps)}  {step.title}", None if only_print else "bold")
        if only_print:
            continue
        try:
            found = step.work()
        except MailwrightError as error:
            for line in str(error).splitlines():
                problem(f"     {line}")
            note("stopped here; the same command goes on from here once that is mended")
            return 1
        for line in found.splitlines():
            say(f"     {line}")
    return 0


def show_diff(before: str, after: str, file: Path) -> None:
    """Print what would change in a file."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
    say(f"     {display(file)}")
    for line in list(lines)[2:]:
        say(f"     {line}", {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]))


def replace_text(file: Path, text: str) -> None:
    """Put a new text in the place of a file's, all of it or nothing (rename(2)), with its mode and owner.

    Raises:
        MailwrightError: it cannot be written.
    """
    new = file.with_name(f".{file.name}.new")
    try:
        target = file.resolve()  # what a symbolic link leads to is exchanged, not the link
        new = target.with_name(f".{target.name}.new")
        with new.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        was = target.stat()
        with suppress(PermissionError):  # who is not root owns what is new
            os.chown(new, was.st_uid, was.st_gid)
        new.chmod(was.st_mode & 0o7777)
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise MailwrightError(f"{display(file)}: cannot be written: {error.strerror}") from None


def read_text(file: Path) -> str:
    """A fleet file's text, every octet of it.

    Raises:
        MailwrightError: it cannot be read.
    """
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise MailwrightError(f"{display(file)}: cannot be read: {error}") from None


def patience(wait: str) -> float:
    """What `--wait` says, in seconds.

    Raises:
        MailwrightError: it is no duration.
    """
    return terms("", wait, cut=False, force=False).wait

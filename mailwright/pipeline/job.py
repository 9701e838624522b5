"""A job of a pipeline: commands of ours with what they may log in with; their output without secrets."""

from __future__ import annotations

import html
import json
import os
import re
import secrets as random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from xml.sax.saxutils import quoteattr

from markupsafe import escape

from mailwright.drift.provenance import BY
from mailwright.model.document import display
from mailwright.model.errors import FleetError, MailwrightError
from mailwright.model.site import Site
from mailwright.pipeline.forge import forge
from mailwright.pipeline.login import aws, ssh_keys
from mailwright.redact import Redactor

_PATIENCE = 5
"""Seconds for a command to end once the job is cancelled: GitHub loses its own after 7.5."""
SUMMARY = 1024 * 1024
"""Bytes that GitHub shows of a step's summary."""
_OF_THE_FORGE = re.compile(
    r"GITHUB_TOKEN|MAILWRIGHT_GITLAB_TOKEN|CI_JOB_TOKEN|ACTIONS_ID_TOKEN_\w+|AWS_ID_TOKEN"
)
"""What commands have no use for."""
_SECRET = re.compile(
    r"MAILWRIGHT_(AGE_IDENTITY|SECRET_\w+|GITLAB_TOKEN)|GITHUB_TOKEN|CI_JOB_TOKEN|AWS_ID_TOKEN"
    r"|ACTIONS_ID_TOKEN_REQUEST_TOKEN|AWS_(SECRET_ACCESS_KEY|SESSION_TOKEN)"
)
"""Variables that hold a secret."""
_MISTAKE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): (?P<what>.*)")


@dataclass(frozen=True)
class Job:
    """Where commands run, and what is to be masked."""

    reports: Path
    """The folder for what is kept as artifact."""
    environ: Mapping[str, str] = field(repr=False)
    mask: Redactor = field(repr=False)

    def run(self, *words: str) -> tuple[int, str]:
        """Run `mailwright` with these words; its exit status, and what it said, which is also printed.

        It is written to `COMMAND.txt` among the reports, too.
        """
        lines = []
        with verbatim(self.environ), self._begun(words) as process:
            assert process.stdout  # noqa: S101 - a pipe was asked for
            for raw in process.stdout:
                line = self.mask(raw)
                sys.stdout.write(line)
                sys.stdout.flush()
                lines.append(line)
        text = "".join(lines)
        self.keep(f"{words[0]}.txt", text)
        return process.returncode, text

    def keep(self, name: str, text: str) -> None:
        """Write a file among the reports."""
        try:
            (self.reports / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise MailwrightError(
                f"{display(self.reports / name)}: cannot be written: {error.strerror}"
            ) from None

    def remask(self, name: str) -> None:
        """Mask a file that a command wrote among the reports."""
        path = self.reports / name
        if path.exists():
            self.keep(name, self.mask(path.read_text(encoding="utf-8")))

    @contextmanager
    def _begun(self, words: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
        environ = {name: value for name, value in self.environ.items() if not _OF_THE_FORGE.fullmatch(name)}
        process = subprocess.Popen(
            [sys.executable, "-m", "mailwright", *words],
            env=environ | {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            yield process
        except BaseException:
            process.send_signal(signal.SIGINT)  # so that it ends its own connections
            raise
        finally:
            try:
                process.wait(_PATIENCE if sys.exc_info()[0] else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


@contextmanager
def job(site: Site, reports: Path, environ: Mapping[str, str] = os.environ) -> Iterator[Job]:
    """A job that may log in wherever the fleet does, until it ends or is cancelled.

    Raises:
        MailwrightError: the secrets cannot be opened, or AWS does not let it in.
    """
    secrets = [site.secrets.get(name) for name in site.secrets.names()]
    here = forge(environ)
    environ = {**({BY: here.who} if here else {}), **environ, **aws(environ)}
    secrets += [value for name, value in environ.items() if _SECRET.fullmatch(name)]
    with _cancelled_by_sigterm(), ssh_keys(site):
        yield Job(reports, environ, Redactor(text for secret in secrets for text in _spellings(secret)))


def _spellings(secret: str) -> Iterator[str]:
    """Each line of a secret as text, JSON, HTML and XML have it: reports are masked in their own format."""
    for line in map(str.strip, secret.splitlines()):
        yield line
        yield from (json.dumps(line, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
        yield from (str(escape(line)), html.escape(line), html.escape(line, quote=False))
        yield quoteattr(line)[1:-1]


@contextmanager
def _cancelled_by_sigterm() -> Iterator[None]:
    """Runners cancel by SIGINT or SIGTERM; keys must not stay behind after either."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def verbatim(environ: Mapping[str, str]) -> Iterator[None]:
    """What is printed inside is text, and commands to the runner (`::error::`) in it are none.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands, stop-commands.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    word = random.token_hex(16)
    _print(f"::stop-commands::{word}")
    try:
        yield
    finally:
        _print(f"::{word}::")


def annotate(error: MailwrightError, environ: Mapping[str, str]) -> None:
    """Show mistakes of the fleet file beside the lines that a pull request changes."""
    if environ.get("GITHUB_ACTIONS") != "true" or not isinstance(error, FleetError):
        return
    for mistake in error.mistakes:
        if found := _MISTAKE.fullmatch(mistake):
            place = f"file={_escaped(found['file'], more=':,')},line={found['line']}"
            _print(f"::error {place}::{_escaped(found['what'])}")


def summarise(text: str, environ: Mapping[str, str]) -> None:
    """Show Markdown on the page of the run, where there is such a page."""
    if path := environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text.encode()[:SUMMARY].decode(errors="ignore"))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _escaped(text: str, more: str = "") -> str:
    """Data of a command to the runner, on one line; `more`: what a property may not hold either."""
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text

"""restic, run as the account that a repository belongs to, with what it says made one line.

Credentials travel in files only. restic's exit status has a meaning from 0.17 on
(https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes); 0.14 says it in words.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mailwright_backup_keeper.wanted import Failed, Machine, Wanted

PATIENCE = float(os.environ.get("MAILWRIGHT_PATIENCE", "2400"))
"""Seconds to wait for a lock. restic takes the one of a client that died away after half an hour."""
_PAUSE = 20.0
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12
"""Exit statuses."""

_UNREACHED = re.compile(
    r"dial tcp|no such host|no route to host|network is unreachable|connection (?:refused|reset|timed out)"
    r"|connection (?:closed|lost)|i/o timeout|TLS handshake|deadline exceeded|broken pipe"
    r"|Permission denied \(|kex_exchange|Could not resolve hostname|unable to start the sftp"
    r"|Service Unavailable|Internal Server Error|Bad Gateway|Gateway Timeout|SlowDown|Access ?Denied"
    r"|InvalidAccessKeyId|SignatureDoesNotMatch",
    re.IGNORECASE,
)
"""Words of Go's net, of ssh and of S3 about a store elsewhere that did not answer as it should."""

T = TypeVar("T")


class NoRepository(Failed):
    """There is none yet."""


class WrongPassword(Failed):
    """No key of the repository opens with it."""


class Locked(Failed):
    """Somebody else is working with the repository."""


class Restic:
    """One machine's repository."""

    def __init__(self, wanted: Wanted, machine: Machine) -> None:
        """Run nothing yet."""
        self.wanted, self.machine = wanted, machine

    def run(self, *arguments: str, password: Path | None = None, cwd: Path | None = None) -> str:
        """Run a command; returns what it printed. `password` is a file other than the keeper's.

        Raises:
            NoRepository, WrongPassword, Locked: as they say.
            Failed: anything else.
        """
        done = self.process(*arguments, password=password, cwd=cwd)
        if done.returncode == 0:
            return done.stdout
        raise self.failure(done)

    def process(
        self, *arguments: str, password: Path | None = None, cwd: Path | None = None, root: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """As `run`, with the exit status for the caller to judge. `root` reads without the account."""
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **self.machine.environment}
        if password is not None:
            environment["RESTIC_PASSWORD_FILE"] = str(password)
        who: dict[str, Any] = {}
        if not root and os.geteuid() == 0:
            account = self.machine.account
            who = {"user": account, "group": account, "extra_groups": [self.wanted.group]}
        try:
            return subprocess.run(
                ["restic", "--no-cache", *self.machine.options, *arguments],
                env=environment,
                cwd=cwd or "/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                umask=0o077,
                **who,
            )
        except (OSError, LookupError) as error:
            raise Failed(f"{self.machine.name}: restic cannot be run: {error}") from None

    def json(self, *arguments: str, password: Path | None = None) -> list[dict[str, Any]]:
        """What a command with `--json` printed: a list, or nothing."""
        text = self.run(*arguments, "--json", password=password)
        try:
            return json.loads(text) or []
        except ValueError:
            raise Failed(f"{self.machine.name}: restic {arguments[0]} says {text[:80]!r}") from None

    def failure(self, done: subprocess.CompletedProcess[str]) -> Failed:
        """What a failed command is to be called."""
        said = done.stderr + done.stdout
        line = f"{self.machine.name}: {sentence(done)}"
        if done.returncode == _NO_REPOSITORY or "Is there a repository at the following location?" in said:
            return NoRepository(line)
        if done.returncode == _WRONG_PASSWORD or "wrong password or no key found" in said:
            return WrongPassword(line)
        if done.returncode == _LOCKED or "already locked" in said:
            return Locked(line)
        return Failed(line)

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what needs a lock, once others are done; locks of the dead are taken away meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.unlock()
            try:
                return work()
            except Locked:
                if time.monotonic() > deadline:
                    raise
            time.sleep(min(_PAUSE, PATIENCE))

    def unlock(self) -> None:
        """Take away the locks of clients that died.

        A living client renews its lock every five minutes by a new file. Where the files lie here, their
        age by our own clock is told, not the one that a machine wrote into them.
        """
        folder = self.machine.folder
        if folder is None:
            self.run("unlock")
            return
        dead = ["find", str(folder / "locks"), "-type", "f", "-mmin", "+30", "-delete"]
        self.aside(dead)

    def sweep(self) -> None:
        """Take away what uploads that broke off a day ago or more left behind."""
        if self.machine.folder is not None:
            left = ["find", str(self.machine.folder), "-type", "f", "-name", "*.rest-server-temp*"]
            self.aside([*left, "-mmin", "+1440", "-delete"])

    def aside(self, command: list[str]) -> None:
        """Run another command as the account.

        Raises:
            Failed: with its last words.
        """
        account = self.machine.account
        who: dict[str, Any] = (
            {"user": account, "group": account, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **who)
        if done.returncode != 0:
            raise Failed(f"{self.machine.name}: {command[0]}: {done.stderr.strip()[-200:]}")


def hindrance(restic: Restic, done: subprocess.CompletedProcess[str]) -> Failed | None:
    """Why a command did not get to see the repository, where that is why it failed."""
    if done.returncode == 0:
        return None
    failure = restic.failure(done)
    if isinstance(failure, (NoRepository, WrongPassword, Locked)):
        return failure
    elsewhere = restic.machine.folder is None
    return failure if elsewhere and _UNREACHED.search(done.stdout + done.stderr) else None


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The line of restic's output that says why, without its advice."""
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("{") and '"message"' in line:
            line = str(json.loads(line).get("message", line))  # noqa: PLW2901 - the same, in words
        if line.startswith("Fatal: "):
            return line.removeprefix("Fatal: ")[:300]
    return (lines[-1] if lines else f"restic ended with status {done.returncode}")[:300]

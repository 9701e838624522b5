"""What the mailbox provider received, read from its Maildirs."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mailwright.lab.shell import wait_until
from mailwright.lab.world.mailbox import MAIL, UNITS

if TYPE_CHECKING:
    from mailwright.lab.host import LabHost


# All services run, Dovecot and the judge listen, and Postfix greets.
_READY = f"""
systemctl --quiet is-active {" ".join(UNITS)} || exit 1
test -S /var/spool/postfix/private/dovecot-lmtp || exit 1
exec 3<>/dev/tcp/127.0.0.1/11332 4<>/dev/tcp/127.0.0.1/25 || exit 1
read -r -u 4 code _ && [ "$code" = 220 ] && echo QUIT >&4
"""


@dataclass(frozen=True)
class Message:
    """A message as it lies in a Maildir."""

    user: str
    raw: bytes
    received: float
    """When it was delivered: seconds since the epoch."""

    @cached_property
    def parsed(self) -> EmailMessage:
        """The message parsed."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """Its subject; empty if it has none."""
        return str(self.parsed["Subject"] or "")

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the provider's own software found (RFC 8601), in its order."""
        found = self.parsed.get_all("Authentication-Results", [])
        return tuple(verdict for header in found for verdict in _verdicts(str(header)))

    def results(self, method: str) -> list[str]:
        """The results of `spf`, `dkim` or `dmarc`: `["pass", "pass"]` for two good signatures."""
        return [v.result for v in self.verdicts if v.method == method]


@dataclass(frozen=True)
class Verdict:
    """One result of an Authentication-Results header."""

    method: str
    result: str
    details: str
    """The rest, such as `header.d=brightpost.example header.s=r2026`."""


def _verdicts(header: str) -> list[Verdict]:
    found = []
    for part in re.sub(r"\s+", " ", header).split(";")[1:]:
        match = re.match(r" *([a-z]+)=([a-z]+)(.*)", part)
        if match:
            found.append(Verdict(match[1], match[2], match[3].strip()))
    return found


@dataclass(frozen=True)
class Mailbox:
    """The mailbox provider of the lab: every name at mailbox.example is a user."""

    host: LabHost

    def messages(self, user: str, since: float = 0) -> list[Message]:
        """A user's messages delivered at `since` (seconds since the epoch) or later, oldest first."""
        found = []
        for folder in ("new", "cur"):
            place = self.host.container.inside(f"{MAIL}/{user}/Maildir/{folder}")
            found += [_message(user, file) for file in place.glob("*")] if place.is_dir() else []
        return sorted((m for m in found if m.received >= since), key=lambda m: m.received)

    def lines(self, user: str, pattern: str) -> list[tuple[float, list[str]]]:
        """Of each message the lines that match an extended regular expression, in its order.

        With the time of its delivery, in seconds since the epoch. Messages without such a line are left
        out. One command, however many messages there are.
        """
        folders = [f"{MAIL}/{user}/Maildir/{folder}" for folder in ("new", "cur")]
        argv = ["grep", "-rsEZ", "-e", pattern, *folders]
        found: dict[str, list[str]] = {}
        for match in self.host.run(argv).stdout.splitlines():
            file, _, line = match.partition("\0")
            found.setdefault(file, []).append(line)
        return [(_delivered(file), lines) for file, lines in found.items()]

    def wait_for(
        self,
        user: str,
        predicate: Callable[[Message], bool] = lambda _: True,
        timeout: float = 30,
        since: float = 0,
    ) -> Message:
        """The first message for which `predicate` holds, waiting up to `timeout` seconds for it.

        Raises:
            LabError: none came.
        """
        found: list[Message] = []

        def came() -> bool:
            found.extend(m for m in self.messages(user, since) if predicate(m))
            return bool(found)

        wait_until(came, f"{user}@mailbox.example gets the message", timeout=timeout, interval=0.1)
        return found[0]

    def clear(self, user: str) -> None:
        """Throw away a user's mail."""
        self.host.run(["rm", "-rf", f"{MAIL}/{user}"]).require()

    def wait_until_ready(self) -> None:
        """Wait until mail is taken and the judge listens.

        Raises:
            LabError: not within half a minute.
        """
        wait_until(lambda: self.host.run(["bash", "-c", _READY]).ok, "mailbox takes mail")


def _delivered(file: str) -> float:
    """Maildir's names begin with the time in seconds, and Dovecot's go on with its microseconds."""
    match = re.match(r"(\d+)\.M(\d+)", Path(file).name)
    return int(match[1]) + int(match[2]) / 10**6 if match else 0.0


def _message(user: str, file: Path) -> Message:
    return Message(user, file.read_bytes(), file.stat().st_mtime)

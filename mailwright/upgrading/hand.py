"""Our hand on a machine: asks it what is pending, upgrades its packages, reboots it. Over SSH, as root."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mailwright.converge.shell import script
from mailwright.drift.record import again, beginning
from mailwright.model.errors import ConvergeError, UnknownError
from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.rolling.terms import Say
from mailwright.upgrading import release as ahead
from mailwright.upgrading import work
from mailwright.upgrading.pending import Pending, questions, read
from mailwright.verify import batch
from mailwright.verify.gather import Run, packed

_LOCKS = 1800.0
"""Seconds for whoever else works on the packages, unattended-upgrades for one, to come to an end."""
_REBOOT = 600.0
"""Seconds for a machine to be back after a reboot. Servers check their memory meanwhile."""
_COMMAND = 300
"""Seconds for one of the commands that ask; the first of them fetches lists."""
_SETTLED = ("running", "degraded")
"""What systemd calls itself once the boot is over: what has failed is for the suite to say."""


@dataclass(frozen=True)
class Hand:
    """A machine as an upgrade handles it."""

    name: str
    run: Run
    say: Say = lambda _: None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def look(self, removable: Sequence[str] = (), *, refresh: bool = False) -> Pending:
        """What is due on it; a machine that cannot be asked has a `problem`.

        `refresh`: fetch the archive's lists first, as Debian's timer does each day.
        """
        try:
            self.await_locks()
            if refresh and (why := self._refresh()):
                return Pending(self.name, problem=why)
            return read(self.name, self._answers(questions()), removable)
        except ConvergeError as error:
            return Pending(self.name, problem=str(error))

    def look_ahead(self, release: int, needs: Needs) -> Pending:
        """What a change to another release of Debian would do, by that release's lists; nothing is changed.

        `needs` are those of the machine: a change that takes one of their packages away is a problem.
        """
        try:
            self.await_locks()
            return ahead.read_ahead(self.name, release, self._answers(ahead.questions(release)), needs)
        except ConvergeError as error:
            return Pending(self.name, problem=str(error))

    def upgrade(self, pending: Pending, removable: Sequence[str] = (), *, security: bool = False) -> None:
        """Install what is pending, and restart what still runs on libraries of before.

        Raises:
            ConvergeError: apt or dpkg failed, or the machine does not answer.
        """
        self.await_locks()
        self.do("\n".join([beginning(), work.upgrading(pending, removable, security=security), again()]))

    def change_release(self, release: int, needs: Needs) -> None:
        """Go to another release of Debian.

        Raises:
            ConvergeError: apt or dpkg failed, or the machine does not answer. It is gone on with by the next.
        """
        self.await_locks()
        self.do("\n".join([beginning(), ahead.changing(release, needs), again()]))

    def have_changed(self) -> None:
        """Note that the machine is through with a change of release.

        Raises:
            ConvergeError: the machine does not answer.
        """
        self.do(f"rm -f {ahead.MARK}")

    def reboot(self) -> None:
        """Boot it anew, and wait until that is over.

        Raises:
            ConvergeError: it has not come back in ten minutes.
        """
        before = self._boot()
        try:
            self._asked("systemctl --no-block reboot")
        except ConvergeError:
            self.say(f"{self.name}: the connection ended with the reboot")
        began = self.clock()
        while True:
            self.pause(1)
            now = self._boot()
            if before[0] and now[0] not in ("", before[0]) and now[1] in _SETTLED:
                return
            if self.clock() - began >= _REBOOT:
                found = f"systemd says it is {now[1]}" if now[0] else "it does not answer"
                raise ConvergeError(f"{_REBOOT:g} s after it was told to reboot {found}: look at its console")

    def await_locks(self) -> None:
        """Wait until nobody else works on its packages.

        Raises:
            ConvergeError: somebody still does after half an hour, or the machine does not answer.
        """
        began, shown = self.clock(), ""
        while holder := self._asked(work.HOLDER).stdout.strip():
            if holder != shown:
                self.say(f"{self.name}: {holder} works on its packages: waiting for it")
                shown = holder
            if self.clock() - began >= _LOCKS:
                raise ConvergeError(
                    f"after {_LOCKS:g} s {holder} still works on the packages: look at what it does"
                )
            self.pause(2)

    def do(self, text: str) -> None:
        """Run shell text that changes the machine, alone on it, to its end even if the connection breaks.

        Raises:
            ConvergeError: it failed, with its last words; or the machine does not answer.
        """
        result = self._asked(packed(script(text)))
        if result.status:
            raise ConvergeError(last_words(result))

    def _answers(self, asked: Mapping[str, str]) -> dict[str, Result]:
        output = self._asked(packed(batch.script([*asked.values()], limit=_COMMAND)))
        frames = batch.parse(output.stdout)
        return {key: frames[i] for i, key in enumerate(asked) if i in frames}

    def _refresh(self) -> str:
        result = self._asked(work.REFRESH)
        return f"its package lists cannot be fetched: {last_words(result)}" if result.status else ""

    def _boot(self) -> tuple[str, str]:
        """Which boot it is in, and how far that is; nothing while it does not answer."""
        try:
            words = self._asked(work.BOOT).stdout.split()
        except ConvergeError:
            return "", ""
        return (words[0], words[1]) if len(words) > 1 else ("", "")

    def _asked(self, command: str) -> Result:
        try:
            return self.run(command)
        except UnknownError as error:
            raise ConvergeError(str(error)) from None


def last_words(result: Result) -> str:
    """What a command said of its failure: dpkg's or apt's own error if there is one, else its last line."""
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    for line, reason in pairwise([*lines, ""]):
        if line.startswith("dpkg: error"):
            return f"{line} {reason}".strip()
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines or [f"status {result.status}"])[-1].removeprefix("E: ")

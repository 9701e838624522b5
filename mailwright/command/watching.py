"""`mailwright verify --watch`: rounds until ctrl-C, and of each what is not as it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from mailwright.command.console import note, problem
from mailwright.command.suites import Verification
from mailwright.model.errors import MailwrightError
from mailwright.verify.plugin import UNKNOWN
from mailwright.verify.recorder import Listener
from mailwright.verify.report import CheckReport
from mailwright.verify.reporter import Live


def watch(
    verify: Callable[[Listener], Verification],
    live: Live,
    every: float,
    keep: Callable[[Verification], None],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Verify, wait `every` seconds, and so on until ctrl-C; the status is that of the last round.

    `verify` is one round, told to a listener; `keep` is handed a round in which something is news: the first,
    and each that has changes. The fleet file is read each time.

    Raises:
        MailwrightError: the first round cannot be made. A later one is left out, as a file may be half saved;
            if it is the last, the status is 1.
    """
    last, trouble = None, ""
    try:
        last = verify(live)
        keep(last)
        news = News(last.report.checks)
        note(f"asking again every {every:g} s; ctrl-C ends it")
        while True:
            pause(every)
            try:
                last = verify(Listener())
                if changed := news.of(last.report.checks):
                    live.changes(changed, datetime.now().astimezone())
                    keep(last)
                trouble = ""
            except MailwrightError as error:
                if str(error) != trouble:
                    problem(str(error))
                trouble = str(error)
    except KeyboardInterrupt:
        if trouble:
            return 1
        return UNKNOWN if last is None else last.status


class News:
    """What the rounds have told so far, check by check."""

    def __init__(self, checks: Iterable[CheckReport]) -> None:
        """Begin with what the first round has told."""
        self._known = {check.id: check for check in checks}

    def of(self, checks: Iterable[CheckReport]) -> list[CheckReport]:
        """What is judged otherwise now. Of a check that passes, another note is no news.

        What was skipped stays as it was known: when a machine that was silent answers again, only what is
        not as before its silence is news. A fault that nobody looks for any more has come to its end.
        """
        now = {check.id: check for check in checks}
        news = [check for check in now.values() if self._is_news(check)]
        gone = [check for name, check in self._known.items() if name not in now]
        self._known = {name: self._kept(check) for name, check in now.items()}
        return news + [
            replace(check, outcome="skipped", found="is not looked at any more")
            for check in gone
            if check.outcome in ("fail", "unknown")
        ]

    def _is_news(self, check: CheckReport) -> bool:
        before = self._known.get(check.id)
        if check.outcome == "skipped" or (before is None and check.outcome == "pass"):
            return False
        return before is None or _told(check) != _told(before)

    def _kept(self, check: CheckReport) -> CheckReport:
        return self._known.get(check.id, check) if check.outcome == "skipped" else check


def _told(check: CheckReport) -> tuple[str, str, str]:
    return (check.outcome, *(("", "") if check.outcome == "pass" else (check.expected, check.found)))

"""The suites of an inventory run by pytest, in this process, with a report as their result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailwright.command.inventory import repository
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Fleet
from mailwright.verify.plugin import UNKNOWN
from mailwright.verify.recorder import Listener, Recorder
from mailwright.verify.report import Report
from mailwright.verify.suite import Suite

_SUITES = Path("tests", "hosts")


@dataclass(frozen=True)
class Verification:
    """What was found, and the fleet that it was found of."""

    report: Report
    fleet: Fleet

    @property
    def status(self) -> int:
        """The exit status: 1 after a failure, 0 where all is well, 3 where nobody can tell, or has looked."""
        return {"pass": 0, "fail": 1}.get(self.report.verdict, UNKNOWN)


def verified(
    inventory: Path,
    limit: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    active: bool = False,
    junit: Path | None = None,
    listener: Listener | None = None,
) -> Verification:
    """Run the suites of some machines (none: all), those that a repository adds included.

    `active` sends mail, too; `only` is what `mailwright.verify.only.chosen` takes, `junit` where pytest
    shall write such a report.

    Raises:
        MailwrightError: the fleet file, the limit or `only` is wrong; there are no suites, or they cannot be
            run; a machine shows another host key than the pinned one.
        KeyboardInterrupt: the operator ended it.
    """
    suites = repository(inventory) / _SUITES
    if not suites.is_dir():
        raise MailwrightError(f"{suites}: no suite there")
    suite = Suite(str(inventory), limit, active=active)
    recorder = Recorder(suite, listener or Listener(), only)
    arguments = [str(suites), f"--inventory={inventory}", *(f"--limit={name}" for name in limit)]
    arguments += [f"--junit-xml={junit}"] if junit else []
    # Nothing is left in the repository, and no output of a test stands between the lines.
    arguments += ["-p", "no:cacheprovider", "--capture=sys"]
    ended = pytest.main(arguments, plugins=[recorder])
    if recorder.broken:
        raise recorder.broken
    if ended == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if recorder.report is None:
        raise MailwrightError(f"the suite itself went wrong (pytest's exit status {int(ended)})")
    if not recorder.report.checks:
        raise MailwrightError(f"{suites}: no check there")
    return Verification(recorder.report, suite.fleet)

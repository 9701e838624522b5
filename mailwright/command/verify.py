"""`mailwright verify`: compare machines with what their roles need, over SSH, changing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.console import Console

from mailwright.command.console import Limit, commands, note
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.model.errors import MailwrightError
from mailwright.model.select import select
from mailwright.verify.plugin import UNKNOWN
from mailwright.verify.reporter import Reporter

app = commands()

_SUITES = Path("tests", "hosts")


@app.command()
def verify(
    inventory: Inventory,
    limit: Limit = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit report, too.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for every check.")] = False,
) -> int:
    """Check that machines are what their roles say, and change nothing.

    Packages, users, files, units, sockets, certificates and behaviour, over one SSH connection a machine.

        mailwright verify inventory/prod.yaml --limit out1 --verbose

    Exit status: 0 all is well, 1 something is not, 3 a machine did not answer and nothing else is wrong.
    """
    chosen = select(open_site(inventory).fleet, limit or [])  # mistakes in one line, before pytest begins
    if closed := [machine.name for machine in chosen if machine.closed]:
        note(f"closed, and judged as such: {', '.join(closed)}; nobody reaches them, and they send no mail")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    more = [f"--junit-xml={junit}"] if junit else []
    return run_suites(inventory, limit or (), Reporter(console, verbose=verbose), more)


def run_suites(inventory: Path, limit: Sequence[str], reporter: Reporter, more: Sequence[str] = ()) -> int:
    """Run the suites of some machines (none: all), those that a repository adds included; the exit status.

    `more`: arguments of pytest's. What was found is with the reporter.

    Raises:
        MailwrightError: there are no suites, or they cannot be run.
    """
    suites = repository(inventory) / _SUITES
    if not suites.is_dir():
        raise MailwrightError(f"{suites}: no suite there")
    arguments = [str(suites), f"--inventory={inventory}", *(f"--limit={name}" for name in limit), *more]
    # Nothing is left in the repository, and no output of a test stands between the lines.
    arguments += ["-p", "no:cacheprovider", "--capture=sys"]
    status = int(pytest.main(arguments, plugins=[reporter]))
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status not in (0, 1, UNKNOWN):
        raise MailwrightError(f"the suite itself went wrong (pytest's exit status {status})")
    return status

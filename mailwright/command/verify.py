"""`mailwright verify`: compare machines with what their roles need, over SSH, changing nothing."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mailwright.command.console import Limit, commands, say
from mailwright.command.inventory import Inventory
from mailwright.command.suites import Verification, verified
from mailwright.command.watching import watch as rounds
from mailwright.model import names
from mailwright.model.base import seconds
from mailwright.model.errors import MailwrightError
from mailwright.verify.page import render
from mailwright.verify.report import as_json
from mailwright.verify.reporter import Live

app = commands()

_STDOUT = Path("-")


@app.command()
def verify(
    inventory: Inventory,
    *,
    limit: Limit = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="ROLE|MACHINE|CHECK",
            help="What this role declared, this machine, or checks of this name (`port-*`); repeatable.",
        ),
    ] = None,
    active: Annotated[
        bool, typer.Option("--active", help="Send one mail through each sending machine to `verify.probe`.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit report, too.")] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write the report as JSON; `-` is standard output."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report as one HTML page, for a ticket or an archive."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Verify again and again, and show what changed; ctrl-C ends it.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="DURATION", help="Between two rounds of --watch, for example 90s or 5m.")
    ] = "1m",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for every check.")] = False,
) -> int:
    """Check that machines are what their roles say, and change nothing.

    Packages, users, files, units, sockets, certificates and behaviour, over one SSH connection a machine, and
    what their ports show to you.

        mailwright verify inventory/prod.yaml --limit out1 --verbose
        mailwright verify inventory/prod.yaml --only postfix --only 'check-*' --json report.json
        mailwright verify inventory/prod.yaml --html report.html
        mailwright verify inventory/prod.yaml --watch --every 5m

    Exit status: 0 all is well, 1 something is not, 3 nobody can tell of something and nothing else is wrong.
    """
    if not re.match(names.DURATION, every) or not seconds(every):
        raise MailwrightError(f"--every {every}: no duration; for example 90s, 5m or 1h")
    if watch and active:
        raise MailwrightError("--watch with --active would send mail round after round; take one of them")
    # Who reads JSON on standard output reads nothing else there.
    console = Console(stderr=json_file == _STDOUT, highlight=False, markup=False, emoji=False, soft_wrap=True)
    once = partial(verified, inventory, limit or (), only=only or (), active=active, junit=junit)
    live, keep = Live(console, verbose=verbose), partial(_keep, json_file=json_file, html=html)
    if watch:
        return rounds(lambda listener: once(listener=listener), live, seconds(every), keep)
    done = once(listener=live)
    keep(done)
    return done.status


def _keep(done: Verification, *, json_file: Path | None, html: Path | None) -> None:
    """Write the reports that were asked for."""
    if json_file == _STDOUT:
        say(as_json(done.report))
    elif json_file:
        _write(json_file, as_json(done.report, indent=2) + "\n")
    if html:
        _write(html, render(done.report, done.fleet))


def _write(path: Path, text: str) -> None:
    """Write a file at once as a whole: somebody may be reading it.

    Raises:
        MailwrightError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():  # /dev/stderr, or a pipe
            path.write_text(text, encoding="utf-8")
            return
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise MailwrightError(f"{path}: cannot be written: {error.strerror}") from None

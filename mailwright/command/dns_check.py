"""`mailwright dns check`: what the world sees of the fleet, once or over and over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from maildns.judging.check import State, Verdict
from mailwright.command.console import note, problem, say
from mailwright.command.dnsview import show_changes, show_verdicts
from mailwright.command.inventory import Inventory, open_site
from mailwright.dnscheck import KINDS, check_site
from mailwright.model.errors import MailwrightError

FAULT = 1

UNKNOWN = 3
"""Exit status of a check that found no fault, but could not ask everything."""

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="DOMAIN|HOST|KIND",
        help=f"This domain and what is below it, this host or machine, or this kind of verdict; repeatable. "
        f"Kinds: {', '.join(KINDS)}.",
    ),
]


def check(
    inventory: Inventory,
    *,
    only: Only = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Ask again and again, and show what changed; ctrl-C ends it.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Between two rounds of --watch.")
    ] = 60.0,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="For programs, on standard output; with --watch one verdict a line."),
    ] = False,
) -> None:
    """Judge what the world sees of the fleet, and change nothing.

    Every authoritative server is asked directly; policies are fetched as senders fetch them, and
    certificates looked at where they are served. It can run from a timer.

        mailwright dns check inventory/prod.yaml --only mx1 --only tlsa

    Exit status: 0 all is well, 1 a fault or an error, 3 no fault but not all is known.
    """
    if watch:
        raise typer.Exit(_watch(inventory, only or (), every, as_json=as_json))
    verdicts = list(check_site(open_site(inventory), only or ()))
    if as_json:
        say(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    else:
        show_verdicts(verdicts)
    raise typer.Exit(status(verdicts))


def status(verdicts: Iterable[Verdict]) -> int:
    """The exit status that verdicts add up to."""
    states = {verdict.state for verdict in verdicts}
    return FAULT if State.FAULT in states else UNKNOWN if State.UNKNOWN in states else 0


def _watch(
    inventory: Path,
    only: Sequence[str],
    every: float,
    *,
    as_json: bool,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Rounds until ctrl-C; the status is that of the last whole picture. The fleet file is read each time.

    Raises:
        MailwrightError: the first round cannot be made. A later one is left out: a file may be half saved.
    """
    known: list[Verdict] | None = None
    trouble = ""
    try:
        while True:
            try:
                verdicts = list(check_site(open_site(inventory), only))
            except MailwrightError as error:
                if known is None:
                    raise
                if str(error) != trouble:
                    problem(str(error))
                trouble = str(error)
            else:
                _tell(verdicts, known, every, as_json=as_json)
                known, trouble = verdicts, ""
            pause(every)
    except KeyboardInterrupt:
        return UNKNOWN if known is None else status(known)


def _tell(
    verdicts: Sequence[Verdict], known: Sequence[Verdict] | None, every: float, *, as_json: bool
) -> None:
    """All of the first round, and of each later one what is news."""
    news = verdicts if known is None else changed(known, verdicts)
    if as_json:
        for verdict in news:
            say(json.dumps(asdict(verdict)))
    elif known is None:
        show_verdicts(verdicts)
        note(f"asking again every {every:g} s; ctrl-C ends it")
    elif news:
        show_changes(news, datetime.now().astimezone())


def changed(before: Iterable[Verdict], after: Iterable[Verdict]) -> list[Verdict]:
    """What is judged otherwise now. Where all is well, another sentence (a serial, a date) is no news."""
    left = {_about(v): v for v in before}
    news = [v for v in after if _told(v) != _told(left.pop(_about(v), None))]
    return news + [_ended(v) for v in left.values() if v.state is State.FAULT]


def _about(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.kind, verdict.subject, verdict.what


def _ended(fault: Verdict) -> Verdict:
    """A fault whose place is gone, such as a lame server that is named no longer."""
    sentence = f"is judged no longer; before: {fault.sentence}"
    return replace(fault, state=State.UNKNOWN, sentence=sentence, remedy="")


def _told(verdict: Verdict | None) -> tuple[State, str] | None:
    if verdict is None:
        return None
    return verdict.state, "" if verdict.state is State.OK else verdict.sentence

"""`mailwright dns check`: what the world sees of the fleet, once or over and over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from maildns.judging.check import State, Verdict
from mailwright.command.console import note, say
from mailwright.command.dnsview import show_changes, show_verdicts
from mailwright.command.inventory import Inventory, open_site
from mailwright.dnscheck import KINDS, check_site

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
    """Rounds until ctrl-C; the status is that of the last whole picture. The fleet file is read each time."""
    known: list[Verdict] | None = None
    try:
        while True:
            verdicts = list(check_site(open_site(inventory), only))
            news = verdicts if known is None else changed(known, verdicts)
            if as_json:
                for verdict in news:
                    say(json.dumps(asdict(verdict)))
            elif known is None:
                show_verdicts(verdicts)
                note(f"asking again every {every:g} s; ctrl-C ends it")
            elif news:
                show_changes(news, datetime.now().astimezone())
            known = verdicts
            pause(every)
    except KeyboardInterrupt:
        return status(known or ())


def changed(before: Iterable[Verdict], after: Iterable[Verdict]) -> list[Verdict]:
    """What is judged otherwise now. Where all is well, another sentence (a serial, a date) is no news."""
    known = {(v.kind, v.subject, v.what): v for v in before}
    return [v for v in after if _told(v) != _told(known.get((v.kind, v.subject, v.what)))]


def _told(verdict: Verdict | None) -> tuple[State, str] | None:
    if verdict is None:
        return None
    return verdict.state, "" if verdict.state is State.OK else verdict.sentence

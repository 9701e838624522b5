"""How every subcommand speaks: results on standard output, everything else on standard error.

Rich leaves colours out where the output is no terminal or NO_COLOR is set (https://no-color.org).
Lines are never wrapped: they are read by `grep` as often as by people. What looks like the code of an emoji
is none: `2001:ab:cd::1` would hold one. What machines said has no power over the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from mailwright.visible import visible

AsJson = Annotated[bool, typer.Option("--json", help="For programs, on standard output.")]

Limit = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME", help="A machine, role or label; repeatable."),
]

_OUT = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
_ERR = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def commands(summary: str | None = None, **more: Any) -> typer.Typer:  # noqa: ANN401 - Typer's own
    """A `Typer` whose help fills the terminal's width; with `summary`, one that has subcommands."""
    if summary is not None:  # a `help=None` would hide what a callback says of itself
        more |= {"help": summary, "no_args_is_help": True}
    return typer.Typer(
        add_completion=False,  # it would show with each subcommand, and work for none
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        **more,
    )


def say(text: str = "", style: str | None = None) -> None:
    """One or more lines of the result."""
    _OUT.print(visible(text), style=style)


def note(text: str, style: str | None = "dim") -> None:
    """Something about the work itself, such as progress or advice."""
    _ERR.print(visible(text), style=style)


def problem(text: str) -> None:
    """What went wrong."""
    _ERR.print(visible(text), style="red")


def columns(rows: Iterable[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Rows in aligned columns, without frames or headings."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text()
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            style = styles[i] if i < len(styles) else ""
            line.append(cell if i == len(widths) - 1 else cell.ljust(width + 2), style)
        _OUT.print(line)

"""How every subcommand speaks: results on standard output, everything else on standard error.

Rich leaves colours out where the output is no terminal or NO_COLOR is set (https://no-color.org).
Lines are never wrapped: they are read by `grep` as often as by people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_OUT = Console(highlight=False, markup=False, soft_wrap=True)
_ERR = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def say(text: str = "", style: str | None = None) -> None:
    """One or more lines of the result."""
    _OUT.print(text, style=style)


def note(text: str, style: str | None = "dim") -> None:
    """Something about the work itself, such as progress or advice."""
    _ERR.print(text, style=style)


def problem(text: str) -> None:
    """What went wrong."""
    _ERR.print(text, style="red")


def columns(rows: Iterable[Sequence[str]], styles: Sequence[str | None] = ()) -> None:
    """Rows in aligned columns, without frames or headings."""
    table = Table.grid(padding=(0, 2))
    rows = list(rows)
    for i in range(max((len(row) for row in rows), default=0)):
        table.add_column(style=styles[i] if i < len(styles) else None, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*row)
    _OUT.print(table, crop=False)

"""A file as plain data that knows its lines, and how places and values of it are shown."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Where = tuple[str | int, ...]
"""A place in the data: keys and list indexes from the top."""

_SHOWN, _LINE = 80, 400


@dataclass
class Document:
    """A YAML mapping as plain data, with the line on which every value stands."""

    name: str
    """The file as messages call it."""
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Where, int] = field(default_factory=dict)
    keys: dict[Where, int] = field(default_factory=dict)
    """The line of the key of a value, where it has one."""
    nodes: dict[Where, int] = field(default_factory=dict)
    """The same number for places that aliases make one and the same value."""

    def line(self, where: Where) -> int:
        """The line of a value, counted from 1; of what encloses it where the value is missing."""
        return self.lines.get(self._known(where), 1)

    def mistake(self, where: Where, what: str) -> str:
        """One mistake as the operator reads it: `file:line: where: what`."""
        place = f"{show(where)}: " if where else ""
        return f"{self.name}:{self.line(where)}: {place}{one_line(what)}"

    def identity(self, where: Where) -> int:
        """What is equal for two places exactly when an alias makes them one."""
        return self.nodes.get(self._known(where), 0)

    def _known(self, where: Where) -> Where:
        while where and where not in self.lines:
            where = where[:-1]
        return where


def show(where: Where) -> str:
    """A place as text: `machines[2].ipv4`; keys with dots in brackets and quotes."""
    text = ""
    for step in where:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w-]+", step):
            text += f".{step}" if text else step
        else:
            text += f"[{quote(step)}]"
    return text


def quote(value: object) -> str:
    """Any value on one line, and not too much of it."""
    if isinstance(value, (list, tuple, dict)) or value is None:
        return {dict: "a mapping", type(None): "nothing there"}.get(type(value), "a list")
    text = str(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def one_line(text: str) -> str:
    """A sentence without line breaks and control characters, whatever values it quotes."""
    text = " ".join(text.split())
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= _LINE else text[:_LINE] + "..."


def display(path: Path) -> str:
    """A path as an operator wrote or would write it: relative where it lies below the working directory."""
    with suppress(ValueError, OSError):
        path = path.absolute().relative_to(Path.cwd())
    text = str(path)
    return text if text.isprintable() else text.encode("unicode_escape", "surrogatepass").decode()

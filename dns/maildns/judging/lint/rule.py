"""What a lint is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from maildns.judging.lint.view import View


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Mail is lost, or anybody can send in our name."""
    WARNING = "warning"
    """Something does not protect or will not work as it looks."""


Found = Iterable[tuple[str, str]]
"""(DNS name, sentence)"""


@dataclass(frozen=True)
class Rule:
    """One lint."""

    name: str
    severity: Severity
    find: Callable[[View], Found]


@dataclass(frozen=True)
class Finding:
    """A lint that has found something."""

    name: str
    severity: Severity
    about: str
    """The DNS name."""
    sentence: str
    """What is wrong, and what to do."""


def several(found: Iterable[tuple[str, tuple[str, ...]]], kind: str, section: str) -> Found:
    """Names with more records of a kind than the one that receivers apply; `section` is where that stands."""
    for name, texts in found:
        if len(texts) > 1:
            yield name, f"{len(texts)} {kind} records: receivers apply none ({section}); make them one"

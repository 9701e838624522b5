"""What a judge says of a place, in the same words for all judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailwright.model.errors import MailwrightError


class JudgeError(MailwrightError):
    """A judge did not run to its end, or could not be understood: nothing is known of that place."""


@dataclass(frozen=True)
class Finding:
    """Something that a judge marks down.

    `name` is the judge's own word for it where it has one; `says` what it found there. `value` is a mark
    where the judge gives marks, the worse the higher.
    """

    name: str
    says: str
    value: float = 0.0

    @property
    def told(self) -> str:
        """Both on one line: what an explanation is matched against."""
        return f"{self.name} {self.says}".strip()


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one place: its own summary in a few words, and what it marks down."""

    place: str
    summary: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Task:
    """One run of a judge. It ends by itself, because what it runs has a time limit."""

    place: str
    run: Callable[[], tuple[Verdict, ...]]
    """Raises JudgeError or LabError when it has no verdict."""

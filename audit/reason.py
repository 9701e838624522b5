"""Explanations: which findings they fit, and which of them fit nothing any more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from audit.verdict import Finding


@dataclass(frozen=True)
class Reason:
    """An explanation.

    `finding` is matched against the judge's name for it and what it says, in one line; `where` against the
    place. A finding with a worse mark than `at_most` is not explained by it.
    """

    judge: str
    finding: str
    why: str
    where: str = "*"
    at_most: float = math.inf

    def fits(self, judge: str, place: str, finding: Finding) -> bool:
        """Whether it explains that."""
        return (
            judge == self.judge
            and finding.value <= self.at_most
            and fnmatchcase(finding.told, self.finding)
            and fnmatchcase(place, self.where)
        )


def reason_for(judge: str, place: str, finding: Finding, reasons: Sequence[Reason]) -> Reason | None:
    """The first explanation of a finding, or `None`."""
    return next((reason for reason in reasons if reason.fits(judge, place, finding)), None)


def unneeded(reasons: Iterable[Reason], used: Iterable[Reason], judges: Iterable[str]) -> list[Reason]:
    """Explanations of those judges that nothing was explained by."""
    needed, asked = set(used), set(judges)
    return [reason for reason in reasons if reason.judge in asked and reason not in needed]

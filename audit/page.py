"""docs/audit.md: a section a judge, with what it said of each place and why what it marks down stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from audit.reason import Reason
from audit.verdict import Finding, Verdict

HEAD = """\
# What others say

Written by `make audit`: judges that are not ours look at the lab that is up (`--fleet`; default
`inventory/lab.yaml`, which `make lab` leaves deployed), at one machine of each kind in it: the same roles,
settings and Debian release. What a judge marks down is raised, or it is said below why it stays. The
explanations are data in `audit/reasons.py`. `make audit` ends with status 1 when something is marked down
that none of them fits, or when a judge did not run to its end, and it names those that fit nothing any more.

    make audit                            # all judges
    make audit ONLY='nmap ssh-audit'      # some of them; the other sections of this page stay as they are
    sudo .venv/bin/python -m audit --machine mx1 lynis    # one machine; this page is left alone
"""


_SHOWN = 4
"""Findings of one explanation that are written out; what is not explained is shown whole."""


@dataclass(frozen=True)
class Marked:
    """Something marked down at a place, and why it stays; `None`: nobody has said."""

    place: str
    finding: Finding
    reason: Reason | None


def section(about: str, judge: str, verdicts: Sequence[Verdict], marked: Sequence[Marked]) -> str:
    """One judge's section, without its title."""
    rows = [(v.place, v.summary, str(len(v.findings) or "")) for v in verdicts]
    parts = [
        f"{about}\n\n{judge}, {datetime.now(UTC):%Y-%m-%d}.",
        table(("at", "it says", "marked down"), rows),
    ]
    if marked:
        parts.append(table(("marked down", "at", "why it stays"), _explained(marked)))
    return "\n\n".join(parts)


def _explained(marked: Iterable[Marked]) -> list[tuple[str, str, str]]:
    """A row for each explanation, with everything that it explains; first what nobody has explained."""
    groups: dict[Reason | None, list[Marked]] = {None: []}
    for each in marked:
        groups.setdefault(each.reason, []).append(each)
    rows = []
    for reason, of_it in groups.items():
        what = dict.fromkeys(each.finding.told for each in of_it)
        places = dict.fromkeys(each.place for each in of_it)
        if what:
            shown = [*what] if reason is None or len(what) <= _SHOWN else [*list(what)[:_SHOWN], _more(what)]
            rows.append(
                ("<br>".join(shown), ", ".join(places), reason.why if reason else "**not explained**")
            )
    return rows


def _more(what: Mapping[str, object]) -> str:
    return f"and {len(what) - _SHOWN} more of the kind"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; what a judge says cannot break it."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def merged(old: str, sections: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with these sections new and the others as they were."""
    known = dict(re.findall(r"^## (.+?)\n\n(.*?)(?=^## |\Z)", old, re.DOTALL | re.MULTILINE))
    held = known | dict(sections)
    parts = [f"## {title}\n\n{held[title].strip()}\n" for title in order if title in held]
    return "\n".join([HEAD, *parts])

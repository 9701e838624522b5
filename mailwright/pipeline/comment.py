"""What a command said, as a comment on a change: Markdown that fits, and that no output breaks out of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FENCE = 3


@dataclass(frozen=True)
class Told:
    """What is told of one command over one fleet."""

    fleet: str
    """The fleet file as the pipeline names it: a comment is updated by whoever plans the same file."""
    title: str
    """What came of it, in a few words."""
    text: str
    """What the command printed."""
    plan: Mapping[str, Any] | None = None
    """Of a plan its JSON."""
    notes: tuple[str, ...] = ()
    """What a reviewer must see besides, such as who may open the secrets from now on."""
    commit: str = ""
    job: str = ""
    """The address of the job, which has the whole text as artifact."""


def marker(fleet: str) -> str:
    """The first line of the comment, by which the next run finds it. Readers do not see it."""
    return f"<!-- mailwright plan {re.sub('-+', '-', re.sub('[^ -~]|>', '-', fleet))} -->"


def markdown(told: Told, limit: int) -> str:
    """The comment, at most `limit` bytes of UTF-8; of a longer text the beginning."""
    parts = [marker(told.fleet), f"**{told.title}**: {_code(told.fleet)}{_commit(told.commit)}"]
    parts += [f"- {note}" for note in told.notes]
    if rows := list(_counts(told.plan)):
        parts += ["", "| what | to change |", "|---|---|", *(f"| {_code(name)} | {n} |" for name, n in rows)]
    head = "\n".join(parts) + "\n\n"
    lines = told.text.rstrip("\n").splitlines() or ["(no output)"]
    shown = _fitting(lines, limit - len(_around(head, lines, len(lines), told.job).encode()))
    return _around(head, lines, shown, told.job, "\n".join(lines[:shown]))


def _around(head: str, lines: list[str], shown: int, job: str, text: str = "") -> str:
    fence = "`" * max(_FENCE, 1 + max((len(run) for run in re.findall("`+", "\n".join(lines))), default=0))
    where = f"[the job]({job})" if job else "the job"
    cut = f"\n{shown} of {len(lines)} lines; all of them are an artifact of {where}.\n"
    return f"{head}{fence}diff\n{text}\n{fence}\n" + (cut if shown < len(lines) or not text else "")


def _fitting(lines: list[str], room: int) -> int:
    """How many lines fit into so many bytes."""
    for count, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            return count
    return len(lines)


def _counts(data: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Machines and zones with something to do, and how much; those that cannot be planned, too."""
    if not data:
        return []
    rows = [
        (machine["machine"], "cannot be planned" if machine["problem"] else str(len(machine["changes"])))
        for machine in data["machines"]
        if machine["changes"] or machine["problem"]
    ]
    zones = data["zones"] or ()
    rows += [(zone["zone"], str(len(zone["changes"]))) for zone in zones if zone["changes"]]
    return rows + [(one["zone"], "cannot be read") for one in data["unread"]]


def _code(text: str) -> str:
    """Text as code; what would end the code span, or the cell of a table, is taken out."""
    return "`" + re.sub(r"[`|\r\n]", "", text) + "`"


def _commit(commit: str) -> str:
    return f", at {_code(commit[:12])}" if commit else ""

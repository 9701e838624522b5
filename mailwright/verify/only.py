"""What an operator means by `--only`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from mailwright.model.errors import MailwrightError


@dataclass(frozen=True)
class Subject:
    """What a check is about. A test of one's own has a name and nothing else."""

    name: str
    id: str
    role: str = ""
    machines: tuple[str, ...] = ()


def chosen(subjects: Sequence[Subject], words: Sequence[str]) -> list[bool]:
    """Which of the subjects `words` mean; all of them without a word.

    A word is a machine, a role, or a pattern for names of checks (fnmatch: `port-*`). Of several machines
    (roles, patterns) any will do, and whoever names a machine and a role means the role on that machine.
    What concerns several machines is meant when all of them are named.

    Raises:
        MailwrightError: a word, or what they mean together, matches nothing.
    """
    machines = {name for subject in subjects for name in subject.machines} & {*words}
    roles = {subject.role for subject in subjects} & {*words} - {""}
    patterns = [word for word in words if word not in machines | roles]
    for pattern in patterns:
        if not any(_matches(subject, pattern) for subject in subjects):
            raise MailwrightError(f"--only {pattern}: {_nothing(pattern, subjects)}")
    found = [
        (not machines or (bool(subject.machines) and machines.issuperset(subject.machines)))
        and (not roles or subject.role in roles)
        and (not patterns or any(_matches(subject, pattern) for pattern in patterns))
        for subject in subjects
    ]
    if words and not any(found):
        raise MailwrightError(f"--only {' --only '.join(words)}: no check is meant by all of that")
    return found


def _matches(subject: Subject, pattern: str) -> bool:
    said = (subject.name, subject.id)
    return pattern in said or any(fnmatchcase(name, pattern) for name in said)


def _nothing(word: str, subjects: Sequence[Subject]) -> str:
    known = {word for subject in subjects for word in (subject.name, subject.role, *subject.machines) if word}
    near = get_close_matches(word, sorted(known), n=1)
    return "no machine, role or check of that name" + (f"; did you mean {near[0]}?" if near else "")

"""What is known of the backups of a fleet's machines: the keeper's word, and each machine's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from mailwright.backup.programs import Keeper
from mailwright.backup.snapshots import RETENTIONS, BackupError, Snapshot, Standing, standing
from mailwright.model.base import seconds
from mailwright.model.crossbackups import MAKES
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.fleet import Machine
from mailwright.model.select import select
from mailwright.model.site import Site

T = TypeVar("T")
_AT_ONCE = 4
"""Questions to the keeper side by side: one sshd answers all of them."""


def backed_up(site: Site, limit: Sequence[str]) -> tuple[Machine, ...]:
    """The machines that make backups, of those that `--limit` names.

    Raises:
        BackupError: none of them does.
    """
    chosen = select(site.fleet, limit)
    found = tuple(machine for machine in chosen if MAKES in machine.roles)
    if not found:
        who = ", ".join(machine.name for machine in chosen)
        raise BackupError(f"no backups are made of {who}: the role {MAKES} is missing")
    return found


def standings(
    site: Site, machine: Machine, found: Sequence[Snapshot] | MailwrightError, now: datetime
) -> Iterator[Standing]:
    """How a machine stands in each class that its roles have something in.

    `found` are its snapshots, or why they cannot be told.
    """
    paths = site.plan(machine).merged.backups
    # A role's settings are known by its own module alone; what they say is plain data.
    fresh = seconds(site.settings(machine, MAKES).model_dump()["stale_after"])
    for retention in RETENTIONS:
        mine = [path for path in paths if path.retention == retention]
        if isinstance(found, MailwrightError):
            yield Standing(machine.name, retention, (), None, (str(found),))
        elif mine or retention == RETENTIONS[0]:
            yield standing(machine.name, retention, found, mine, fresh=fresh, now=now)


@dataclass(frozen=True)
class Answer:
    """What one of several machines came to."""

    machine: str
    found: Any = None
    problem: MailwrightError | None = None


def asked(machines: Sequence[Machine], ask: Callable[[Machine], T], at_once: int) -> Iterator[Answer]:
    """Ask several machines something, so many at a time; answers in the order of `machines`."""

    def one(machine: Machine) -> Answer:
        try:
            return Answer(machine.name, ask(machine))
        except MailwrightError as error:
            return Answer(machine.name, problem=error)

    with ThreadPoolExecutor(at_once, "backup") as pool:
        yield from pool.map(one, machines)


def sight(
    site: Site, machines: Sequence[Machine], keeper: Keeper, now: datetime
) -> tuple[list[Standing], str]:
    """How machines stand, by the keeper's word alone; or nothing, and why the keeper says nothing."""
    rows: list[Standing] = []
    answers = asked(machines, lambda machine: keeper.snapshots(machine.name), _AT_ONCE)
    for machine, answer in zip(machines, answers, strict=True):
        if isinstance(answer.problem, UnknownError):
            return [], f"{keeper.machine.name}, which keeps the backups, does not answer: {answer.problem}"
        rows += standings(site, machine, answer.problem or answer.found, now)
    return rows, ""

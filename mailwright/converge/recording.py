"""The last operation of a run: who applied what, and what the machine is like then (mailwright/drift)."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.operation import operation

from mailwright.converge.inventory import FLEET_FILE, ROLES
from mailwright.converge.session import Session, current
from mailwright.converge.task import Commands, Task, converge
from mailwright.drift import provenance, survey
from mailwright.drift.places import OPERATION, RECORD
from mailwright.drift.record import ending, settled, wanted
from mailwright.observe import Observation

NAME = OPERATION


def test(own: Session) -> str:
    """The shell test that says whether a record is due."""
    roles = own.host.data.get(ROLES)
    return settled(wanted(own.plan.by_role, roles or ()), partly=roles is not None)


@operation()
def record() -> Commands:
    """Record a run that changed something, or a machine that has no record of what it is to be."""

    def decide(own: Session, seen: Observation) -> Task | None:
        if seen.passed(test(own)):
            return None
        roles = tuple(own.host.data.get(ROLES) or ())
        applied = provenance.applied(Path(own.host.data.get(FLEET_FILE)), roles)
        # The same in every plan: one that is made anew before its turn must not look like another.
        lines = (f"{RECORD}: who applied what, and what the machine is like then",)
        return Task(ending(survey.script(own.plan.merged), applied, wanted(own.plan.by_role, roles)), lines)

    current()
    yield from converge(NAME, decide)

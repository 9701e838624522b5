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
    return settled(wanted(own.plan.merged), partly=own.host.data.get(ROLES) is not None)


@operation()
def record() -> Commands:
    """Record a run that changed something, or a machine that has no record of what it is to be."""

    def decide(own: Session, seen: Observation) -> Task | None:
        if seen.passed(test(own)):
            return None
        merged, roles = own.plan.merged, own.host.data.get(ROLES)
        applied = provenance.applied(Path(own.host.data.get(FLEET_FILE)), tuple(roles or ()))
        digest = wanted(merged) if roles is None else None
        # The same in every plan: one that is made anew before its turn must not look like another.
        lines = (f"{RECORD}: who applied what, and what the machine is like then",)
        return Task(ending(survey.script(merged), applied, digest), lines)

    current()
    yield from converge(NAME, decide)

"""What several machines must be together: two of them may each be as they should, and the fleet is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from mailwright.model.errors import UnknownError
from mailwright.model.role import Agreement, Result
from mailwright.model.site import Site
from mailwright.verify.expectation import Evidence, Fault, Joint


def joint(site: Site, machines: Collection[str]) -> tuple[Joint, ...]:
    """What the roles say of several of `machines` together; an agreement with any other is left out."""
    return tuple(
        _expected(role, agreement)
        for role, agreement in site.agreements()
        if set(agreement.machines) <= set(machines)
    )


def _expected(role: str, agreement: Agreement) -> Joint:
    name = f"agreement-{role}-{agreement.name}"
    judged = partial(_judge, agreement, name)
    return Joint(agreement.machines, role, name, judged, agreement.remedy, agreement.command)


def _judge(agreement: Agreement, name: str, evidence: Mapping[str, Evidence]) -> Fault | None:
    results = {machine: _result(machine, own, name) for machine, own in evidence.items()}
    found = agreement.judge(results)
    return Fault(agreement.name, found) if found is not None else None


def _result(machine: str, own: Evidence, name: str) -> Result:
    try:
        return own.result(name)
    except UnknownError as error:
        raise UnknownError(f"{machine}: {error}") from None

"""The drift of one machine: asked, compared, and told without secrets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from mailwright.drift.ask import Answer, ask, texts
from mailwright.drift.compare import compare
from mailwright.drift.declared import Declared
from mailwright.drift.finding import Finding
from mailwright.drift.record import Applied, wanted
from mailwright.drift.texts import shown, with_texts
from mailwright.model.errors import UnknownError
from mailwright.model.site import MachinePlan
from mailwright.redact import Redactor
from mailwright.verify.gather import Run

State = Literal["clean", "drift", "unknown"]

_CLOCKS = 60
"""Seconds by which a machine's clock may be off; signatures, TLS and DNSSEC suffer from minutes."""


@dataclass(frozen=True)
class MachineDrift:
    """What changed on a machine since the last apply."""

    name: str
    applied: Applied | None = None
    findings: tuple[Finding, ...] = ()
    unknown: str = ""
    """Why nothing is known of it; empty if it is."""
    pending: bool = False
    """The fleet file or the roles want something else of it by now: a plan says what."""
    unfinished: bool = False
    """A run has begun to change it and has not ended well; what that did is among the findings."""

    blind: tuple[str, ...] = ()
    """Kinds of which the machine could not say all, now or when it was applied to: units, packages ...
    Of the DNS: zones that cannot be read."""

    @property
    def state(self) -> State:
        """`unknown` where nobody can say; what was expected is no drift."""
        if self.unknown:
            return "unknown"
        if any(not finding.expected for finding in self.findings):
            return "drift"
        return "unknown" if self.blind else "clean"

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.name,
            "state": self.state,
            "why": self.unknown or None,
            "applied": vars(self.applied) | {"roles": list(self.applied.roles)} if self.applied else None,
            "pending": self.pending,
            "unfinished": self.unfinished,
            "blind": list(self.blind),
            "findings": [finding.as_data() for finding in self.findings],
        }


def drift_of(plan: MachinePlan, run: Run, redact: Redactor) -> MachineDrift:
    """Ask a machine, and compare; one that does not answer is `unknown`.

    Raises:
        HostKeyError: it shows another host key than the pinned one.
    """
    name = plan.machine.name
    try:
        answer = ask(run)
        if answer.applied is None or answer.baseline is None:
            return MachineDrift(
                name, unknown="it has no record of an apply; the next `mailwright apply` writes one"
            )
        if answer.now is None:
            return MachineDrift(name, answer.applied, unknown="it could not be surveyed")
        findings = _findings(plan, run, answer, redact)
    except UnknownError as error:
        return MachineDrift(name, unknown=str(error))
    pending = answer.wanted != wanted(plan.by_role)
    blind = tuple(sorted(answer.baseline.failed | answer.now.failed))
    return MachineDrift(
        name, answer.applied, findings, pending=pending, unfinished=answer.unfinished, blind=blind
    )


def _findings(plan: MachinePlan, run: Run, answer: Answer, redact: Redactor) -> tuple[Finding, ...]:
    before, now = answer.baseline, answer.now
    if before is None or now is None:
        return ()
    declared = Declared(plan)
    found = [f for f in compare(before, now, answer.unattended) if not declared.met(f, now)]
    found = [replace(f, role=declared.role(f)) for f in found]
    seen = texts(run, shown(found, now, declared))
    off = answer.off
    if abs(off) > _CLOCKS:
        found.append(
            Finding("clock fast" if off > 0 else "clock slow", "time of day", text=(f"{abs(off):.0f} s",))
        )
    return with_texts(found, seen, before, declared, redact)

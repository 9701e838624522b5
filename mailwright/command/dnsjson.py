"""DNS plans and their application for programs: the shapes that docs/dns.md promises."""

from __future__ import annotations

from typing import Any

from maildns.planning.planfile import as_data, refusal_data, rrset_data
from mailwright.command.dnsview import counts
from mailwright.publish import Outcome, Plans


def plans_data(plans: Plans) -> dict[str, Any]:
    """Every zone's plan and what stands in its way."""
    return {
        "digest": plans.digest,
        "only": list(plans.only),
        "blocked": plans.blocked,
        "summary": counts(plans),
        "zones": [as_data(p) | {"provider": plans.providers[p.zone]} for p in plans.zones],
        "unread": [{"zone": u.zone, "what": u.sentence} for u in plans.unread],
        "refusals": [refusal_data(r) for r in plans.refusals],
        "by_hand": [rrset_data(r) for r in plans.by_hand],
    }


def outcome_data(plans: Plans, outcome: Outcome, error: str | None) -> dict[str, Any]:
    """What an apply was to do, and what came of it."""
    return {
        "ok": error is None,
        "error": error,
        "plan": plans_data(plans),
        "published": list(outcome.published),
        "failed": [{"zone": f.zone, "what": f.sentence} for f in outcome.failed],
        "servers": list(outcome.servers),
    }

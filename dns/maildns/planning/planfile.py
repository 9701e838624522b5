"""A plan as a file: for people to review, and to apply exactly what was reviewed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from maildns.errors import MaildnsError
from maildns.planning.guards import Refusal
from maildns.planning.plan import ZonePlan
from maildns.provider import Change
from maildns.records import RrKey, RRset

FORMAT = 1


class PlanFileError(MaildnsError):
    """Not a plan file, or one that no longer fits the world."""


@dataclass(frozen=True)
class Choices:
    """What the operator chose when the plan was made; applying it chooses the same."""

    only: tuple[str, ...] = ()
    adopt: tuple[RrKey, ...] = ()
    allow: tuple[str, ...] = ()


def digest(plans: Iterable[ZonePlan]) -> str:
    """What the plans would do, as one number: the same changes give the same digest.

    Neither reasons nor the zone's etag count: a zone may move without touching the plan.
    """
    changes = [[plan.zone, [(_side(c.old), _side(c.new)) for c in plan.changes]] for plan in plans]
    return sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()


def to_json(plans: Iterable[ZonePlan], choices: Choices = Choices()) -> str:
    """The plans as a file's content. Holds no secret."""
    plans = tuple(plans)
    content = {
        "format": FORMAT,
        "digest": digest(plans),
        "choices": {"only": choices.only, "adopt": choices.adopt, "allow": choices.allow},
        "zones": [as_data(plan) for plan in plans],
    }
    return json.dumps(content, indent=2) + "\n"


def as_data(plan: ZonePlan) -> dict[str, Any]:
    """One zone's plan as plain data: changes in the order in which they are made."""
    return {
        "zone": plan.zone,
        "changes": [_change(change) for change in plan.changes],
        "conflicts": [{"name": c.key[0], "type": c.key[1], "what": c.sentence} for c in plan.conflicts],
        "refusals": [refusal_data(refusal) for refusal in plan.refusals],
    }


def refusal_data(refusal: Refusal) -> dict[str, str]:
    """A refusal as plain data."""
    return {"flag": refusal.flag, "what": refusal.sentence}


def rrset_data(each: RRset) -> dict[str, Any]:
    """A set as plain data, the reasons in the order of the values."""
    explained = tuple(each.explained())
    return {
        "name": each.name,
        "type": each.type,
        "ttl": each.ttl,
        "values": [value for value, _ in explained],
        "reasons": [reason for _, reason in explained],
    }


def _change(change: Change) -> dict[str, Any]:
    name, type_ = change.key
    return {
        "name": name,
        "type": type_,
        "old": _side(change.old),
        "new": rrset_data(change.new) if change.new else None,
        "reason": change.reason,
        "unit": change.unit,
    }


def read_choices(text: str) -> tuple[str, Choices]:
    """The digest and the choices of a plan file.

    Raises:
        PlanFileError: not such a file, or of another format.
    """
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise PlanFileError(f"a plan file of format {content['format']!r}; this version reads {FORMAT}")
        said = content["choices"]
        adopt = tuple((str(name), str(type_)) for name, type_ in said["adopt"])
        choices = Choices(tuple(map(str, said["only"])), adopt, tuple(map(str, said["allow"])))
        return str(content["digest"]), choices
    except (ValueError, KeyError, TypeError):
        raise PlanFileError("not a plan file; `mailwright dns plan --out FILE` writes one") from None


def _side(each: RRset | None) -> dict[str, Any] | None:
    if each is None:
        return None
    return {"name": each.name, "type": each.type, "ttl": each.ttl, "values": sorted(each.rdata)}

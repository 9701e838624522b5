"""What a plan may not do unless the operator names it: the mistakes that stop mail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from maildns.dkim import is_live_key
from maildns.hosts import NULL_MX
from maildns.provider import Change


@dataclass(frozen=True)
class Limits:
    """How much may go in one plan: more than `share` of our sets, if also more than `spare` of them."""

    share: float = 0.3
    spare: int = 3


@dataclass(frozen=True)
class Refusal:
    """A change that is only made when `flag` is allowed by name."""

    flag: str
    """For instance `last-mx=example.org.`"""
    sentence: str


def refusals(
    zone: str, changes: Iterable[Change], *, owned: int, gone: int, limits: Limits
) -> Iterator[Refusal]:
    """Everything in the changes of a zone that must be allowed by name.

    `owned` is how many sets are ours before, `gone` how many of them are wanted no longer.
    """
    if gone > limits.spare and gone > limits.share * owned:
        yield Refusal(f"delete-many={zone}", f"{gone} of our {owned} sets in {zone} would be deleted")
    for change in changes:
        yield from _mail_stoppers(change)


def _mail_stoppers(change: Change) -> Iterator[Refusal]:
    name, type_ = change.key
    before = change.old.rdata if change.old else frozenset()
    after = change.new.rdata if change.new else frozenset()
    if type_ == "MX" and before - {NULL_MX} and not after - {NULL_MX}:
        yield Refusal(f"last-mx={name}", f"{name} would have no mail exchanger left")
    if type_ == "TXT" and any(is_live_key(name, value) for value in before - after):
        yield Refusal(
            f"signing-key={name}",
            f"{name} would lose a key that hosts may sign with and that mail on its way was signed with",
        )

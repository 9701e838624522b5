"""What a plan may not do unless the operator names it: the mistakes that stop mail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from maildns.errors import RecordError
from maildns.policy.dkim import is_live_key, is_revoked_key
from maildns.policy.dmarc import Dmarc
from maildns.policy.hosts import NULL_MX
from maildns.policy.mta_sts import is_mta_sts
from maildns.provider import Change
from maildns.records import RRset

EVERYWHERE = "all"
"""In the flag of a refusal that is about all zones together."""


@dataclass(frozen=True)
class Limits:
    """How much may go in one plan: more than `share` of our sets, if also more than `spare` of them."""

    share: float = 0.3
    spare: int = 3

    def exceeded(self, gone: int, owned: int) -> bool:
        """Whether it is too much that `gone` of our `owned` sets go."""
        return gone > self.spare and gone > self.share * owned


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
    if limits.exceeded(gone, owned):
        yield Refusal(f"delete-many={zone}", f"{gone} of our {owned} sets in {zone} would be deleted")
    for change in changes:
        yield from _mail_stoppers(change)
        yield from _tlsa(change)
        yield from _dmarc(change)
        yield from _mta_sts(change)


def refusals_across(
    counts: Iterable[tuple[int, int]],
    limits: Limits = Limits(),
) -> Iterator[Refusal]:
    """What must be allowed by name over all zones together: few sets in each of many zones are many.

    `counts` are (gone, owned) of each zone. A zone that is over its own limit has its own refusal,
    and is left out here.
    """
    within = [(gone, owned) for gone, owned in counts if not limits.exceeded(gone, owned)]
    gone, owned = (sum(column) for column in zip(*within, strict=True)) if within else (0, 0)
    if len(within) > 1 and limits.exceeded(gone, owned):
        sentence = f"{gone} of our {owned} sets in {len(within)} zones would be deleted"
        yield Refusal(f"delete-many={EVERYWHERE}", sentence)


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
    if (
        type_ == "TXT"
        and any(is_revoked_key(name, v) for v in before)
        and any(is_live_key(name, v) for v in after)
    ):
        yield Refusal(
            f"revoked-key={name}",
            f"{name} is revoked and would be a key again; resolvers may still know it as revoked, and what is"
            " published from here may be older than the revocation",
        )


def _tlsa(change: Change) -> Iterator[Refusal]:
    """Senders hold the old set for its TTL: the key that is served must be in it (RFC 7671 section 8.4)."""
    name, type_ = change.key
    before = change.old.rdata if change.old else frozenset()
    after = change.new.rdata if change.new else frozenset()
    if type_ != "TLSA" or not before or before & after:
        return
    if after:
        sentence = f"{name} would change its key at once; publish the next key beside the one in use first"
    else:
        sentence = f"{name} would lose the key in use, and senders with it all proof of whom they talk to"
    yield Refusal(f"tlsa={name}", sentence)


def unannounced(held: Iterable[RRset], in_use: Mapping[str, frozenset[str]]) -> Iterator[Refusal]:
    """Keys that servers are about to use and that senders cannot know yet (RFC 7671 section 8.4).

    `held` are the sets of a zone as it is, `in_use` the values of the keys for each TLSA name.
    """
    for each in held:
        if each.type == "TLSA" and not in_use.get(each.name, frozenset()) <= each.rdata:
            yield Refusal(
                f"tlsa={each.name}",
                f"{each.name} does not name the key in use yet; publish it as the next one first, and use it"
                f" once the old set has expired ({each.ttl} s)",
            )


def _dmarc(change: Change) -> Iterator[Refusal]:
    """From none to reject in one step, nobody has seen in reports who is lost at quarantine."""
    name, type_ = change.key
    before, after = (_policy(side.rdata) if side else None for side in (change.old, change.new))
    if type_ != "TXT" or not name.startswith("_dmarc.") or before is None or after is None:
        return
    if after.stricter_by(before) > 1:
        domain = name.removeprefix("_dmarc.")
        sentence = f"{domain} would go from {_said(before)} to {_said(after)} without quarantine in between"
        yield Refusal(f"dmarc-jump={domain}", sentence)


def _mta_sts(change: Change) -> Iterator[Refusal]:
    """Senders hold on to a policy that merely disappears (RFC 8461 section 8.3)."""
    name, type_ = change.key
    before, after = (any(map(is_mta_sts, side.rdata)) if side else False for side in (change.old, change.new))
    if type_ == "TXT" and name.startswith("_mta-sts.") and before and not after:
        domain = name.removeprefix("_mta-sts.")
        sentence = (
            f"{domain} would drop its MTA-STS policy, and senders hold the last one for its max_age; publish"
            " mode: none first, and drop it once the old max_age is over"
        )
        yield Refusal(f"mta-sts={domain}", sentence)


def _said(policy: Dmarc) -> str:
    return policy.policy if policy.below == policy.policy else f"{policy.policy} (sp={policy.below})"


def _policy(values: Iterable[str]) -> Dmarc | None:
    for value in sorted(values):
        try:
            return Dmarc.parse(value)
        except RecordError:
            continue
    return None

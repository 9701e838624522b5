"""Route 53 as a provider: reading, and changes as a compare-and-swap that Amazon makes.

A batch is a transaction: all of it is made, or nothing (ChangeResourceRecordSets in the API
Reference). A set is replaced by deleting it exactly as it was listed and creating it anew, so
whoever changed it meanwhile makes the whole batch fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maildns.planning.plan import applied
from maildns.provider import Change, ConflictError, ProviderError, Snapshot
from maildns.providers.route53.account import Account
from maildns.providers.route53.batches import Batch, batches, unholdable
from maildns.providers.route53.listing import Listing
from maildns.records import RRset

SOON = 2.0
LATER = 10.0
"""Seconds between two questions whether a change is everywhere: at first, and at most."""


@dataclass(frozen=True)
class Route53:
    """The public hosted zones of an AWS account.

    Keep one for a whole run: the list of zones is read once and the client's pace is shared by all threads.
    """

    profile: str | None = None
    """A profile of `~/.aws/config`; default: whatever AWS's own tools would use."""
    endpoint: str | None = None
    """Another address of the API."""
    keys: tuple[str, str] | None = field(default=None, repr=False)
    """Access key id and secret access key, in the place of a profile."""
    deadline: float = 300.0
    """Seconds that Amazon has to bring a batch to all its servers; it says about 60."""
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _account: Account = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Connect to nothing yet."""
        object.__setattr__(self, "_account", Account(self.profile, self.endpoint, self.keys))

    def fetch(self, zone: str) -> Snapshot:
        """Read a zone. `etag` is a digest of all its content."""
        listing = self._listing(zone)
        rrsets = tuple(listing.table[key] for key in sorted(listing.table))
        return Snapshot(zone, rrsets, listing.digest, listing.opaque)

    def apply(self, zone: str, changes: Sequence[Change], etag: str) -> None:
        """Make the changes in as few requests as Amazon's limits allow, each awaited before the next.

        Read again first, so that an edit elsewhere in the zone is noticed too.
        """
        if not changes:
            return
        listing = self._listing(zone)
        if listing.digest != etag:
            raise ConflictError(f"{zone} was changed by somebody else meanwhile; plan again")
        _check(changes, listing)
        requests = list(batches(changes, listing.raw))
        for done, batch in enumerate(requests):
            try:
                self._make(zone, batch)
            except ProviderError as error:
                if not done:
                    raise
                raise ProviderError(f"{error} ({done} of {len(requests)} batches were made before)") from None

    def audit(self, rrsets: Iterable[RRset]) -> tuple[str, ...]:
        """What Amazon's quotas and types forbid."""
        return tuple(sentence for each in rrsets for sentence in unholdable(each))

    def _listing(self, zone: str) -> Listing:
        return Listing.of(zone, self._account.record_sets(zone))

    def _make(self, zone: str, batch: Batch) -> None:
        """One batch, and wait for it. Sent again by boto3 where that is safe: it can only be made once."""
        account = self._account
        what = f"changing {zone}"
        zone_id = account.zone_id(zone)
        try:
            with account.asking(what):
                answer = account.client.change_resource_record_sets(
                    HostedZoneId=zone_id, ChangeBatch={"Changes": batch.request()}
                )
        except ProviderError as error:
            self._after_failure(zone, batch, error)
            return  # it was made, but its id for GetChange is lost
        self._await(zone, answer["ChangeInfo"])

    def _after_failure(self, zone: str, batch: Batch, error: ProviderError) -> None:
        """Return when the batch was made all the same: an answer was lost, and what was sent again refused.

        Whatever the last refusal says, an earlier attempt may have been made.

        Raises:
            ConflictError: somebody else was faster.
            ProviderError: it was not made, or nobody can say.
        """
        try:
            now = self._listing(zone).table
        except ProviderError:
            raise ProviderError(f"{error}; whether it was done is unknown, plan again") from None
        there = [c.key for c in batch.changes if now.get(c.key) == c.new]
        if len(there) == len(batch.changes):
            return
        if all(now.get(c.key) == c.old for c in batch.changes):
            raise ProviderError(f"{error}; nothing was done") from None
        if there:
            # Amazon makes no half of a batch: it was made, or never was, and somebody was there besides.
            missing = ", ".join(f"{n} {t}" for n, t in (c.key for c in batch.changes) if (n, t) not in there)
            raise ProviderError(
                f"{error}; whether it was done is unknown, as somebody else edits this zone: "
                f"{missing} not as sent, plan again"
            ) from None
        raise ConflictError(
            f"{zone} was changed by somebody else meanwhile; nothing was done, plan again"
        ) from None

    def _await(self, zone: str, info: Mapping[str, Any]) -> None:
        """Until all of Amazon's servers have the change."""
        end = self.clock() + self.deadline
        wait = SOON
        while info["Status"] != "INSYNC":
            if self.clock() >= end:
                raise ProviderError(
                    f"{zone} was changed, but after {self.deadline:g} s Amazon has not brought it to all its "
                    "servers; plan again later"
                )
            self.pause(wait)
            wait = min(wait * 2, LATER)
            with self._account.asking(f"{zone} was changed; asking whether all servers have it"):
                info = self._account.client.get_change(Id=info["Id"])["ChangeInfo"]


def _check(changes: Iterable[Change], listing: Listing) -> None:
    """What Amazon would refuse, or what must not be tried: before anything is sent."""
    changes = tuple(changes)
    for change in changes:
        name, type_ = change.key
        if change.key in listing.opaque:
            raise ProviderError(
                f"{name} {type_} is {listing.opaque[change.key]}, which is never touched; nothing was done"
            )
        if listing.table.get(change.key) != change.old:
            raise ConflictError(f"{name} {type_} was changed by somebody else meanwhile; plan again")
        for sentence in unholdable(change.new) if change.new else ():
            raise ProviderError(f"{sentence}; nothing was done")
    held: dict[str, set[str]] = {}
    for each in applied(listing.table.values(), changes):
        held.setdefault(each.name, set()).add(each.type)
    for name in {c.key[0] for c in changes}:
        others = held.get(name, set()) - {"CNAME"}
        if "CNAME" in held.get(name, ()) and others:
            beside = ", ".join(sorted(others))
            raise ProviderError(f"{name}: a CNAME beside {beside} (RFC 2181 10.1); nothing was done")

"""Zones at Cloudflare, through its API.

Reading is one request a zone. Writing is the batch endpoint only: one database transaction at
Cloudflare, whole or not at all. The API has no compare-and-swap, so the zone is read right before
each batch, records are named by their ids, and a batch whose fate is unknown is looked for before
it is sent again (docs/decisions/cloudflare-writes.md).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from maildns.provider import Change, ConflictError, ProviderError, Snapshot
from maildns.providers.cloudflare.api import ENDPOINT, TRIES, Api, LimitedError, RefusedError, UnsureError
from maildns.providers.cloudflare.limits import unholdable
from maildns.providers.cloudflare.pace import MOST, Pace
from maildns.providers.cloudflare.state import State, read_state
from maildns.providers.cloudflare.writes import Limits, Operations, batches, operations
from maildns.records import RRset

__all__ = ["ENDPOINT", "Cloudflare"]

_ENOUGH: Mapping[type[ProviderError], int] = {UnsureError: TRIES, LimitedError: MOST, RefusedError: 1}
"""How often a batch may fail so before we give up."""


@dataclass(frozen=True)
class Cloudflare:
    """The zones that an API token may read and edit. Threads may share one."""

    token: str = field(repr=False)
    comments: bool = True
    """Whether ownership is marked in the records' comments, where there is room, or in TXT records."""
    endpoint: str = ENDPOINT
    timeout: float = 30.0
    """Seconds for one request."""
    page: int = 5000
    """Records to ask for at a time; the API allows more than any zone holds but answers more slowly."""
    operations: int | None = None
    """In one batch at most; default: what the zone's plan allows."""
    say: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)
    """Is told when the API makes us wait."""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    _api: Api = field(init=False, repr=False, compare=False)

    def fetch(self, zone: str) -> Snapshot:
        """Read a zone. `etag` is a digest of all its records with their ids and times."""
        state = self._state(zone)
        return Snapshot(
            zone, tuple(state.table[key] for key in sorted(state.table)), state.etag, state.opaque
        )

    def apply(self, zone: str, changes: Sequence[Change], etag: str) -> None:
        """Write the changes in as few batches as the zone's plan allows, usually one.

        The first batch is sent if the zone is still at `etag`; each later one if the sets that it
        changes are still those of that moment.
        """
        if not changes:
            return
        state = self._state(zone)
        if state.etag != etag:
            raise ConflictError(f"{zone} was changed by somebody else meanwhile; plan again")
        limits = self._limits(zone)
        parts = list(batches(changes, state, limits, comments=self.comments))
        for done, part in enumerate(parts):
            try:
                self._write(zone, part, self._state(zone) if done else state, limits)
            except ProviderError as error:
                if not done:
                    raise
                raise ProviderError(f"{error} ({done} of {len(parts)} batches were taken before)") from None

    def audit(self, rrsets: Iterable[RRset]) -> tuple[str, ...]:
        """What Cloudflare's API would refuse."""
        return tuple(unholdable(rrsets))

    def __post_init__(self) -> None:
        """Share one connection, one list of zones and one pace among the threads."""
        pace = Pace(self.say, self.clock, self.sleep)
        api = Api(self.token, self.endpoint, self.timeout, self.page, pace)
        object.__setattr__(self, "_api", api)

    def _state(self, zone: str) -> State:
        return read_state(zone, self._api.records(zone))

    def _limits(self, zone: str) -> Limits:
        limits = self._api.zone(zone).limits
        return replace(limits, operations=self.operations) if self.operations else limits

    def _write(self, zone: str, changes: Sequence[Change], state: State, limits: Limits) -> None:
        """One batch, and certainty about what became of it."""
        _refuse_moved(changes, state)
        todo = operations(changes, state, limits, comments=self.comments)
        failures: Counter[type[ProviderError]] = Counter()
        while True:
            try:
                error = self._sent(zone, todo)
                if error is None:
                    return
                failures[type(error)] += 1
                self._pause(error, failures[type(error)])
                now = self._state(zone)
            except ProviderError as gone:
                known = "nothing was done" if not failures[UnsureError] else "what became of it is not known"
                raise ProviderError(f"{gone}; {known}, plan again") from None
            if _is_there(changes, state, now, doubtful=failures[UnsureError] > 0):
                return
            if failures[type(error)] >= _ENOUGH[type(error)]:
                raise ProviderError(f"{error}; nothing was done")

    def _sent(self, zone: str, todo: Operations) -> UnsureError | LimitedError | RefusedError | None:
        """Send a batch once; what was said against it."""
        try:
            self._api.batch(zone, todo)
        except (UnsureError, LimitedError, RefusedError) as error:
            return error
        return None

    def _pause(self, error: ProviderError, times: int) -> None:
        """Wait before the zone is read. After a first 429 that reading waits as long as we were told."""
        if isinstance(error, UnsureError) or (isinstance(error, LimitedError) and times > 1):
            self._api.pace.back_off(times)


def _refuse_moved(changes: Iterable[Change], state: State) -> None:
    """Each set must be what was planned from."""
    for change in changes:
        if state.table.get(change.key) != change.old:
            raise ConflictError(
                f"{change.key[0]} {change.key[1]} was changed by somebody else meanwhile; plan again"
            )


def _is_there(changes: Sequence[Change], before: State, now: State, *, doubtful: bool) -> bool:
    """Whether a batch was carried out after all; `False` if the zone is as it was.

    Raises:
        ConflictError: somebody else was there in between; nothing of ours was done.
        ProviderError: neither, with what is there and what is not.
    """
    if now.etag == before.etag:
        return False
    there = [change.key for change in changes if now.table.get(change.key) == change.new]
    if doubtful and len(there) == len(changes):
        return True
    if not (doubtful and there):
        raise ConflictError(
            f"{now.zone} was changed by somebody else meanwhile; nothing was done, plan again"
        )
    missing = [change.key for change in changes if change.key not in set(there)]
    raise ProviderError(
        f"{now.zone}: Cloudflare did not say what became of the changes. There is {_names(there)}, and not "
        f"{_names(missing)}: somebody else edits this zone; plan again"
    )


def _names(keys: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in keys)

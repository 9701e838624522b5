"""What becomes of each key next, and when: for reports, and for whoever waits. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maildns.rotation import Key, Ring, State, Timing
from mailwright.model.base import seconds
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import Keyring, stamp


@dataclass(frozen=True)
class Next:
    """The next step in a key's life."""

    what: str
    at: int | None = None
    """The first second at which it may be taken; `None`: now, or when something else has happened."""
    under_way: bool = True
    """Whether it belongs to a rotation that somebody who waits is waiting for."""

    def __str__(self) -> str:
        """As a report says it."""
        return self.what if self.at is None else f"{self.what} from {stamp(self.at)} on"


_OPEN = {
    State.SWITCHING: "every host is to be seen to sign with it",
    State.MADE: "is to be published",
    State.PUBLISHED: "is to be seen at every server",
    State.REVOKED: "is to be seen revoked at every server",
    State.DELETED: "is to be gone from every server",
}


def outlook(ring: Ring, key: Key, timing: Timing) -> Next:
    """The next step of a key; without a word where there is none."""
    if key.state is State.SIGNING:
        return _of_signer(ring, key, timing)
    if key.state is State.RETIRING:
        return Next("is revoked", ring.revoke_at(key, timing))
    if key.state is State.SWITCHING or key.seen is None:
        return Next(_OPEN[key.state])
    if key.state is State.REVOKED:
        return Next("is deleted", ring.delete_at(key, timing), under_way=False)
    if key.state is State.PUBLISHED and not key.standby:
        return Next("hosts switch to it", ring.switch_at(key, timing))
    return Next("stands by" if key.standby else "", under_way=False)


def _of_signer(ring: Ring, key: Key, timing: Timing) -> Next:
    coming = ring.coming(key.algorithm)
    if coming and not coming.standby:
        return Next(f"{coming.selector} follows", under_way=False)
    at = ring.rotate_at(key.algorithm, timing)
    return Next("is exchanged" if at is not None else "", at, under_way=key.urgent)


def pending(fleet: Fleet, keyring: Keyring, queue: int) -> Iterator[str]:
    """A line for each step that is under way or to come of a rotation; nothing is asked of anybody."""
    timing = known_timing(fleet, queue)
    for domain in fleet.domains:
        ring = keyring.ring(domain.name)
        for key in ring.keys:
            step = outlook(ring, key, timing)
            if step.what and key.state is not State.SIGNING:
                yield f"{domain.name.bare} {key.selector} is {key.state}; {step}"


def known_timing(fleet: Fleet, queue: int) -> Timing:
    """The timing without what only the servers know; each key has written down what they said."""
    policy = fleet.dkim
    return Timing(fleet.dns.ttl, 0, queue, seconds(policy.revoked_for), seconds(policy.max_age))

"""The life of DKIM keys as a state machine: pure, with times and evidence as inputs.

Of each algorithm of a domain one key signs. Its successor goes

    made -> published -> switching -> signing -> retiring -> revoked -> deleted

    made        the selector is reserved; the private half is being made
    published   the world is shown the public half; nobody signs with it
    switching   hosts are told to sign with it; its predecessor stays published beside it
    signing     every host signs with it
    retiring    no host signs with it; mail on its way was signed with it
    revoked     published with an empty p= (RFC 6376 section 3.6.1)
    deleted     gone; its selector is remembered, so that it is never used again

A transition whose preconditions do not hold raises `RotationError`, whoever asks for it. So no caller can
let hosts sign with a key that resolvers may not see, or take a key away from mail that needs it.
Times are whole seconds since the epoch, cut down; so "for longer than" is meant strictly.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from maildns.errors import MaildnsError


class RotationError(MaildnsError):
    """A step that may not be taken, or not yet."""


class State(StrEnum):
    """Where a key is in its life."""

    MADE = "made"
    PUBLISHED = "published"
    SWITCHING = "switching"
    SIGNING = "signing"
    RETIRING = "retiring"
    REVOKED = "revoked"
    DELETED = "deleted"


LIVE = frozenset({State.PUBLISHED, State.SWITCHING, State.SIGNING, State.RETIRING})
"""The world must be able to verify with a key in these states."""

COMING = frozenset({State.MADE, State.PUBLISHED, State.SWITCHING})


@dataclass(frozen=True)
class Timing:
    """What waiting times follow from. All in seconds."""

    ttl: int
    """How long resolvers may keep a record of ours."""
    negative: int
    """How long they may keep what they know of a selector that never was: that there is none, for the SOA's
    minimum (RFC 2308 section 5), or a wildcard's answer, for its TTL. A validating resolver may know that
    of a name nobody ever asked for (RFC 8198)."""
    queue: int
    """How long mail may wait between being signed and being verified: the longest queue lifetime."""
    revoked: int
    """How long a revoked key is shown before it goes."""
    max_age: int
    """How long a key signs before it is due to be exchanged."""


@dataclass(frozen=True)
class Sight:
    """What every authoritative server was asked about one key, at one time."""

    at: int
    lacking: tuple[str, ...] = ()
    """Servers that do not show what they should, each with what is wrong."""
    silent: tuple[str, ...] = ()
    """Servers that could not be asked, or why none could."""
    showing: int = 0
    """How many servers show it."""

    @property
    def everywhere(self) -> bool:
        """Every server shows it."""
        return not (self.lacking or self.silent)


@dataclass(frozen=True)
class Key:
    """One key of a domain."""

    selector: str
    algorithm: str
    state: State
    since: int | None
    """When it came into this state; `None` where nobody wrote it down."""
    seen: int | None = None
    """Since when every authoritative server has shown what the state wants; `None`: not all do yet."""
    ttl: int = 0
    """The longest that resolvers may keep what they knew: the greatest that was found since it was made."""
    standby: bool = False
    """Published, and not switched to before somebody asks for it."""
    urgent: bool = False
    """To be revoked without holding it for mail on its way."""


@dataclass(frozen=True)
class Ring:
    """All keys that a domain ever had, oldest first. Each method returns the ring after one transition."""

    keys: tuple[Key, ...] = ()

    def key(self, selector: str) -> Key:
        """The key with a selector.

        Raises:
            RotationError: there is none.
        """
        found = next((k for k in self.keys if k.selector == selector), None)
        if found is None:
            there = ", ".join(k.selector for k in self.keys) or "none"
            raise RotationError(f"there is no key {selector}; there are {there}")
        return found

    def of(self, algorithm: str, *states: State) -> tuple[Key, ...]:
        """The keys of an algorithm in some states (none named: in any)."""
        return tuple(k for k in self.keys if k.algorithm == algorithm and (not states or k.state in states))

    def signer(self, algorithm: str) -> Key | None:
        """The key that hosts are to sign with."""
        return next(iter(self.of(algorithm, State.SWITCHING) or self.of(algorithm, State.SIGNING)), None)

    def coming(self, algorithm: str) -> Key | None:
        """The key on its way to sign, a standby key included."""
        return next(iter(self.of(algorithm, *COMING)), None)

    # --- transitions

    def adopt(self, selector: str, algorithm: str, now: int) -> Ring:
        """Take a key into the books that hosts sign with already: a domain's first of an algorithm."""
        self._fresh(selector)
        _require(
            self.signer(algorithm) is None,
            f"{selector}: the domain signs with another {algorithm} key already",
        )
        return Ring((*self.keys, Key(selector, algorithm, State.SIGNING, now)))

    def begin(self, selector: str, algorithm: str, now: int, *, standby: bool = False) -> Ring:
        """Reserve a selector for a new key. One successor at a time."""
        self._fresh(selector)
        _require(self.signer(algorithm) is not None, f"no {algorithm} key signs that {selector} could follow")
        coming = self.coming(algorithm)
        _require(coming is None, f"{selector}: {coming.selector if coming else ''} is on its way already")
        return Ring((*self.keys, Key(selector, algorithm, State.MADE, now, standby=standby)))

    def publish(self, selector: str, now: int) -> Ring:
        """Show the key to the world. Its private half must be kept safe by now."""
        return self._put(self._in(selector, State.MADE), state=State.PUBLISHED, since=now)

    def promote(self, selector: str) -> Ring:
        """Let a standby key be switched to."""
        key = self.key(selector)
        _require(key.standby and key.state in COMING, f"{selector} is no standby key")
        return self._put(key, standby=False)

    def saw(self, selector: str, sight: Sight, timing: Timing) -> Ring:
        """Note what the servers show of a key that they should show, or show no more.

        A server that lacks it starts the waiting anew; one that is silent says nothing.
        """
        key = self.key(selector)
        seen = None if sight.lacking else key.seen
        if sight.everywhere and seen is None:
            seen = sight.at
        return self._put(key, seen=seen, ttl=max(key.ttl, timing.ttl, timing.negative))

    def switch(self, selector: str, sight: Sight, timing: Timing) -> Ring:
        """Tell hosts to sign with the key: every server shows it now, and has for long enough."""
        key = self._in(selector, State.PUBLISHED)
        _require(not key.standby, f"{selector} is a standby key")
        _require(sight.everywhere, f"{selector} is not seen everywhere: {', '.join(_not_shown(sight))}")
        ready = self.switch_at(key, timing)
        _require(
            ready is not None and sight.at >= ready,
            f"{selector} has not been seen everywhere for long enough",
        )
        return self._put(key, state=State.SWITCHING, since=sight.at)

    def switched(self, selector: str, now: int, hosts: Collection[str], proved: Collection[str]) -> Ring:
        """Note that hosts sign with the key: `proved` must hold all of `hosts`. The old key retires."""
        key = self._in(selector, State.SWITCHING)
        missing = sorted(set(hosts) - set(proved))
        _require(not missing, f"{selector}: not every host signs with it: {', '.join(missing)}")
        changed = {old.selector: State.RETIRING for old in self.of(key.algorithm, State.SIGNING)}
        changed[selector] = State.SIGNING
        moved = (replace(k, state=changed.get(k.selector, k.state), since=now) for k in self.keys)
        return Ring(tuple(n if n.selector in changed else k for k, n in zip(self.keys, moved, strict=True)))

    def stop(self, selector: str, now: int, hosts: Collection[str], proved: Collection[str]) -> Ring:
        """Retire a key without a successor: no host signs with its algorithm any more."""
        key = self._in(selector, State.SIGNING)
        missing = sorted(set(hosts) - set(proved))
        _require(not missing, f"{selector}: a host may still sign with it: {', '.join(missing)}")
        return self._put(key, state=State.RETIRING, since=now)

    def hurry(self, selector: str) -> Ring:
        """Let a key be revoked as soon as no host signs with it."""
        key = self.key(selector)
        fit = key.state in (State.SWITCHING, State.SIGNING, State.RETIRING)
        _require(fit, f"{selector} is {key.state}: only a key that signs or retires can be hurried")
        return self._put(key, urgent=True)

    def hold_anew(self, selector: str, now: int) -> Ring:
        """A host may have signed with a retiring key until now: hold it as if it had just retired."""
        return self._put(self._in(selector, State.RETIRING), since=now)

    def withdraw(self, selector: str, now: int) -> Ring:
        """Revoke a key that no host has ever been told to sign with."""
        key = self._in(selector, State.MADE, State.PUBLISHED)
        if key.state is State.MADE:
            return self._put(key, state=State.DELETED, since=now, seen=now)
        return self._put(key, state=State.REVOKED, since=now, seen=None)

    def revoke(self, selector: str, now: int, timing: Timing) -> Ring:
        """Show the world an empty p=: no mail that was signed with the key is on its way any more."""
        key = self._in(selector, State.RETIRING)
        _require(now >= _known(self.revoke_at(key, timing)), f"{selector} is held for mail on its way")
        return self._put(key, state=State.REVOKED, since=now, seen=None)

    def delete(self, selector: str, now: int, timing: Timing) -> Ring:
        """Take the record away, once the world has seen for long enough that the key is revoked."""
        key = self._in(selector, State.REVOKED)
        ready = self.delete_at(key, timing)
        _require(ready is not None and now >= ready, f"{selector} has not been seen revoked for long enough")
        return self._put(key, state=State.DELETED, since=now, seen=None)

    # --- when a transition may be made

    def switch_at(self, key: Key, timing: Timing) -> int | None:
        """The first second at which a published key may be switched to; `None` until it is seen everywhere.

        In a hurry it is enough that nobody can still believe that there is no such key: at a name that
        never was, there is nothing older to remember.
        """
        if key.seen is None:
            return None
        hurried = any(old.urgent for old in self.of(key.algorithm, State.SIGNING))
        wait = timing.negative if hurried else max(timing.ttl, timing.negative, key.ttl)
        return key.seen + wait + 1

    def revoke_at(self, key: Key, timing: Timing) -> int | None:
        """The first second at which a retiring key may be revoked; `None` where it is not known."""
        if key.since is None:
            return None
        return key.since if key.urgent else key.since + timing.queue + max(timing.ttl, key.ttl) + 1

    def may_revoke(self, key: Key, now: int, timing: Timing) -> bool:
        """Whether it is time to revoke a retiring key."""
        ready = self.revoke_at(key, timing)
        return ready is not None and ready <= now

    def delete_at(self, key: Key, timing: Timing) -> int | None:
        """The first second at which a revoked key may be deleted; `None` until all see it revoked."""
        return None if key.seen is None else key.seen + timing.revoked + 1

    def rotate_at(self, algorithm: str, timing: Timing) -> int | None:
        """When the key that signs is due to be exchanged; `None` while it is, or where nobody knows."""
        signer = self.signer(algorithm)
        if signer is None or signer.since is None or not self.may_begin(algorithm):
            return None
        return signer.since if signer.urgent else signer.since + timing.max_age

    def may_begin(self, algorithm: str) -> bool:
        """Whether a rotation may begin: none is under way, except that a hurry waits for no retiring key."""
        signer, coming = self.signer(algorithm), self.coming(algorithm)
        if signer is None or (coming and not coming.standby):
            return False
        return signer.urgent or not self.of(algorithm, State.RETIRING)

    # --- inside

    def _fresh(self, selector: str) -> None:
        _require(
            all(k.selector != selector for k in self.keys),
            f"the selector {selector} was used before; it is never used again",
        )

    def _in(self, selector: str, *states: State) -> Key:
        key = self.key(selector)
        wanted = " or ".join(states)
        _require(key.state in states, f"{selector} is {key.state}, not {wanted}")
        return key

    def _put(self, key: Key, **changes: object) -> Ring:
        new = replace(key, **changes)  # type: ignore[arg-type] # checked by the callers above
        return Ring(tuple(new if k.selector == key.selector else k for k in self.keys))


def _not_shown(sight: Sight) -> tuple[str, ...]:
    return (*sight.lacking, *sight.silent)


def _known(time: int | None) -> int:
    if time is None:
        raise RotationError("it is not known since when no host signs with it")
    return time


def _require(fine: bool, sentence: str) -> None:
    if not fine:
        raise RotationError(sentence)

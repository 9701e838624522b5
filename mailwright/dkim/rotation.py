"""Exchange DKIM keys: take every step whose time has come, in an order that survives a kill anywhere.

The state machine (`maildns.rotation`) says what may happen, this module makes it happen. What is to become
true is written down before it is made true, and making it true twice is making it true once: so whoever
begins again reads where things stand and goes on. Proof comes before the record of it: servers are asked,
hosts are looked at, and what they do not show stays undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from maildns.rotation import Key, Ring, Sight, State, Timing
from mailwright.dkim.effects import SIGNS, Effects, Place
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError, MailwrightError
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import Keyring

_TO_SHOW = (State.PUBLISHED, State.REVOKED, State.DELETED)
"""What these states want of the DNS is looked for until it has been seen once."""


@dataclass
class Rotation:
    """The keys of some domains, on their way."""

    fleet: Fleet
    domains: Sequence[Domain]
    """Those that are worked on."""
    keyring: Keyring
    effects: Effects
    clock: Callable[[], int]
    """Seconds since the epoch."""
    say: Callable[[str], None] = lambda _: None
    """Told of each step that was taken."""
    without: frozenset[str] = frozenset()
    """Hosts that are lost: nobody waits for them."""
    held: list[str] = field(default_factory=list)
    """What stands in the way, where it is not the time alone."""
    _kept: list[str] = field(default_factory=list)
    """What of it stays so until the command ends."""
    _cleaned: bool = False

    # --- what is asked for

    def adopt(self) -> None:
        """Take the fleet file's first keys into the books."""
        for domain in self.domains:
            for key in domain.dkim:
                if self._ring(domain).signer(key.algorithm) is None:
                    ring = self._ring(domain).adopt(key.selector, key.algorithm, self.clock())
                    self._put(domain, ring)

    def request(self, algorithm: str | None = None) -> None:
        """Begin to exchange the keys that sign, of one algorithm or of all."""
        for domain in self.domains:
            for key in domain.dkim:
                if algorithm in (None, key.algorithm) and not self._begin(domain, key.algorithm):
                    self.say(f"{domain.name.bare}: its {key.algorithm} key is being exchanged already")
        self._save()

    def retire(self, domain: Domain, selector: str, *, urgent: bool) -> None:
        """Get rid of one key; `urgent`: without holding it for mail on its way."""
        ring = self._ring(domain)
        key = ring.key(selector)
        if key.state in (State.MADE, State.PUBLISHED):
            self._put(domain, ring.withdraw(selector, self.clock()))
            if key.state is State.MADE:
                self.effects.forget_private(domain, key)
            self.say(f"{domain.name.bare}: {selector} never signed; it is revoked at once")
        elif key.state in (State.SWITCHING, State.SIGNING, State.RETIRING):
            if urgent:
                self._put(domain, ring.hurry(selector))
            if key.state is State.SIGNING and key.algorithm not in _algorithms(domain):
                self._stop(domain, key)
            elif key.state is State.SIGNING:
                self._begin(domain, key.algorithm)
            elif not urgent:
                self.say(f"{domain.name.bare}: {selector} is {key.state}; nothing to do before its time")
        else:
            self.say(f"{domain.name.bare}: {selector} is {key.state} already")
        self._save()

    def begin_due(self) -> None:
        """Begin what is due by age, and standby keys where the fleet file wants them."""
        for domain, timing in self._timed():
            for algorithm in _algorithms(domain):
                due = self._ring(domain).rotate_at(algorithm, timing)
                if due is not None and due <= self.clock():
                    self._begin(domain, algorithm)
                ring = self._ring(domain)
                if self.fleet.dkim.standby and ring.signer(algorithm) and not ring.coming(algorithm):
                    self._new(domain, algorithm, standby=True)
        self._save()

    # --- what can be done now

    def advance(self) -> None:
        """Take steps until none can be taken at this time."""
        phases = (
            self._replace_urgent,
            self._make,
            self._switch,
            self._confirm,
            self._revoke,
            self._delete,
            self._show,
        )
        self._kept = list(self.held)  # what stood in the way of beginning; the rest may yet give way
        while True:
            before, self.held = self.keyring, list(self._kept)
            for phase in phases:
                phase()
            if self.keyring == before:
                return

    def _replace_urgent(self) -> None:
        """Begin to exchange keys in wrong hands that hosts had yet to switch to when that became known."""
        for domain in self.domains:
            for algorithm in _algorithms(domain):
                signer = self._ring(domain).signer(algorithm)
                if signer and signer.urgent:
                    self._begin(domain, algorithm)
        self._save()

    def _make(self) -> None:
        made = [
            (d, k) for d, k in self._in(State.MADE) if self._tried(partial(self.effects.make_private, d, k))
        ]
        for domain, key in made:
            self._put(domain, self._ring(domain).publish(key.selector, self.clock()))
        self._save()

    def _show(self) -> None:
        """Publish what is not seen yet; look at that, and again at what waits to be switched to."""
        unseen = [(d, k) for d, k in self._in(*_TO_SHOW) if k.seen is None]
        if unseen:
            self._tried(partial(self.effects.publish, self.keyring, unseen))
            self._clean([(d, k) for d, k in unseen if k.state is State.REVOKED])
        for domain, timing in self._timed():
            for key in self._ring(domain).keys:
                if (key.seen is None and key.state in _TO_SHOW) or key.state is State.PUBLISHED:
                    self._look(domain, key, timing)
        self._save()

    def _look(self, domain: Domain, key: Key, timing: Timing) -> Sight | None:
        try:
            sight = self.effects.look(self.keyring, domain, key)
        except MailwrightError as error:
            self._hold(f"{domain.name.bare}: {key.selector}: {error}")
            return None
        if not sight.everywhere:
            where = "; ".join((*sight.lacking, *sight.silent))
            self._hold(f"{domain.name.bare}: {key.selector} is not seen everywhere: {where}")
        ring = self._ring(domain).saw(key.selector, sight, timing)
        if ring.key(key.selector).seen is not None and key.seen is None:
            self.say(f"{domain.name.bare}: every server shows {key.selector} {key.state}")
        self._put(domain, ring)
        return sight

    def _clean(self, revoked: Sequence[Place]) -> None:
        """Leave no private half of a revoked key, here and on hosts; `apply` cleans one that is away."""
        for domain, key in revoked:
            self._tried(partial(self.effects.forget_private, domain, key))
        if revoked and not self._cleaned:
            self._cleaned = True
            for host, problem in self.effects.deploy(self.keyring).items():
                if problem:
                    self.say(f"{host} keeps private halves of revoked keys until the next apply: {problem}")

    def _switch(self) -> None:
        """Choose the keys that are seen everywhere, and have been for long enough."""
        for domain, timing in self._timed():
            for key in self._ring(domain).keys:
                if key.state is not State.PUBLISHED or key.standby:
                    continue
                ready = self._ring(domain).switch_at(key, timing)
                if ready is None or self.clock() < ready:
                    continue
                sight = self._look(domain, key, timing)
                if sight and sight.everywhere:
                    self._put(domain, self._ring(domain).switch(key.selector, sight, timing))
                    self.say(f"{domain.name.bare}: hosts switch to {key.selector}")
        self._save()

    def _confirm(self) -> None:
        """Have hosts sign with the chosen keys, and see that they do."""
        switching = self._in(State.SWITCHING)
        if not switching:
            return
        proved = self._proved(self.effects.deploy)
        if proved is None:
            return
        for domain, key in switching:
            ring = self._ring(domain).switched(key.selector, self.clock(), self._hosts, proved)
            self._put(domain, ring)
            self.say(f"{domain.name.bare}: every host signs with {key.selector}")
        self._save()

    def _stop(self, domain: Domain, key: Key) -> None:
        """Retire a key whose algorithm the fleet file does not name any more."""
        proved = self._proved(self.effects.stopped)
        if proved is not None:
            ring = self._ring(domain).stop(key.selector, self.clock(), self._hosts, proved)
            self._put(domain, ring)
            self.say(f"{domain.name.bare}: no host signs with {key.selector}")

    def _proved(self, ask: Callable[[Keyring], Mapping[str, str]]) -> frozenset[str] | None:
        """The hosts, once all of them are seen to sign as they should."""
        problems = ask(self.keyring)
        behind = {h: why for h, why in problems.items() if why and h not in self.without}
        self.held += [f"{host} is not seen to sign as it should: {why}" for host, why in behind.items()]
        return None if behind else frozenset(problems) | self.without

    @property
    def _hosts(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.fleet.with_role(SIGNS))

    def _revoke(self) -> None:
        self._look_at_hosts_again()
        self._let_go(State.RETIRING, Ring.revoke_at, Ring.revoke, "revoked")

    def _look_at_hosts_again(self) -> None:
        """Hold keys anew that a host may have signed with since, be it by a deploy from an old checkout.

        A host that is away may have mail in its queue that it will yet try to deliver.
        """
        now = self.clock()
        due = [
            (domain, key)
            for domain, timing in self._timed()
            for key in self._ring(domain).keys
            if key.state is State.RETIRING
            and not key.urgent
            and self._ring(domain).may_revoke(key, now, timing)
        ]
        if not due or self._proved(self.effects.hosts_sign) is not None:
            return
        for domain, key in due:
            self._put(domain, self._ring(domain).hold_anew(key.selector, self.clock()))
            self.say(f"{domain.name.bare}: {key.selector} is held anew: a host may have signed with it")
        self._kept = list(self.held)
        self._save()
        self._proved(self.effects.deploy)

    def _delete(self) -> None:
        self._let_go(State.REVOKED, Ring.delete_at, Ring.delete, "deleted")

    def _let_go(
        self,
        state: State,
        ready: Callable[[Ring, Key, Timing], int | None],
        step: Callable[[Ring, str, int, Timing], Ring],
        word: str,
    ) -> None:
        """Take the next step with all keys of a state for which it is time."""
        for domain, timing in self._timed():
            for key in [k for k in self._ring(domain).keys if k.state is state]:
                due, now = ready(self._ring(domain), key, timing), self.clock()
                if due is not None and due <= now:
                    self._put(domain, step(self._ring(domain), key.selector, now, timing))
                    self.say(f"{domain.name.bare}: {key.selector} is {word}")
        self._save()

    # --- inside

    def _begin(self, domain: Domain, algorithm: str) -> bool:
        ring = self._ring(domain)
        if not ring.may_begin(algorithm):
            return False
        standby = ring.coming(algorithm)
        if standby:
            self._put(domain, ring.promote(standby.selector))
            self.say(f"{domain.name.bare}: {standby.selector} stood by and is next to sign")
        else:
            self._new(domain, algorithm, standby=False)
        return True

    def _new(self, domain: Domain, algorithm: str, *, standby: bool) -> None:
        try:
            selector = next(s for s in _selectors(algorithm, self.clock()) if not self._used(domain, s))
        except DnsError as error:
            self._hold(f"{domain.name.bare}: {error}")
            return
        self._put(domain, self._ring(domain).begin(selector, algorithm, self.clock(), standby=standby))
        self.say(f"{domain.name.bare}: {selector} is made{', to stand by' if standby else ''}")

    def _used(self, domain: Domain, selector: str) -> bool:
        known = {k.selector for k in self._ring(domain).keys} | {k.selector for k in domain.dkim}
        return selector in known or self.effects.taken(domain, selector)

    def _ring(self, domain: Domain) -> Ring:
        return self.keyring.ring(domain.name)

    def _put(self, domain: Domain, ring: Ring) -> None:
        self.keyring = self.keyring.put(domain.name, ring)

    def _save(self) -> None:
        self.effects.save(self.keyring)

    def _in(self, *states: State) -> list[Place]:
        return [(d, k) for d in self.domains for k in self._ring(d).keys if k.state in states]

    def _timed(self) -> Iterator[tuple[Domain, Timing]]:
        """The domains that have keys, with their timing; one that cannot be known is held."""
        for domain in self.domains:
            if self._ring(domain).keys:
                try:
                    timing = self.effects.timing(domain)
                except DnsError as error:
                    self._hold(f"{domain.name.bare}: {error}")
                else:
                    yield domain, timing

    def _tried(self, effect: Callable[[], None]) -> bool:
        """Whether an effect came about; what stood in its way is held."""
        try:
            effect()
        except DnsError as error:
            self._hold(str(error))
            return False
        return True

    def _hold(self, sentence: str) -> None:
        if sentence not in self.held:
            self.held.append(sentence)


def _algorithms(domain: Domain) -> tuple[str, ...]:
    return tuple(key.algorithm for key in domain.dkim)


def _selectors(algorithm: str, now: int) -> Iterator[str]:
    """`r20261122`, then `r20261122b` and so on: the day tells people how old a key is."""
    day = f"{algorithm[0]}{datetime.fromtimestamp(now, UTC):%Y%m%d}"
    yield day
    yield from (f"{day}{letter}" for letter in "bcdefghijklmnopqrstuvwxyz")
    yield from (f"{day}-{number}" for number in range(27, 10_000))

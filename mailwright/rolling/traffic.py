"""Take machines out of the traffic and back in: members at every balancer in front, balancers themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailwright.model.errors import DrainError
from mailwright.model.fleet import Fleet
from mailwright.model.pools import Pool
from mailwright.rolling.addresses import Addresses
from mailwright.rolling.balancers import Answers, Balancers, State, serving, sessions
from mailwright.rolling.order import members
from mailwright.rolling.terms import ROLLING, SETTLE, Say, Terms


@dataclass(frozen=True)
class Traffic:
    """Who gets the fleet's clients. It keeps no state: the balancers do, on their disks, and are asked."""

    fleet: Fleet
    balancers: Balancers
    say: Say = lambda _: None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    @property
    def addresses(self) -> Addresses:
        """Who holds the virtual addresses."""
        return Addresses(self.fleet, self.balancers, self.say, self.clock, self.pause)

    def everybody(self) -> Answers:
        """What all balancers of the fleet say."""
        return self.balancers.ask(b for pool in self.fleet.pools for b in pool.balancers)

    def out(self, answers: Answers | None = None) -> dict[str, str]:
        """The machines that are out of the traffic at any balancer, with the reasons given for it.

        A reason that is not `ROLLING` goes before one that is.
        """
        found: dict[str, str] = {}
        for balancer, state in (answers or self.everybody()).states.items():
            reasons = [(place.member, place.why) for place in state.servers if place.drained]
            reasons += [(balancer, state.why)] if state.retired else []
            for name, why in reasons:
                if found.get(name, ROLLING) == ROLLING:
                    found[name] = why
        return found

    def leave(self, names: Sequence[str], terms: Terms) -> None:
        """Let no new session come to these machines, and wait until those that are open have ended.

        A balancer leaves its virtual addresses to another one. Machines that nothing is in front of are
        left alone. An interruption leaves machines drained, and nothing else: do it again.

        Raises:
            DrainError: too few would go on serving, a balancer could not do it, or sessions are still open.
        """
        for name in names:
            if self.fleet.balanced_by(name):
                self.addresses.leave(name, terms)
        behind = [name for name in names if self.fleet.balancers_of(name)]
        if not behind:
            return
        answers = self._in_front(behind)
        if not answers.states:
            raise DrainError(f"{', '.join(behind)}: no balancer in front answers: {answers.silence}")
        if not terms.force:
            self._require_heard(behind, answers)
            self._require_spare(behind, answers)
        for name in behind:
            self._drain(name, answers, terms)
        if answers.silent:
            self.say(f"{answers.silence}: not told, but the others hold the addresses")
        self._wait(behind, terms)

    def join(self, name: str, *, only: str | None = None) -> None:
        """Give a machine sessions again, at every balancer, and see that each of them does.

        `only`: where it is drained for another reason than this, leave it drained.

        Raises:
            DrainError: a balancer does not answer, or does not find the machine well.
        """
        if self.fleet.balanced_by(name):
            return self.addresses.join(name, only=only)
        answers = self._in_front([name])
        drained = [
            balancer
            for balancer, state in answers.states.items()
            if any(place.drained and only in (None, place.why) for place in state.of(name))
        ]
        self.balancers.tell_each(drained, "undrain", name)
        if answers.silent:
            raise DrainError(f"{name}: back at all balancers but those that are silent: {answers.silence}")
        return self._await_serving(name, only)

    def _in_front(self, names: Sequence[str]) -> Answers:
        return self.balancers.ask(b for name in names for b in self.fleet.balancers_of(name))

    def _pools(self, names: Sequence[str]) -> tuple[Pool, ...]:
        return tuple(p for p in self.fleet.pools if p.balancers and members(self.fleet, p) & set(names))

    def _unheard(self, names: Sequence[str], answers: Answers) -> tuple[str, ...]:
        """Virtual addresses that a silent balancer may hold: no other one says that it does.

        VRRP knows one holder of an address (RFC 9568 6.4): who has lost them serves nobody.
        """
        held = {address for state in answers.states.values() for address in state.holds}
        doubtful = [pool for pool in self._pools(names) if answers.silent.keys() & set(pool.balancers)]
        return tuple(str(a) for pool in doubtful for a in pool.addresses if str(a) not in held)

    def _require_heard(self, names: Sequence[str], answers: Answers) -> None:
        if unheard := self._unheard(names, answers):
            raise DrainError(
                f"{answers.silence}; no other balancer holds {', '.join(unheard)}, so that it may still send "
                f"clients to {', '.join(names)}: see to it first, or --force"
            )

    def _require_spare(self, names: Sequence[str], answers: Answers) -> None:
        for pool in self._pools(names):
            now = serving(self.fleet, pool, answers.states)
            left = now - set(names)
            if now & set(names) and len(left) < pool.keep_serving:
                raise DrainError(
                    f"{pool.name}: without {', '.join(names)} {', '.join(sorted(left)) or 'nobody'} would be "
                    f"left serving, and it keeps {pool.keep_serving}: bring another member back first, or "
                    "--force"
                )

    def _drain(self, name: str, answers: Answers, terms: Terms) -> None:
        # What a balancer has never heard of it sends nobody to. Somebody's own reason stands over a run's,
        # which would take the machine back in the end; and to say it again says that it is not forgotten.
        due = [
            balancer
            for balancer, state in answers.states.items()
            if state.of(name) and (terms.why != ROLLING or not state.drained(name))
        ]
        self.balancers.tell_each(due, "drain", name, terms.why)

    def _wait(self, names: Sequence[str], terms: Terms) -> None:
        """Until no balancer has a session left at these machines."""
        began, shown, cut = self.clock(), "", False
        while True:
            answers = self._in_front(names)
            left = "; ".join(self._open(names, answers, force=terms.force))
            if not left:
                return
            if left != shown:
                self.say(left)
                shown = left
            for name, balancer in _astray(names, answers):
                self.balancers.tell(balancer, "drain", name)
            if self.clock() - began >= terms.wait + SETTLE * cut:
                if cut or not terms.cut:
                    after = f"{terms.wait:g} s" + " and a cut" * cut
                    raise DrainError(
                        f"after {after}: {left}. New sessions go elsewhere; wait longer (--wait), or end "
                        "those that are open (--cut)"
                    )
                self._cut(names, answers)
                cut = True
            self.pause(1)

    def _open(self, names: Sequence[str], answers: Answers, *, force: bool) -> Iterator[str]:
        for name in names:
            for balancer, count in sessions(self.fleet, name, answers.states).items():
                yield f"{name}: {count} session{'s' * (count != 1)} open at {balancer}"
        for name, balancer in _astray(names, answers):
            yield f"{name}: {balancer} still sends it sessions"
        if not force and self._unheard(names, answers):
            yield f"sessions cannot be counted: {answers.silence}"

    def _cut(self, names: Sequence[str], answers: Answers) -> None:
        for name in names:
            self.balancers.tell_each(sessions(self.fleet, name, answers.states), "cut", name)

    def _await_serving(self, name: str, only: str | None) -> None:
        began = self.clock()
        while True:
            answers = self._in_front([name])
            wrong = answers.silence or "; ".join(_not_serving(name, answers.states, only))
            if not wrong:
                return
            if self.clock() - began >= SETTLE:
                raise DrainError(f"{name}: {SETTLE:g} s after it was taken back {wrong}")
            self.pause(1)


def _astray(names: Sequence[str], answers: Answers) -> Iterator[tuple[str, str]]:
    """Machines with the balancers that send them sessions though they are noted as drained.

    A reload at the same time has read the notes before, and the word went to the process that it replaces.
    """
    for name in names:
        for balancer, state in answers.states.items():
            if any(place.drained and place.status.startswith("UP") for place in state.of(name)):
                yield name, balancer


def _not_serving(name: str, states: Mapping[str, State], only: str | None) -> Iterator[str]:
    for balancer, state in states.items():
        for place in state.of(name):
            if not place.serves and not (place.drained and only not in (None, place.why)):
                yield f"{place.pool} {place.port} is {place.status} at {balancer}"

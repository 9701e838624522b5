"""Virtual addresses: have a balancer give its own to another one, and let it take part again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailwright.model.errors import DrainError
from mailwright.model.fleet import Fleet
from mailwright.model.pools import Pool
from mailwright.rolling.balancers import Answers, Balancers, serving
from mailwright.rolling.terms import ROLLING, SETTLE, Say, Terms


@dataclass(frozen=True)
class Addresses:
    """The virtual addresses of a fleet, and who holds them."""

    fleet: Fleet
    balancers: Balancers
    say: Say = lambda _: None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def twins(self, balancer: str) -> tuple[str, ...]:
        """A balancer and all that may hold its addresses in its place."""
        return tuple(dict.fromkeys(b for p in self.fleet.balanced_by(balancer) for b in p.balancers))

    def leave(self, name: str, terms: Terms) -> None:
        """Have a balancer leave its virtual addresses to another one, and see that it is so.

        Sessions through it are cut: no other host knows of its TCP connections.

        Raises:
            DrainError: it does not answer, or nobody can take its place. It is then in service as before.
        """
        answers = self.balancers.ask(self.twins(name))
        if name in answers.silent:
            raise DrainError(f"{name}: {answers.silent[name]}")
        mine = answers.states[name]
        if mine.absent:
            return
        if not terms.force:
            self._require_heir(name, answers)
        if not mine.retired or terms.why != ROLLING:
            self.balancers.tell(name, "retire", terms.why)
        if reason := self._wait(lambda: self._not_left(name, heir=not terms.force)):
            if not mine.retired:
                self.balancers.tell(name, "return")  # rather this balancer than none
            raise DrainError(f"{name}: after {SETTLE:g} s {reason}")

    def join(self, name: str, *, only: str | None = None) -> None:
        """Let a balancer hold virtual addresses again. It takes none from another that is well.

        Raises:
            DrainError: it does not answer, or an address is then held by none or by several.
        """
        answers = self.balancers.ask((name,))
        if name in answers.silent:
            raise DrainError(f"{name}: {answers.silent[name]}")
        mine = answers.states[name]
        if not mine.retired or only not in (None, mine.why):
            return
        self.balancers.tell(name, "return")
        if reason := self._wait(lambda: self._unsettled(name)):
            raise DrainError(f"{name}: after {SETTLE:g} s {reason}")

    def _require_heir(self, name: str, answers: Answers) -> None:
        for pool in self.fleet.balanced_by(name):
            others = {other: self._unfit(other, pool, answers) for other in pool.balancers if other != name}
            if all(others.values()):
                why = "; ".join(f"{other}: {reason}" for other, reason in others.items())
                raise DrainError(
                    f"{pool.name}: no other balancer can take the addresses of {name} ({why}): bring one "
                    "back first, or --force"
                )

    def _unfit(self, name: str, pool: Pool, answers: Answers) -> str:
        """Why a balancer could not take a pool's addresses and serve; empty if it can."""
        state = answers.states.get(name)
        if state is None:
            return answers.silent[name]
        if state.retired:
            return f"it is drained ({state.why})"
        if reason := state.absent or state.stands_aside(pool.name):
            return reason
        return "" if serving(self.fleet, pool, {name: state}) else "it finds no member well"

    def _wait(self, wrong: Callable[[], str]) -> str:
        """Until nothing is wrong any more; what still is when the time is over."""
        began = self.clock()
        while (reason := wrong()) and self.clock() - began < SETTLE:
            self.pause(0.2)
        return reason

    def _not_left(self, name: str, *, heir: bool) -> str:
        states = self.balancers.ask(self.twins(name)).states
        if name not in states:
            return "it does not answer any more"
        if states[name].holds:
            return f"it still holds {', '.join(sorted(states[name].holds))}"
        elsewhere = {a: other for other, state in states.items() for a in state.holds}
        missing = [address for address in self._addresses(name) if address not in elsewhere]
        if missing and heir:
            return f"nobody holds {', '.join(missing)}"
        for holder in sorted(set(elsewhere.values())):
            self.say(
                f"{holder} holds {', '.join(a for a in self._addresses(name) if elsewhere.get(a) == holder)}"
            )
        return ""

    def _unsettled(self, name: str) -> str:
        answers = self.balancers.ask(self.twins(name))
        mine = answers.states.get(name)
        if mine is None or mine.retired:
            return "it has not come back"
        for pool in self.fleet.balanced_by(name):
            if reason := mine.stands_aside(pool.name):
                return f"{pool.name}: {reason}"
        for address in self._addresses(name):
            holders = [other for other, state in answers.states.items() if address in state.holds]
            if len(holders) > 1 or not (holders or answers.silent):
                return f"{address} is held by {' and '.join(holders) or 'nobody'}"
        return ""

    def _addresses(self, name: str) -> Iterator[str]:
        return (str(address) for pool in self.fleet.balanced_by(name) for address in pool.addresses)

"""Balancers, asked and told over SSH by `mailwright-balance`, which the role haproxy puts on each of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mailwright.model.errors import DrainError, UnknownError
from mailwright.model.fleet import Fleet
from mailwright.model.pools import Pool
from mailwright.model.role import Result
from mailwright.verify.gather import Run

PROGRAM = "/usr/local/sbin/mailwright-balance"
_LIMIT = 90
"""Seconds that one command may take on a balancer: `undrain` waits there for a health check to pass."""


@dataclass(frozen=True)
class Server:
    """A member in one of haproxy's backends."""

    pool: str
    port: int
    member: str
    status: str
    """As haproxy says it: UP, DOWN, DRAIN, MAINT ..."""
    sessions: int
    queue: int
    """Sessions that wait for the member."""
    drained: bool
    why: str = ""
    """The reason that was given with the drain."""

    @property
    def serves(self) -> bool:
        """Whether new sessions go to the member."""
        return self.status.startswith("UP") and not self.drained


@dataclass(frozen=True)
class State:
    """What a balancer says of itself."""

    holds: frozenset[str] = frozenset()
    """The virtual addresses that it has now."""
    servers: tuple[Server, ...] = ()
    retired: bool = False
    """Whether it was told to leave the virtual addresses to others."""
    why: str = ""
    """The reason that was given with that."""
    vrrp: Mapping[str, str] = field(default_factory=dict)
    """By pool what its keepalived has said last: MASTER, BACKUP, FAULT or STOP."""
    absent: str = ""
    """Why it balances nothing at all; empty for a balancer that has been deployed."""

    def of(self, member: str) -> tuple[Server, ...]:
        """A member's places in the backends."""
        return tuple(server for server in self.servers if server.member == member)

    def drained(self, member: str) -> bool:
        """Whether no new session goes to a member in any backend; one that it does not know gets none."""
        return all(server.drained for server in self.of(member))

    def stands_aside(self, pool: str) -> str:
        """Why keepalived would not take a pool's addresses; empty if it holds them or stands by."""
        word = self.vrrp.get(pool, "")
        return f"its keepalived says {word}" if word in ("FAULT", "STOP") else ""


@dataclass(frozen=True)
class Answers:
    """What several balancers said, asked at the same time."""

    states: Mapping[str, State]
    """Of those that answered, by name."""
    silent: Mapping[str, str]
    """Why each of the others did not."""

    @property
    def silence(self) -> str:
        """`lb1: connection refused; lb2: ...`; empty when all answered."""
        return "; ".join(f"{name}: {why}" for name, why in self.silent.items())


class Balancers:
    """The balancers of a fleet."""

    def __init__(self, runners: Mapping[str, Run]) -> None:
        """Take, by name, what runs a command on each."""
        self._runners = runners

    def ask(self, names: Iterable[str]) -> Answers:
        """What each says of itself. One without an answer that can be read is silent, and no error."""
        names = list(dict.fromkeys(names))
        states: dict[str, State] = {}
        silent: dict[str, str] = {}
        with ThreadPoolExecutor(max(1, len(names)), "balancers") as pool:
            futures = {name: pool.submit(self._state, name) for name in names}
        for name, future in futures.items():
            try:
                states[name] = future.result()
            except (DrainError, UnknownError) as error:
                silent[name] = str(error)
        return Answers(states, silent)

    def tell(self, name: str, *words: str) -> str:
        """Have a balancer do something: `drain`, `undrain`, `cut`, `retire`, `return`; what it said.

        Raises:
            DrainError: it could not, or it does not answer.
        """
        try:
            result = self._run(name, words)
        except UnknownError as error:
            raise DrainError(f"{name}: {error}") from None
        if result.status:
            raise DrainError(f"{name}: {_said(result)}")
        return result.stdout.strip()

    def tell_each(self, names: Iterable[str], *words: str) -> None:
        """Have several balancers do the same at the same time; each does it, whatever becomes of the others.

        Raises:
            DrainError: one or more could not, or do not answer.
        """
        names = list(names)
        with ThreadPoolExecutor(max(1, len(names)), "balancers") as pool:
            futures = [pool.submit(self.tell, name, *words) for name in names]
        errors = [error for future in futures if (error := future.exception())]
        for error in errors:
            if not isinstance(error, DrainError):
                raise error
        if errors:
            raise DrainError("; ".join(map(str, errors)))

    def _state(self, name: str) -> State:
        result = self._run(name, ("state",))
        if result.status == _NOT_FOUND:
            return State(absent="it has not been deployed")
        if result.status:
            raise DrainError(_said(result))
        try:
            return read_state(result.stdout)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DrainError(f"its state cannot be read: {result.stdout.strip()[:200]!r}") from None

    def _run(self, name: str, words: Iterable[str]) -> Result:
        return self._runners[name](f"timeout -k 5 {_LIMIT} {PROGRAM} {shlex.join(words)}")


def serving(fleet: Fleet, pool: Pool, states: Mapping[str, State]) -> set[str]:
    """The members that all of a pool's balancers among `states` send clients to, on every port."""
    asked = [state for name, state in states.items() if name in pool.balancers and not state.absent]
    return {
        machine.name
        for machine in fleet.members(pool)
        if asked and all(_serves(state, pool, machine.name) for state in asked)
    }


def sessions(fleet: Fleet, member: str, states: Mapping[str, State]) -> dict[str, int]:
    """How many sessions a member has, or is about to get, by the balancers that clients can be at.

    A balancer that has lost a pool's addresses to another one has lost its clients with them, and does not
    know it: their packets go to the other one. Such sessions last until somebody's time is out.
    """
    counts: dict[str, int] = {}
    for pool in fleet.pools_of(member):
        wanted = set(map(str, pool.addresses))
        holders = {name for name, state in states.items() if state.holds & wanted}
        for name in holders or states.keys():
            mine = [place for place in states[name].of(member) if place.pool == pool.name]
            counts[name] = counts.get(name, 0) + sum(place.sessions + place.queue for place in mine)
    return {name: count for name, count in counts.items() if count}


def _serves(state: State, pool: Pool, member: str) -> bool:
    places = [server for server in state.of(member) if server.pool == pool.name]
    return bool(places) and all(place.serves for place in places)


_NOT_FOUND = 127
"""The exit status of a program that is not there, of timeout(1) as of sh."""


def read_state(text: str) -> State:
    """Read what `mailwright-balance state` prints.

    Raises:
        ValueError: it is no JSON, or not of this shape (KeyError, TypeError and AttributeError likewise).
    """
    data: dict[str, Any] = json.loads(text)
    retired = data.get("retired")
    return State(
        frozenset(map(str, data["holds"])),
        tuple(_server(each) for each in data["servers"]),
        retired is not None and retired is not False,
        retired if isinstance(retired, str) else "",
        {str(pool): str(word) for pool, word in data.get("vrrp", {}).items()},
    )


def _server(data: Mapping[str, Any]) -> Server:
    return Server(
        str(data["pool"]),
        int(data["port"]),
        str(data["member"]),
        str(data["status"]),
        int(data["sessions"]),
        int(data["queue"]),
        bool(data["drained"]),
        str(data.get("why") or ""),
    )


def _said(result: Result) -> str:
    lines = (result.stderr or result.stdout).strip().splitlines()
    return lines[-1] if lines else f"mailwright-balance ended with status {result.status}"

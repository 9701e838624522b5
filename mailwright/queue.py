"""A machine's mail queue: how much it holds, and how it is emptied before the machine goes.

Postfix is asked and told over SSH. What is changed in main.cf for the time being is marked line by line,
so that it is taken back exactly; where that fails, because somebody was killed, main.cf is not what the
machine needs, and the next apply writes it anew.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from mailwright.converge import units
from mailwright.converge.shell import script
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.needs import Unit
from mailwright.model.pools import HAND_OVER_PORT
from mailwright.model.role import Result
from mailwright.model.site import MachinePlan
from mailwright.observe.places import sibling
from mailwright.verify.gather import Run
from mailwright.zones import SENDS

AGES = ((300, "under 5 min"), (3600, "under 1 h"), (86_400, "under 1 d"))
"""Upper ends in seconds; older ones have no end."""
OLDER = "older"
MAIN_CF = "/etc/postfix/main.cf"
FLUSH_EVERY = 15.0
"""Seconds between two flushes of a queue that is waited for: a try costs little, and refused ones wait."""

Say = Callable[[str], None]


class QueueError(MailwrightError):
    """A queue cannot be read, or does not become empty."""


@dataclass(frozen=True)
class Queue:
    """What a queue holds."""

    by_queue: Mapping[str, int] = field(default_factory=dict)
    """Messages by Postfix's queue: `active`, `deferred`, `incoming`, `hold`, `maildrop`."""
    by_age: Mapping[str, int] = field(default_factory=dict)
    """The same messages by how long ago they came; the words of `AGES`, and `OLDER`."""
    why: str = ""
    """Why one of them was not delivered yet."""

    @property
    def messages(self) -> int:
        """All of them."""
        return sum(self.by_queue.values())

    @property
    def moving(self) -> int:
        """Those that Postfix will try by itself."""
        return self.messages - self.by_queue.get("hold", 0)

    def __str__(self) -> str:
        """One line for the operator."""
        if not self.messages:
            return "the queue is empty"
        ages = ", ".join(f"{n} {age}" for age, n in self.by_age.items() if n)
        held = f", {self.by_queue['hold']} on hold" if self.by_queue.get("hold") else ""
        return f"{self.messages} message{'s' * (self.messages != 1)} in the queue ({ages}{held})"


# The first three fields come before anything that a sender could choose (postqueue(1), JSON OBJECT FORMAT).
_LOOK = r"""
postqueue -j | awk -v now="$(date +%s)" '
  match($0, /^[{]"queue_name": "[a-z]+", "queue_id": "[^"]*", "arrival_time": [0-9]+/) {
    split(substr($0, 1, RLENGTH), part, /[":, ]+/)
    count[part[3] " " bracket(now - part[7])]++
    if (why == "" && match($0, /"delay_reason": "[^"]*/)) why = substr($0, RSTART + 17, RLENGTH - 17)
    next
  }
  { strange++ }
  function bracket(age) { return age < 300 ? 300 : age < 3600 ? 3600 : age < 86400 ? 86400 : 0 }
  END {
    for (each in count) print "mail", each, count[each]
    if (why != "") print "why", why
    print strange ? "strange" : "whole"
  }'
"""
_ARRIVALS = r"""
said=$(postqueue -j) || exit 1
printf '%s\n' "$said" |
  sed -nE 's/^[{]"queue_name": "[a-z]+", "queue_id": "([^"]*)", "arrival_time": ([0-9]+).*/\1 \2/p'
"""
_LINE = re.compile(r"mail ([a-z]+) (\d+) (\d+)")


def read(result: Result) -> Queue:
    """The answer to what `Mta.look` asks.

    Raises:
        QueueError: it is none.
    """
    lines = result.stdout.splitlines()
    if result.status or not lines or lines[-1] != "whole":
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise QueueError(f"its queue cannot be read: {said[-1] if said else 'postqueue says nothing'}")
    names = {str(end): name for end, name in AGES} | {"0": OLDER}
    by_queue: dict[str, int] = {}
    by_age = dict.fromkeys(names.values(), 0)
    for queue, end, count in (m.groups() for m in map(_LINE.fullmatch, lines) if m):
        by_queue[queue] = by_queue.get(queue, 0) + int(count)
        by_age[names[end]] += int(count)
    why = next((line.removeprefix("why ") for line in lines if line.startswith("why ")), "")
    return Queue(by_queue, by_age, why)


def peers(fleet: Fleet, machine: Machine) -> tuple[Machine, ...]:
    """Machines that can take over its queue: those of its pools first, then the others that send."""
    pools = {pool.name for pool in fleet.pools_of(machine.name)}
    others = [m for m in fleet.with_role(SENDS) if m.name != machine.name]
    return tuple(sorted(others, key=lambda m: not pools & {p.name for p in fleet.pools_of(m.name)}))


@dataclass(frozen=True)
class Mta:
    """Postfix on a machine."""

    machine: Machine
    run: Run
    unit: Unit
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, plan: MachinePlan, run: Run) -> Mta:
        """Postfix of a machine that has it.

        Raises:
            QueueError: the machine has none.
        """
        found = [unit for unit in plan.merged.units if re.fullmatch(r"postfix(@-)?\.service", unit.name)]
        if not found:
            raise QueueError(f"{plan.machine.name} has no queue: it lacks the role postfix")
        return cls(plan.machine, run, found[0])

    # --- looking

    def look(self) -> Queue:
        """What the queue holds now.

        Raises:
            QueueError: it cannot be read.
            UnknownError: the machine does not answer.
        """
        try:
            return read(self.run(f"sh -c {shlex.quote(_LOOK)}"))
        except QueueError as error:
            raise QueueError(f"{self.machine.name}: {error}") from None

    def arrivals(self) -> Mapping[str, int]:
        """When each message came, by its queue id: seconds since the epoch.

        Raises:
            QueueError: the queue cannot be read.
            UnknownError: the machine does not answer.
        """
        lines = map(str.split, self._must(f"sh -c {shlex.quote(_ARRIVALS)}").splitlines())
        return {queue_id: int(arrived) for queue_id, arrived in lines}

    def sessions(self, ports: tuple[int, ...]) -> int:
        """Connections of clients to these ports."""
        if not ports:  # ss takes no empty expression
            return 0
        said = self._must(f"ss -Htn state established '( {' or '.join(f'sport = :{p}' for p in ports)} )'")
        return len(said.splitlines())

    # --- emptying

    def flush(self) -> None:
        """Try everything that is deferred, now."""
        self._must("postqueue -f")

    def wait_until_empty(self, patience: float, say: Say = lambda _: None) -> None:
        """Flush, and wait for what is not on hold to leave; `say` hears of each change.

        Raises:
            QueueError: something is left after `patience` seconds, or is on hold; the line says why.
        """
        began = self.clock()
        flushed = float("-inf")
        told = ""
        while True:
            queue = self.look()
            if str(queue) != told:
                told = str(queue)
                say(told)
            if not queue.moving:
                break
            if self.clock() - began > patience:
                why = f"; of one it is said: {queue.why}" if queue.why else ""
                raise QueueError(f"{self.machine.name}: after {patience:.0f} s {queue}{why}")
            if self.clock() - flushed > FLUSH_EVERY and queue.by_queue.get("deferred"):
                flushed = self.clock()
                self.flush()
            self.pause(1)
        if queue.messages:
            raise QueueError(
                f"{self.machine.name}: {queue}; `postsuper -H ALL` there lets go what is on hold"
            )

    def hand_over(self, peer: Machine, patience: float, say: Say = lambda _: None) -> None:
        """Have another sending machine deliver all that this one holds and would send to the world.

        What is for a mailbox of this machine is delivered here. Afterwards the machine sends by itself again.

        Raises:
            QueueError: the other one does not answer, or something is left after `patience` seconds.
        """
        self._greet(peer)
        # soft_bounce: what the other one refuses stays here, and does not go back to its sender.
        # https://www.postfix.org/postconf.5.html#soft_bounce
        # Nor does what is too old, whose last try would be there. 100d is the most that Postfix takes.
        relay = {
            "relayhost": f"[{peer.fqdn.bare}]:{HAND_OVER_PORT}",
            "soft_bounce": "yes",
            "maximal_queue_lifetime": "100d",
            "bounce_queue_lifetime": "100d",
        }
        with self.changed("hand-over", relay):
            # Where each recipient goes is asked again whenever a deferred message is tried.
            self.flush()
            self.wait_until_empty(patience, say)

    def hand_over_to_one(
        self, others: Iterable[Machine], patience: float, say: Say = lambda _: None
    ) -> Machine:
        """Hand over to the first of several that takes all of it.

        Raises:
            QueueError: none does.
        """
        refusals: list[str] = []
        for peer in others:
            try:
                say(f"handing the queue over to {peer.name}")
                self.hand_over(peer, patience, say)
            except QueueError as error:
                refusals.append(str(error))
            else:
                return peer
        raise QueueError("; ".join(refusals) or f"{self.machine.name}: no other machine sends mail")

    def _greet(self, peer: Machine) -> None:
        talk = (
            f"exec 3<>/dev/tcp/{peer.fqdn.bare}/{HAND_OVER_PORT} && read -r -t 15 line <&3 && "
            'printf "%s\\n" "$line" && printf "QUIT\\r\\n" >&3'
        )
        said = self.run(f"timeout 20 bash -c {shlex.quote(talk)}")
        if said.status or not said.stdout.startswith("220"):
            answer = (said.stdout or said.stderr).strip().splitlines()
            raise QueueError(
                f"{peer.name} takes no queue from {self.machine.name} on port {HAND_OVER_PORT}: "
                f"{answer[-1] if answer else 'no answer'}; `mailwright verify` looks at it"
            )

    # --- leaving

    def close_doors(self) -> None:
        """Take no mail over the network any more; what is in the queue is delivered.

        Sessions that are open go on to their end. The next apply opens the doors again.
        """
        # https://www.postfix.org/postconf.5.html#master_service_disable
        self._change("closed", {"master_service_disable": "inet"})

    @property
    def closed(self) -> bool:
        """Whether its doors are closed."""
        return self._must("postconf -h master_service_disable").strip() == "inet"

    def stop(self) -> None:
        """Stop Postfix, also for the next boot, and for whoever would start it (an upgrade, say).

        Raises:
            QueueError: mail came in at the last moment; it runs again.
        """
        self._must(f"systemctl stop {self._units}")
        queue = self.look()
        if queue.messages:
            self._must(f"systemctl start {self._units}")
            raise QueueError(f"{self.machine.name}: at the last moment {queue}")
        self._must(f"systemctl mask -q {self._units}")

    @property
    def revival(self) -> str:
        """The command that undoes `stop`."""
        return f"systemctl unmask {self._units} && systemctl start {self._units}"

    @property
    def _units(self) -> str:
        return " ".join(dict.fromkeys((self.unit.name, "postfix.service")))

    @property
    def stopped(self) -> bool:
        """Whether it was stopped for good."""
        said = self.run(f"systemctl is-enabled {self.unit.name}; systemctl is-active {self.unit.name}")
        enabled, active = (*said.stdout.split(), "", "")[:2]
        return enabled == "masked" and active not in ("active", "activating", "reloading")

    # --- the configuration, for the time being

    @contextmanager
    def changed(self, tag: str, settings: Mapping[str, str]) -> Iterator[None]:
        """Have Postfix run with other settings until the block ends."""
        self._change(tag, settings)
        try:
            yield
        finally:
            self._change(tag, {})

    def _change(self, tag: str, settings: Mapping[str, str]) -> None:
        reload = units.apply(units.Plan((units.Step(self.unit, ("reload",)),), reread=False))
        self._must(f"sh -c {shlex.quote(script(edit(tag, settings), reload))}")

    def _must(self, command: str) -> str:
        done = self.run(command)
        if done.status:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise QueueError(f"{self.machine.name}: {said[-1] if said else f'status {done.status}'}")
        return done.stdout


def edit(tag: str, settings: Mapping[str, str]) -> str:
    """Shell text that gives settings of main.cf other values, marked by `tag`; none: takes them back.

    What was there before stays as a comment, so that taking back leaves every octet as it was. Twice is
    once.
    """
    mark = f"#mailwright {tag}"
    back = [f"/^{mark}:$/,+1d", f"s/^{mark}: //"]
    aside = [f"s/^{name}[ \\t]*=/{mark}: &/" for name in settings]
    added = "".join(f"{mark}:\n{name} = {value}\n" for name, value in settings.items())
    new = sibling(MAIN_CF)
    return "\n".join(
        (
            f"cp -p {MAIN_CF} {new}",  # for its owner and mode
            f"{{ sed {_scripts(back)} {MAIN_CF} | sed {_scripts(aside or ['b'])}",
            f"  printf %s {shlex.quote(added)}; }} >{new}",
            f"mv -f {new} {MAIN_CF}",
        )
    )


def _scripts(commands: Iterable[str]) -> str:
    return " ".join(f"-e {shlex.quote(each)}" for each in commands)

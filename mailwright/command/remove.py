"""`mailwright remove`: a machine leaves the fleet and takes no mail with it, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer

from mailwright.command.console import commands, note
from mailwright.command.growing import LEAVING, AtOnce, Growing
from mailwright.command.guide import MachineName, Operator, Step, Steps, Yes, follow, patience, read_text
from mailwright.command.inventory import Inventory
from mailwright.command.leaving import traffic_of
from mailwright.growth.aside import refusals
from mailwright.growth.fleetfile import without_machine
from mailwright.growth.publishing import leading_records, part_of
from mailwright.growth.sight import unseen
from mailwright.hostkeys import forget
from mailwright.model.aside import aside
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.model.load import check_text, own_known_hosts
from mailwright.model.pools import MAIL, proxy_port
from mailwright.model.site import Site
from mailwright.publish import Plans, plan_site
from mailwright.queue import Mta, peers
from mailwright.rolling.terms import Terms
from mailwright.verify.ssh import runner
from mailwright.zones import SENDS

app = commands()


Wait = Annotated[
    str,
    typer.Option("--wait", metavar="DURATION", help="For sessions to end, and for the queue to empty."),
]


class QueueFate(StrEnum):
    """What becomes of the mail that is still in its queue."""

    WAIT = "wait"
    """Delivered by the machine itself."""
    HAND_OVER = "hand-over"
    """Delivered by another sending machine."""


@app.command()
def remove(
    inventory: Inventory,
    machine: MachineName,
    *,
    queue: Annotated[
        QueueFate,
        typer.Option(
            help="Its queue: wait until it has delivered it, or hand it over to another sending machine."
        ),
    ] = QueueFate.WAIT,
    peer: Annotated[
        str | None,
        typer.Option(metavar="MACHINE", help="Who takes the queue over. Default: one of the same pool."),
    ] = None,
    wait: Wait = "10m",
    at_once: AtOnce = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="It is gone for good, with what was in its queue: ask it nothing.")
    ] = False,
    yes: Yes = False,
    steps: Steps = False,
) -> int:
    """Take a machine out of the fleet: its clients first, then its queue, the machine, and its names last.

    Refused where the fleet could not do without it. Each step looks before it acts, says what it found, and
    asks before it changes something. Where one fails, mend it and run the same command again.

        mailwright remove inventory/prod.yaml out3 --queue hand-over

    Exit status: 0 it is out, 1 a step failed; the rest was not begun.
    """
    growing = Growing(inventory, machine, Operator(yes=yes))
    leaving = Leaving(growing, queue, peer, patience(wait), at_once=at_once, lost=lost)
    site = growing.site
    if any(m.name == machine for m in site.fleet.machines):
        todo = [*leaving.before(site), *leaving.after()]
    else:
        note(f"{machine} is not in the fleet file: what is left to do is with the others and in the DNS")
        todo = leaving.after()
    return follow(todo, only_print=steps)


@dataclass(frozen=True)
class Leaving:
    """The steps, and the work of each."""

    growing: Growing
    queue: QueueFate = QueueFate.WAIT
    peer: str | None = None
    wait: float = 600.0
    at_once: bool = False
    lost: bool = False
    """It does not answer and never will."""
    pause: Callable[[float], None] = time.sleep

    def before(self, site: Site) -> list[Step]:
        """While the fleet file has it: what makes it superfluous."""
        name, machine = self.growing.name, self.growing.machine(site)
        serves = [
            Step(f"no client is led to {name} any more", self.lead_nobody),
            Step(f"{name} takes no more mail, and its sessions end", self.close),
            Step(f"the queue of {name} is empty: {_FATES[self.queue]}", self.empty),
            Step(f"stop Postfix on {name}, for good", self.stop),
        ]
        if self.lost:
            serves = serves[:1]
        return [
            Step(f"the fleet can do without {name}", self.dispensable),
            *([] if self.lost else [Step(f"{name} answers on SSH", self.growing.see)]),
            *(serves if SENDS in machine.roles else []),
            Step(f"what stays on {name}", self.remains),
            Step(f"take {name} out of the fleet file", self.take_out),
        ]

    def after(self) -> list[Step]:
        """Once the fleet file has it no more: what the others and the world are told."""
        name = self.growing.name
        return [
            Step(f"the other machines forget {name}", self.forget),
            Step(f"take the records of {name} out of the DNS", self.unpublish),
            Step("and last the names of its addresses", self.unpublish_names),
            Step("verify the whole fleet", self.growing.verify),
        ]

    def dispensable(self) -> str:
        """See that nothing depends on it alone."""
        site, name = self.growing.site, self.growing.name
        if wrong := list(refusals(site.fleet, name)):
            raise MailwrightError("\n".join(f"{name} cannot go: {why}" for why in wrong))
        text = without_machine(read_text(self.growing.file), name)
        rest = check_text(text, self.growing.file, site.roles)
        pools = [
            f"{pool.name} keeps {', '.join(m.name for m in rest.members(new))}"
            for pool in site.fleet.pools_of(name)
            for new in rest.pools
            if new.name == pool.name
        ]
        return "; ".join(pools) or "no pool has it"

    def lead_nobody(self) -> str:
        """Drain it at its balancers, and take it out of the names that lead to it without one."""
        site, name = self.growing.site, self.growing.name
        found = []
        if balancers := site.fleet.balancers_of(name):
            self.growing.operator.agree(f"Drain {name} at {', '.join(balancers)}?")
            traffic_of(site.fleet).leave([name], Terms(why=LEAVING, wait=self.wait))
            found.append(f"drained at {', '.join(balancers)}, no session left")
        if leading := leading_records(site, name):
            without = replace(site, fleet=aside(site.fleet, name))
            plans = part_of(plan_site(without, say=note), lambda key: key in leading)
            done = self.growing.publish(without, plans)
            if old := unseen(without, {each.key for each in plans.by_hand}):
                raise MailwrightError("\n".join(f"{line}; change it by hand" for line in old))
            names = ", ".join(sorted({key[0].removesuffix(".") for key in leading}))
            found.append(f"no longer among {names}: {self._wait_for_resolvers(site, published=done)}")
        return "; ".join(found) or "nothing led to it"

    def _wait_for_resolvers(self, site: Site, *, published: bool) -> str:
        """Until no resolver can hold the old set any more. When it was published is not written anywhere."""
        ttl = site.fleet.dns.ttl
        if self.lost:
            return "nobody is served there anyway"
        if not published and self._mta(site).closed:
            return "waited for that before"
        note(f"     waiting {ttl} s, which resolvers may keep the old addresses for")
        self.pause(ttl)
        return f"waited the TTL of {ttl} s"

    def close(self) -> str:
        """Have it take nothing over the network, so that its queue can only shrink."""
        site = self.growing.site
        mta = self._mta(site)
        if mta.stopped:
            return "Postfix is stopped already"
        if not mta.closed:
            self.growing.operator.agree(f"Close the ports of {self.growing.name} to new mail?")
            mta.close_doors()
        ports = _ports(site, self.growing.machine(site))
        began = time.monotonic()
        while count := mta.sessions(ports):
            if time.monotonic() - began > self.wait:
                raise MailwrightError(f"after {self.wait:.0f} s {count} sessions are still open")
            self.pause(1)
        return f"ports {', '.join(map(str, ports)) or 'of clients: none'}: closed, no session open"

    def empty(self) -> str:
        """Wait for its queue, or hand it over."""
        site = self.growing.site
        mta = self._mta(site)
        before = mta.look()
        if not before.messages:
            return "it is"
        if mta.stopped:
            raise MailwrightError(f"Postfix is stopped and {before}: `{mta.revival}` there")
        if self.queue is QueueFate.WAIT:
            mta.wait_until_empty(self.wait, self._say)
            return "all of it is delivered"
        others = self._others(site)
        names = " or ".join(m.name for m in others)
        self.growing.operator.agree(f"Hand over {before.messages} messages to {names}?")
        return f"{mta.hand_over_to_one(others, self.wait, self._say).name} has taken it over"

    def _others(self, site: Site) -> tuple[Machine, ...]:
        able = peers(site.fleet, self.growing.machine(site))
        chosen = tuple(m for m in able if self.peer in (None, m.name))
        if not chosen:
            names = ", ".join(m.name for m in able) or "none"
            raise MailwrightError(f"--peer {self.peer or ''}: the other machines that send are {names}")
        return chosen

    def stop(self) -> str:
        """Stop Postfix and mask it: a machine that wakes up later must not send what others have sent."""
        mta = self._mta(self.growing.site)
        if not mta.stopped:
            self.growing.operator.agree(f"Stop Postfix on {self.growing.name}?")
            mta.stop()
        return "stopped and masked"

    def remains(self) -> str:
        """Name what is on its disk that nothing here deletes."""
        site = self.growing.site
        needs = site.plan(self.growing.machine(site)).merged
        kept = [f"{path.path}: {path.reason}" for path in needs.backups]
        secret = sorted({file.path.rpartition("/")[0] for file in needs.files if file.secret})
        lines = [f"{line}; copy it if it is wanted" for line in kept]
        if secret:
            lines.append(f"keys in {', '.join(secret)}: wipe its disk before it goes to anybody else")
        return "\n".join(lines) or "nothing that is backed up or secret"

    def take_out(self) -> str:
        """Edit the fleet file, and let go of its host key."""
        before, machine = read_text(self.growing.file), self.growing.machine(self.growing.site)
        done = self.growing.write(before, without_machine(before, self.growing.name))
        if machine.ssh.known_hosts == str(own_known_hosts(self.growing.file)):
            forget(own_known_hosts(self.growing.file), machine)
        return done

    def forget(self) -> str:
        """Bring the others up to date."""
        balanced = any(pool.balancers for pool in self.growing.site.fleet.pools)
        return self.growing.apply(rolling=balanced and not self.at_once)

    def unpublish(self) -> str:
        """Bring the DNS to what the fleet file says, but for reverse names that go."""
        return self._publish(lambda plans: part_of(plans, lambda key: key[1] != "PTR"))

    def unpublish_names(self) -> str:
        """And these: what an address is called is looked at as long as anything is heard from it."""
        return self._publish(lambda plans: plans)

    def _publish(self, part: Callable[[Plans], Plans]) -> str:
        site = self.growing.site
        if not site.fleet.providers:
            return "no provider holds a zone of the fleet"
        return "done" if self.growing.publish(site, part(plan_site(site, say=note))) else "nothing to do"

    def _mta(self, site: Site) -> Mta:
        machine = self.growing.machine(site)
        return Mta.of(site.plan(machine), runner(machine))

    def _say(self, line: str) -> None:
        note(f"     {line}")


_FATES = {QueueFate.WAIT: "it delivers what it has", QueueFate.HAND_OVER: "another machine delivers it"}


def _ports(site: Site, machine: Machine) -> tuple[int, ...]:
    """Where it takes mail of clients, behind balancers and in front."""
    mail = (MAIL, 587, 465)
    wanted = {*mail, *map(proxy_port, mail)}
    return tuple(sorted(port.number for port in site.plan(machine).merged.ports if port.number in wanted))

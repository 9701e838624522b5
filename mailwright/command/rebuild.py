"""`mailwright rebuild`: a lost machine is put together again on a bare host, from its backups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mailwright.backup.programs import Client
from mailwright.backup.restoring import Restore
from mailwright.backup.snapshots import stamp
from mailwright.command.backup_restore import At, when
from mailwright.command.console import commands
from mailwright.command.growing import AtOnce, Growing
from mailwright.command.guide import MachineName, Operator, Step, Steps, Yes, follow, read_text
from mailwright.command.hostkeys import Fingerprint, carry_over, first_sight
from mailwright.command.inventory import Inventory
from mailwright.command.leaving import traffic_of
from mailwright.command.shutout import Lost
from mailwright.growth.fleetfile import opened_machine
from mailwright.model.crossbackups import MAKES
from mailwright.model.errors import MailwrightError
from mailwright.rebuilding.stage import Stage

app = commands()


@app.command()
def rebuild(
    inventory: Inventory,
    machine: MachineName,
    *,
    at: At = None,
    fingerprint: Fingerprint = None,
    at_once: AtOnce = False,
    yes: Yes = False,
    steps: Steps = False,
) -> int:
    """Put a lost machine together again, on a bare host with its name and address, from its backups.

    The old one is shut out first, so that it sends nothing again if it comes back. The new one is closed to
    the world until it has what was backed up and its suite has passed; mail waits with the other machines,
    or with its senders. Each step looks before it acts, says what it found, and asks before it changes
    something. Where one fails, or the command is killed, run it again.

        mailwright rebuild inventory/prod.yaml out1

    Exit status: 0 it serves again, 1 a step failed; the rest was not begun.
    """
    growing = Growing(inventory, machine, Operator(yes=yes))
    rebuilding = Rebuilding(growing, when(at), fingerprint, at_once=at_once)
    return follow(rebuilding.steps(), only_print=steps)


@dataclass(frozen=True)
class Rebuilding:
    """The steps, and the work of those about the new machine."""

    growing: Growing
    at: datetime | None = None
    fingerprint: str | None = None
    at_once: bool = False

    @property
    def lost(self) -> Lost:
        """The old one."""
        return Lost(self.growing)

    def steps(self) -> list[Step]:
        """In their order: shut the old one out, put the new one together behind closed doors, open them."""
        name, growing, lost = self.growing.name, self.growing, self.lost
        made = MAKES in growing.machine(growing.site).roles
        return [
            Step(f"nobody is at work as {name}", lost.see),
            *_only(made, f"what was backed up of {name}, and what is lost", lambda: lost.backups(self.at)),
            Step(f"no balancer sends clients to {name}", lost.drain),
            Step(f"the fleet file says that {name} is closed", lost.close),
            Step(f"no name leads to {name} where another machine serves", lost.lead_nobody),
            *_only(made, f"the backup store refuses the old {name}", lost.fence),
            Step(f"a bare host answers as {name}, with a host key that you know", self.meet),
            Step(f"deploy {name}, closed", lambda: growing.apply([name])),
            Step(f"{name} has what was backed up" if made else "nothing is brought back", self.bring_back),
            Step(f"verify {name}, closed", lambda: growing.verify([name])),
            Step(f"the fleet file opens {name}", self.open),
            Step(f"deploy {name}, open", lambda: growing.apply([name])),
            *_only(made, f"back {name} up again", self.back_up),
            Step("the other machines are as the fleet file says", self.others),
            Step(f"verify {name}", lambda: growing.verify([name])),
            Step(f"its balancers send clients to {name}", self.undrain),
            Step(f"names lead to {name} again", self.lead_back),
            Step("verify the whole fleet", self.finish),
        ]

    def meet(self) -> str:
        """Have the operator recognise the host, see that it is bare, and note that a rebuild begins."""
        site, file = self.growing.site, self.growing.file
        if self.lost.stage(site) in (Stage.BEGUN, Stage.PLACED):
            return self.growing.see()
        carry_over(site.fleet, file)
        first_sight(self.growing.machine(site), file, self.growing.operator, self.fingerprint)
        site = self.growing.site  # which may have its own file of host keys only now
        found = self.growing.see()
        if self.lost.stage(site) is not Stage.BARE:
            raise MailwrightError(
                f"{self.growing.name} is no bare host: the old one is back, or somebody has deployed it"
            )
        self.lost.place(site).begin()
        return found

    def bring_back(self) -> str:
        """Bring its snapshots back, and put them to use."""
        site = self.growing.site
        machine, place = self.growing.machine(site), self.lost.place(site)
        if place.look()[0] is Stage.PLACED:
            return "brought back before"
        if not machine.closed:
            raise MailwrightError(f"{machine.name} is open: what is brought back would leave it at once")
        found = "it makes no backups"
        if MAKES in machine.roles:
            restore = Restore(site.plan(machine), Client.at(machine))
            with restore.staged(self.at) as staged:
                restore.put(staged)
            times = ", ".join(f"{s.retention} of {stamp(s.time)}" for s in staged.snapshots)
            found = f"{times}: {', '.join(staged.paths)}"
            self.growing.apply([machine.name])  # what came back may be older than the fleet file
        place.placed()
        return found

    def open(self) -> str:
        """Take the word `closed` out of the fleet file."""
        if not self.growing.machine(self.growing.site).closed:
            return "it does"
        before = read_text(self.growing.file)
        return self.growing.write(before, opened_machine(before, self.growing.name))

    def back_up(self) -> str:
        """Have its first snapshot made: from now on it may be lost again."""
        Client.at(self.growing.machine(self.growing.site)).make()
        return "done"

    def others(self) -> str:
        """Bring all machines up to date, one after the other where they are balanced."""
        balanced = any(pool.balancers for pool in self.growing.site.fleet.pools)
        return self.growing.apply(rolling=balanced and not self.at_once)

    def undrain(self) -> str:
        """Give it clients again."""
        site, name = self.growing.site, self.growing.name
        balancers = site.fleet.balancers_of(name)
        if not balancers:
            return "no balancer is in front of it"
        traffic_of(site.fleet).join(name)
        return f"UP at {', '.join(balancers)}"

    def lead_back(self) -> str:
        """Publish the names that clients find it by, with it."""
        return self.lost.publish_leading(self.growing.site) or "none does"

    def finish(self) -> str:
        """Verify everything, and note that it is a machine like any other."""
        said = self.growing.verify()
        self.lost.place(self.growing.site).finish()
        return said


def _only(wanted: bool, title: str, work: Callable[[], str]) -> tuple[Step, ...]:
    return (Step(title, work),) if wanted else ()

"""What `add` and `remove` have in common: a fleet that is read anew at each step, and what is done to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mailwright.command.alone import alone
from mailwright.command.apply import apply
from mailwright.command.console import note
from mailwright.command.dnsview import show_plans
from mailwright.command.guide import Operator, read_text, replace_text, show_diff
from mailwright.command.inventory import load_roles, open_site
from mailwright.command.verify import verify
from mailwright.growth.sight import Door, answers, greet
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.model.load import check_text, fleet_file
from mailwright.model.site import Site
from mailwright.publish import Plans, apply_plans
from mailwright.verify.ssh import runner

LEAVING = "leaving the fleet"
"""The reason that balancers keep with a drain of `remove`."""
AtOnce = Annotated[
    bool, typer.Option("--at-once", help="Change the other machines side by side, not one after the other.")
]


@dataclass(frozen=True)
class Growing:
    """A fleet file, one machine of it, and the operator who is asked."""

    inventory: Path
    name: str
    operator: Operator

    @property
    def site(self) -> Site:
        """The fleet as its file says it now."""
        return open_site(self.inventory)

    @property
    def file(self) -> Path:
        """The fleet file."""
        return fleet_file(self.inventory)

    def machine(self, site: Site) -> Machine:
        """The machine.

        Raises:
            MailwrightError: the fleet file has none of that name.
        """
        machine = next((m for m in site.fleet.machines if m.name == self.name), None)
        if machine is None:
            raise MailwrightError(f"{display(self.file)}: the fleet has no machine {self.name}")
        return machine

    def see(self) -> str:
        """See that the machine answers and is what the fleet file says."""
        machine = self.machine(self.site)
        return answers(machine, runner(machine))

    def write(self, before: str, after: str) -> str:
        """Show what changes in the fleet file, ask, and change it.

        Raises:
            MailwrightError: the fleet would be wrong, or somebody wrote to the file meanwhile.
        """
        check_text(after, self.file, load_roles(self.inventory))
        show_diff(before, after, self.file)
        self.operator.agree("Write that?")
        with alone(self.file):
            if read_text(self.file) != before:
                raise MailwrightError(f"{display(self.file)} was changed meanwhile; run this again")
            replace_text(self.file, after)
        return f"{display(self.file)} is written"

    def apply(self, limit: Sequence[str] = (), *, dns: bool = False, rolling: bool = False) -> str:
        """Bring machines up to date, as `mailwright apply` does.

        Raises:
            MailwrightError: one of them failed.
        """
        if apply(self.inventory, limit=list(limit), dns=dns, yes=self.operator.yes, rolling=rolling):
            raise MailwrightError("not all of it was done: see above")
        return f"{', '.join(limit) or 'all machines'}: up to date"

    def verify(self, limit: Sequence[str] = ()) -> str:
        """Run machines' suites, as `mailwright verify` does.

        Raises:
            MailwrightError: something is not as it should be.
        """
        if verify(self.inventory, limit=list(limit)):
            raise MailwrightError("not all is well: see above")
        return f"{', '.join(limit) or 'all machines'}: as the fleet file says"

    def publish(self, site: Site, plans: Plans) -> bool:
        """Show a plan, ask, publish and wait until every server has it; whether there was anything to do.

        Raises:
            DnsError: it cannot be published, or is not served everywhere in time.
        """
        if not (plans.changed or plans.blocked):
            return False
        show_plans(plans)
        if plans.changed and not plans.blocked:
            self.operator.agree("Publish that?")
        apply_plans(site, plans, say=note)
        return True


def reachable(site: Site, doors: Iterable[Door]) -> str:
    """Talk to a server behind each door that the world may come to; see `greet`."""
    open_to_all = {
        port.number
        for machine in site.fleet.machines
        for port in site.plan(machine).merged.ports
        if port.audience == "public"
    }
    asked = list(doors)
    closed = sorted({door.port for door in asked if door.port not in open_to_all})
    found = greet(door for door in asked if door.port in open_to_all)
    return found + (f"; not asked, as not public: {', '.join(map(str, closed))}" if closed else "")

"""The DNS around a change of machines: what they will rely on goes first, what they relied on goes last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailwright.command.console import note
from mailwright.command.hosts import MachinePlan
from mailwright.dkim.effects import SIGNS
from mailwright.dkim.sight import refuse_unseen
from mailwright.model.errors import DnsError, MailwrightError
from mailwright.model.keyring import keyring_file, read_keyring
from mailwright.model.load import fleet_file
from mailwright.model.site import Site
from mailwright.publish import Plans, apply_plans, plan_site, without_removals


@dataclass(frozen=True)
class Around:
    """One change of machines. Call `before`, change them, call `after`."""

    site: Site
    inventory: Path
    zones: Plans | None
    """What the zones lack and what is too much in them; nothing if they are left alone."""

    def before(self, plans: Sequence[MachinePlan]) -> None:
        """Publish what the machines are about to rely on, and see that they may change as planned.

        Raises:
            MailwrightError: their keys are no longer those of the plan.
            DnsError: a zone cannot be changed, or a key is not seen everywhere.
        """
        # Hosts must not be handed back a key that a rotation has moved on from while somebody read the plan.
        if read_keyring(keyring_file(fleet_file(self.inventory))) != self.site.keyring:
            raise MailwrightError(
                "a DKIM rotation went on since this was planned; nothing was done, run this again"
            )
        first = without_removals(self.zones) if self.zones else None
        if first and first.changed:
            apply_plans(self.site, first, say=note)
        if any(name.startswith(f"{SIGNS}: ") for plan in plans for name, _ in plan.changes):
            refuse_unseen(self.site)

    def after(self, *, complete: bool) -> None:
        """Take away what no machine needs any more and announce what all now do.

        `complete`: all machines of the fleet are up to date; else it waits.

        Raises:
            DnsError: a zone cannot be changed, or was changed meanwhile.
        """
        first = without_removals(self.zones) if self.zones else None
        if not first or not any(first.kept.values()):
            return
        names = ", ".join(zone for zone, keys in first.kept.items() if keys)
        if not complete:
            note(f"{names}: records that go or announce wait for a run over all machines that ends well")
            return
        rest = plan_site(replace(self.site, includes=first.includes))
        if any({c.key for c in plan.changes} - first.kept[plan.zone] for plan in rest.zones):
            raise DnsError(f"{names}: changed meanwhile, so that nothing more was published; run this again")
        apply_plans(self.site, rest, say=note)

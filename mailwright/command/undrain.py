"""`mailwright undrain`: take a machine back into the traffic."""

from __future__ import annotations

from mailwright.command.console import commands, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.command.leaving import Leaver, require_balanced, traffic_of

app = commands()


@app.command()
def undrain(inventory: Inventory, machine: Leaver) -> None:
    """Take a machine back into the traffic, whatever it was drained for.

    Each balancer sends it sessions once its health check has passed there; that is waited for. A balancer
    may hold virtual addresses again, and takes none from another one that is well.

        mailwright undrain inventory/prod.yaml out1

    Exit status: 0 every balancer sends it sessions, 1 one does not, or does not answer.
    """
    site = open_site(inventory)
    require_balanced(site.fleet, machine)
    traffic_of(site.fleet).join(machine)
    say(f"{machine}: in the traffic again")

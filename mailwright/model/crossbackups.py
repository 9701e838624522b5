"""Mistakes between backups, the machines that make them and the one that keeps them."""

from __future__ import annotations

from collections.abc import Iterator

from mailwright.model.backups import HostStore
from mailwright.model.document import Where
from mailwright.model.fleet import Fleet
from mailwright.model.mistakes import Found, suggestion

MAKES = "backup"
"""The role of a machine that backs itself up."""
KEEPS = "backup_store"
"""The role of the machine that takes backups, prunes and checks them."""
SPARE_MAY_HAVE = frozenset({"base", "firewall", "unbound", MAKES})
"""The roles of a machine that a drill may wipe: it has no work of its own."""


def backups(fleet: Fleet) -> Iterator[Found]:
    """What the section `backup` names and the fleet lacks, and machines whose backups nobody takes."""
    store, keeper = fleet.backup.store, fleet.backup.kept_by
    machines = {m.name: m for m in fleet.machines}
    where: Where = ("backup", "store", "machine") if isinstance(store, HostStore) else ("backup", "keeper")
    if isinstance(store, HostStore) and fleet.backup.keeper not in (None, store.machine):
        yield ("backup", "keeper"), f"{store.machine} takes the backups and keeps them, too: leave this out"
    if store and keeper is None:
        yield ("backup",), f"nobody prunes and checks them: name a machine with the role {KEEPS} in `keeper`"
    elif keeper is not None and keeper not in machines:
        yield where, f"the fleet has no machine {keeper}{suggestion(keeper, machines)}"
    elif keeper is not None and KEEPS not in machines[keeper].roles:
        yield where, f"{keeper} lacks the role {KEEPS}"
    for i, machine in enumerate(fleet.machines):
        at: Where = ("machines", i, "roles")
        if MAKES in machine.roles and store is None:
            yield (*at, MAKES), f"{machine.name} has nowhere to back up to: say `backup.store`"
        if KEEPS in machine.roles and keeper != machine.name:
            yield (*at, KEEPS), f"{machine.name} keeps nothing: `backup` names another machine, or none"
        if MAKES in machine.roles and keeper == machine.name and isinstance(store, HostStore):
            yield (*at, MAKES), f"{machine.name} would back up to itself, and both would be lost together"
    yield from _spare(fleet)


def _spare(fleet: Fleet) -> Iterator[Found]:
    spare = fleet.backup.spare
    machines = {m.name: m for m in fleet.machines}
    if spare is None:
        return
    where: Where = ("backup", "spare")
    if spare not in machines:
        yield where, f"the fleet has no machine {spare}{suggestion(spare, machines)}"
    elif more := sorted(set(machines[spare].roles) - SPARE_MAY_HAVE):
        yield where, f"{spare} has work of its own ({', '.join(more)}), and a drill wipes what a machine has"

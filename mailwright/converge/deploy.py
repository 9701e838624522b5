"""A whole run: what every machine needs once, then its roles, in order."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.context import ctx_host

from mailwright.converge import machine, recording, session
from mailwright.converge.inventory import FLEET_FILE, MACHINE, ROLES, InventoryError, site_of
from mailwright.converge.session import Session
from mailwright.model.errors import MailwrightError
from mailwright.model.role import Role
from mailwright.redact import Redactor


def deploy(roles: Sequence[Role]) -> None:
    """Bring the machine that pyinfra is working on to what its roles need.

    Called by deploy.py, once for each host. `roles` are all there are, in order. A run that is about some
    roles only (host data `mailwright_roles`) expects a machine that has been deployed before, and leaves
    whatever else is due on it to a whole run.

    Raises:
        InventoryError: the machine's desired state cannot be computed, for instance for want of a secret.
    """
    own = _begin(roles)
    if not machine.accept():
        return
    machine.recover(name="machine: clean up after an interrupted run")
    only = own.host.data.get(ROLES)
    if only is None:
        _beneath()
    # pyinfra tells operations apart by the lines that called them, and by this loop's position. It must
    # be the same loop on every host, or one role's operation would be merged with another's.
    for role in own.host.loop(roles):
        if role.name in own.plan.contexts and (only is None or role.name in only):
            role.apply(own.plan.contexts[role.name])
    if only is None:
        machine.late_units(name="machine: units that read what came later")
    for role in own.host.loop(roles):
        if role.name in own.plan.contexts and (only is None or role.name in only):
            role.finish(own.plan.contexts[role.name])
    recording.record(name=recording.NAME)


def _beneath() -> None:
    """What the needs of all roles add up to, before any of them has its turn."""
    machine.users(packages_are_there=False, name="machine: users")
    machine.packages(name="machine: packages")
    machine.users(packages_are_there=True, name="machine: groups that packages brought")
    machine.sysctls(name="machine: kernel settings")


def _begin(roles: Sequence[Role]) -> Session:
    host = ctx_host.get()
    try:
        site = site_of(host.data.get(FLEET_FILE), tuple(roles))
        plan = site.plan(site.fleet.machine(host.data.get(MACHINE)))
        own = session.begin(host, plan, Redactor.of(site.secrets, plan.merged))
    except MailwrightError as e:
        raise InventoryError(f"{host.name}: {e}") from None
    # The roles' shell tests belong into the first look at the host, so they are collected beforehand.
    own.rehearsing = True
    for role in plan.roles:
        role.apply(plan.contexts[role.name])
        role.finish(plan.contexts[role.name])
    own.tests.append(recording.test(own))
    own.rehearsing = False
    return own

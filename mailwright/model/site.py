"""A fleet with its roles and secrets: from here every desired state is computed, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from maildns.policy.spf.flatten import Flattened
from mailwright.model.errors import NeedsError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.keyring import Keyring, folded
from mailwright.model.needs import Needs, merge
from mailwright.model.role import Agreement, Check, Context, Role, Settings, Wanted
from mailwright.model.secrets import Secrets
from mailwright.model.visit import OutsideCheck

_SECOND_PASS = ("files", "directories", "absent")


@dataclass(frozen=True)
class MachinePlan:
    """What one machine must be: its roles in order, and the sum of their needs."""

    machine: Machine
    roles: tuple[Role, ...]
    contexts: dict[str, Context[Any]]
    by_role: dict[str, Needs]
    """Each role's own needs, files included."""
    merged: Needs

    def checks(self) -> tuple[tuple[str, Check], ...]:
        """All behaviour checks as (role name, check)."""
        return tuple((r.name, c) for r in self.roles for c in r.checks(self.contexts[r.name]))

    def outside(self) -> tuple[tuple[str, OutsideCheck], ...]:
        """What its ports must show to the controller, as (role name, check)."""
        return tuple((r.name, c) for r in self.roles for c in r.outside(self.contexts[r.name]))

    def probes(self) -> tuple[tuple[str, Check], ...]:
        """All checks that do something, as (role name, check)."""
        return tuple((r.name, c) for r in self.roles for c in r.probes(self.contexts[r.name]))


@dataclass(frozen=True)
class Site:
    """A fleet, the roles it may use (in order), its secrets and its DKIM keys."""

    fleet: Fleet
    """With the keys that sign today."""
    roles: Sequence[Role]
    secrets: Secrets
    keyring: Keyring = field(default_factory=Keyring)
    includes: Mapping[str, Flattened] = field(default_factory=dict)
    """What the includes of flattened SPF policies stand for, where they have been looked up."""

    def with_keyring(self, keyring: Keyring) -> Site:
        """The same site after a step of a rotation."""
        return replace(self, fleet=folded(self.fleet, keyring), keyring=keyring)

    def settings(self, machine: Machine, role: str) -> Settings:
        """A machine's settings of one of its roles, defaults included."""
        return self._settings[machine.name, role]

    @cached_property
    def _settings(self) -> dict[tuple[str, str], Settings]:
        table = {r.name: r for r in self.roles}
        return {
            (m.name, name): table[name].settings.model_validate(raw)
            for m in self.fleet.machines
            for name, raw in m.roles.items()
        }

    def plan(self, machine: Machine) -> MachinePlan:
        """Compute everything `machine` must be.

        Raises:
            NeedsError: its roles contradict each other.
            SecretError: a secret that a role renders is missing.
        """
        roles, first = self._gather(machine)
        gathered = merge(first.values())
        own = {
            r.name: first[r.name] + _only_files(r, r.files(self._context(machine, r.name, merged=gathered)))
            for r in roles
        }
        merged = merge(own.values())
        contexts = {r.name: self._context(machine, r.name, own=own[r.name], merged=merged) for r in roles}
        return MachinePlan(machine, roles, contexts, own, merged)

    def agreements(self) -> tuple[tuple[str, Agreement], ...]:
        """What machines must be together, as (role name, agreement)."""
        return tuple((r.name, a) for r in self.roles for a in r.agreements(self.fleet))

    def secrets_of(self, machine: Machine) -> Mapping[str, Wanted]:
        """Secrets that its roles read because of what others of them need, by name.

        Raises:
            NeedsError: its roles contradict each other.
        """
        roles, first = self._gather(machine)
        gathered = merge(first.values())
        found = [r.secrets(self._context(machine, r.name, merged=gathered)) for r in roles]
        return {name: wanted for each in found for name, wanted in each.items()}

    def _gather(self, machine: Machine) -> tuple[tuple[Role, ...], dict[str, Needs]]:
        """The machine's roles in order, and what each needs when it is asked alone."""
        roles = tuple(r for r in self.roles if r.name in machine.roles)
        return roles, {r.name: r.needs(self._context(machine, r.name)) for r in roles}

    def _context(self, machine: Machine, role: str, **needs: Needs) -> Context[Any]:
        settings = self._settings[machine.name, role]
        return Context(self.fleet, machine, settings, self.secrets, self.keyring, role, **needs)


def _only_files(role: Role, needs: Needs) -> Needs:
    """What a role says in its second pass; anything but files would come too late for the others."""
    wrong = [f.name for f in fields(needs) if getattr(needs, f.name) and f.name not in _SECOND_PASS]
    if wrong:
        raise NeedsError(f"role {role.name}: its files() says {', '.join(wrong)}, which belong into needs()")
    return needs

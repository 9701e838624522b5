"""A machine's plan out of a few lines, for the tests of roles."""

from __future__ import annotations

import pytest

from mailwright.model.errors import SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Needs
from mailwright.model.role import Role, Settings
from mailwright.model.site import Site


class FakeSecrets:
    """Secrets from a dictionary."""

    def __init__(self, values):
        self._values = values

    def get(self, name):
        if name not in self._values:
            raise SecretError(f"no secret {name}")
        return self._values[name]

    def names(self):
        return tuple(sorted(self._values))


@pytest.fixture
def plan_of():
    """Returns a function: roles and their settings to the plan of a fleet's first machine."""

    def plan(*roles, settings=None, needs=None, secrets=None, machine=None, machines=(), **fleet):
        other = Role("other", Settings, apply=lambda _: None, needs=lambda _: needs or Needs())
        first = {
            "name": "m1",
            "fqdn": "m1.brightpost.example",
            "debian": 13,
            "ipv4": "203.0.113.11",
            "ipv6": "2001:db8::11",
            "roles": {role.name: {} for role in roles} | {"other": {}} | (settings or {}),
            **(machine or {}),
        }
        whole = {"owner": {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}, **fleet}
        parsed = Fleet.model_validate(whole | {"machines": [first, *machines]})
        return Site(parsed, (*roles, other), FakeSecrets(secrets or {})).plan(parsed.machines[0])

    return plan


@pytest.fixture
def content_of():
    """Returns a function: the text of a file that a plan puts on the machine."""

    def content(plan, path):
        return next(f.content.decode() for f in plan.merged.files if f.path == path)

    return content

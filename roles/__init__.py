"""The roles, in the order in which a machine takes them. Adding one: its module, its templates, a line here."""

from __future__ import annotations

from mailwright.model.role import Role

ROLES: tuple[Role, ...] = ()

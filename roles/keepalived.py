"""Keepalived on a balancer."""

from __future__ import annotations

from mailwright.converge import operations as op
from mailwright.model.needs import Needs, Package
from mailwright.model.role import Context, Role, Settings


class KeepalivedSettings(Settings):
    """What differs from one balancer to another."""


def needs(_: Context[KeepalivedSettings]) -> Needs:
    """The daemon."""
    return Needs(packages=(Package("keepalived"),))


def apply(ctx: Context[KeepalivedSettings]) -> None:
    """Nothing beyond the files."""
    op.files(ctx)


ROLE = Role("keepalived", KeepalivedSettings, apply, needs=needs)

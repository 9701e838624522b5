"""Haproxy on a balancer."""

from __future__ import annotations

from mailwright.converge import operations as op
from mailwright.model.needs import Needs, Package
from mailwright.model.role import Context, Role, Settings


class HaproxySettings(Settings):
    """What differs from one balancer to another."""


def needs(_: Context[HaproxySettings]) -> Needs:
    """The daemon."""
    return Needs(packages=(Package("haproxy"),))


def apply(ctx: Context[HaproxySettings]) -> None:
    """Nothing beyond the files."""
    op.files(ctx)


ROLE = Role("haproxy", HaproxySettings, apply, needs=needs)

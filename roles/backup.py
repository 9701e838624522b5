"""Backups of a machine: everything its roles declare, encrypted, to a store that takes and never gives up."""

from __future__ import annotations

from mailwright.converge import operations as op
from mailwright.model.role import Context, Role, Settings


class BackupSettings(Settings):
    """Nothing yet."""


def apply(ctx: Context[BackupSettings]) -> None:
    """Put its files in place and have its units run."""
    op.files(ctx)
    op.units(ctx)


ROLE = Role("backup", BackupSettings, apply)

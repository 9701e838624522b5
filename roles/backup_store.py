"""The machine that keeps backups: it takes them from each machine alone, prunes and checks."""

from __future__ import annotations

from mailwright.converge import operations as op
from mailwright.model.role import Context, Role, Settings


class BackupStoreSettings(Settings):
    """Nothing yet."""


def apply(ctx: Context[BackupStoreSettings]) -> None:
    """Put its files in place and have its units run."""
    op.files(ctx)
    op.units(ctx)


ROLE = Role("backup_store", BackupStoreSettings, apply)

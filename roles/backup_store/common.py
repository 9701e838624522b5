"""Where things of the store lie, and what its parts have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from mailwright.model.backups import STORE_PORT
from mailwright.model.base import Duration, Slug
from mailwright.model.crossbackups import MAKES
from mailwright.model.needs import Needs, Port, User
from mailwright.model.role import Context, Settings
from mailwright.render import render, template_folders
from mailwright.repositories import account

PROGRAM = "/usr/local/sbin/mailwright-backup-keeper"
CONFIG = "/etc/mailwright/backup-keeper.json"
PRIVATE = "/etc/mailwright/backup-keeper"
"""What the keeper opens repositories with."""
STORE = "/etc/mailwright/backup-store"
"""How machines get in."""
SYSTEM = "/etc/systemd/system"
_UNITS = {"M": 2**20, "G": 2**30, "T": 2**40}

Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*[MGT]$")]
TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class BackupStoreSettings(Settings):
    """How much a machine may store, and when its backups are looked after."""

    quota: Size = "50G"
    """What one machine's backups may take up here. What is full refuses new ones and keeps the old."""
    quotas: dict[Slug, Size] = Field(default_factory=dict)
    """The same for single machines, by name."""
    reserve: Size = "1G"
    """Room on the store's disk that machines never get: without it a full disk could not be pruned."""
    fresh: Duration = "36h"
    """A newest backup that is older is a fault."""
    prune_at: TimeOfDay = "03:10"
    """When superseded snapshots are taken away, each day (the machine's zone)."""
    check_at: TimeOfDay = "05:10"
    """When repositories are checked, each day."""
    spread: Duration = "1h"
    """Both begin up to so much later."""
    check_parts: int = Field(default=7, ge=1, le=1000)
    """A check reads one part of so many of the data: 7 reads everything once a week."""


def makers(ctx: Context[BackupStoreSettings]) -> tuple[str, ...]:
    """The machines that make backups, by name."""
    return tuple(m.name for m in ctx.fleet.machines if MAKES in m.roles)


def reached_by_all(ctx: Context[BackupStoreSettings], shell: str = "/usr/sbin/nologin") -> Needs:
    """The port that machines add backups at, and the account that each machine's repository belongs to.

    A spare machine gets through to it, too: a drill restores there with the credentials of another one.
    """
    names = makers(ctx)
    spare = ctx.fleet.backup.spare
    readers = tuple(dict.fromkeys((*names, *([spare] if spare else ()))))
    return Needs(
        ports=(Port(STORE_PORT, "tcp", readers, "backups"),) if names else (),
        users=tuple(User(account(name), shell=shell) for name in names),
    )


def octets(size: str) -> int:
    """The octets of a `Size`: `2G` is 2147483648."""
    return int(size[:-1]) * _UNITS[size[-1]]


def quota(ctx: Context[BackupStoreSettings], name: str) -> int:
    """The octets that a machine may fill."""
    return octets(ctx.settings.quotas.get(name, ctx.settings.quota))


def repository_unit(name: str) -> str:
    """What the server of a machine's repository is called, without `.socket` and `.service`."""
    return f"mailwright-repository-{name}"


def templates() -> Path:
    """The folder of the role's templates."""
    return next(f for f in template_folders() if (f / "backup_store").is_dir()) / "backup_store"


def rendered(name: str, **arguments: object) -> bytes:
    """A template of the role."""
    return render(f"backup_store/{name}.j2", **arguments)

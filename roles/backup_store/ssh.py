"""The door of a store with Debian 12, which has no rest-server: an sshd that runs rclone for each machine."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mailwright.model.backups import STORE_PORT, secret
from mailwright.model.needs import Directory, File, Needs, Package, Unit
from mailwright.model.role import Check, Context
from mailwright.repositories import HOST_KEY, REPOSITORIES, account
from mailwright.sshkeys import public_key
from roles.backup_store.common import (
    STORE,
    SYSTEM,
    BackupStoreSettings,
    makers,
    quota,
    reached_by_all,
    rendered,
    templates,
)

DOOR = "/usr/local/sbin/mailwright-backup-door"
_DOORS = "/etc/mailwright/backup-doors.json"
_SSHD = f"{STORE}/sshd_config"
_KEY = f"{STORE}/host_key"
_UNIT = "mailwright-backup-sshd.service"
VALIDATE = f"/usr/sbin/sshd -t -f {{root}}{_SSHD}"


def needs(ctx: Context[BackupStoreSettings]) -> Needs:
    """Beside the operator's sshd one that knows nobody but machines. It runs the door by their shell."""
    return reached_by_all(ctx, shell="/bin/sh") + Needs(  # noqa: S604 - an account's shell
        packages=(Package("openssh-server"), Package("rclone")),
        units=(Unit(_UNIT, reads=(_SSHD, _KEY)),),
    )


def files(ctx: Context[BackupStoreSettings]) -> Needs:
    """The sshd, the door, and the key that each machine comes with.

    Raises:
        SecretError: a key is missing, or none.
    """
    names = makers(ctx)
    config = rendered(
        "sshd_config",
        port=STORE_PORT,
        ipv6=ctx.machine.ipv6 is not None,
        host_key=_KEY,
        accounts=" ".join(map(account, names)) or "nobody",
        keys=f"{STORE}/keys",
        door=DOOR,
    )
    doors = {account(n): {"folder": f"{REPOSITORIES}/{n}", "quota": quota(ctx, n)} for n in names}
    keys = {account(n): public_key(ctx.secrets.get(secret(n, "ssh"))) for n in names}
    return Needs(
        directories=(Directory(f"{STORE}/keys"),),
        files=(
            File(_SSHD, config),
            File(_KEY, ctx.secrets.get(HOST_KEY).strip().encode() + b"\n", mode=0o600, secret=True),
            File(f"{SYSTEM}/{_UNIT}", rendered(_UNIT, config=_SSHD, repositories=REPOSITORIES)),
            File(DOOR, (templates() / "mailwright-backup-door.py").read_bytes(), mode=0o755),
            File(_DOORS, (json.dumps(doors, indent=2) + "\n").encode()),
            *(File(f"{STORE}/keys/{n}", f"restrict {key}\n".encode()) for n, key in keys.items()),
        ),
    )


def checks(ctx: Context[BackupStoreSettings]) -> Iterable[Check]:
    """Whatever a machine asks this sshd for, it gets the door."""
    wanted = {f"forcecommand {DOOR}", "disableforwarding yes", "permittty no", "permittunnel no"}
    for name in makers(ctx):
        yield Check(
            f"{name} gets nothing but its repository over SSH",
            f"/usr/sbin/sshd -T -f {_SSHD} -C user={account(name)},host=localhost,addr=127.0.0.1",
            lambda r: (
                None
                if wanted <= set(r.stdout.splitlines())
                else r.stderr.strip()[:200] or "sshd would do more"
            ),
            "mailwright apply",
        )

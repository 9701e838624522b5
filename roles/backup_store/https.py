"""The door of a store with Debian 13: HTTPS to a rest-server for each machine.

One gate (nginx) speaks TLS; behind it each machine has a server of its own, by an account of its own, because
`--max-size` is of one server, and because what can be talked into mischief then has one machine's backups at
hand (docs/decisions/backup-store.md).
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable

from mailwright.model.backups import STORE_PORT, secret
from mailwright.model.needs import Absent, Certificate, Directory, File, Needs, Package, Unit
from mailwright.model.role import Check, Context
from mailwright.repositories import REPOSITORIES, account
from roles.backup_store.common import (
    STORE,
    SYSTEM,
    BackupStoreSettings,
    makers,
    quota,
    reached_by_all,
    rendered,
    repository_unit,
)

SOCKETS = "/run/mailwright-backup"
_GATE = f"{STORE}/gate.conf"
_GATE_UNIT = "mailwright-backup-gate.service"
VALIDATE = f"nginx -t -q -c {{root}}{_GATE}"


def needs(ctx: Context[BackupStoreSettings]) -> Needs:
    """The gate with its certificate, and a socket a machine, which starts the server behind it."""
    certificate = Certificate("backup", (ctx.machine.fqdn,))
    pair = certificate.pair("ecdsa")
    return reached_by_all(ctx) + Needs(
        packages=tuple(map(Package, ("restic-rest-server", "nginx", "curl"))),
        units=(
            # Debian's unit serves everybody from one folder by one account
            Unit("restic-rest-server.service", masked=True),
            *(
                Unit(f"{repository_unit(name)}.socket", reads=(*_unit_files(name), _passwords(name)))
                for name in makers(ctx)
            ),
            Unit(
                _GATE_UNIT, reads=(_GATE, pair.chain, pair.key), reload=True, check=f"nginx -t -q -c {_GATE}"
            ),
        ),
        certificates=(certificate,),
    )


def files(ctx: Context[BackupStoreSettings]) -> Needs:
    """The gate's configuration, and each server's unit and password.

    Raises:
        SecretError: a password is missing.
    """
    (certificate,) = (c for c in ctx.merged.certificates if c.name == "backup")
    gate = rendered(
        "gate.conf",
        port=STORE_PORT,
        ipv6=ctx.machine.ipv6 is not None,
        certificate=certificate.directory,
        sockets=SOCKETS,
    )
    service = rendered(_GATE_UNIT, config=_GATE, repositories=REPOSITORIES)
    servers = tuple(file for name in makers(ctx) for file in _server(ctx, name))
    return Needs(
        directories=(Directory(f"{STORE}/passwords"),),
        files=(File(_GATE, gate), File(f"{SYSTEM}/{_GATE_UNIT}", service), *servers),
        # Debian's welcome page on port 80: this machine has nginx for the gate
        absent=(Absent("/etc/nginx/sites-enabled/default"),),
    )


def _server(ctx: Context[BackupStoreSettings], name: str) -> Iterable[File]:
    arguments = {
        "machine": name,
        "unit": repository_unit(name),
        "account": account(name),
        "folder": f"{REPOSITORIES}/{name}",
        "quota": str(quota(ctx, name)),
        "passwords": _passwords(name),
        "sockets": SOCKETS,
        "repositories": REPOSITORIES,
    }
    for path in _unit_files(name):
        yield File(path, rendered(f"repository.{path.rpartition('.')[2]}", **arguments))
    # The password has 192 random bits: its hash need not be slow, and without a salt it is the same each time
    password = ctx.secrets.get(secret(name, "rest")).strip()
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()  # noqa: S324
    line = f"{name}:{{SHA}}{digest}\n".encode()
    yield File(_passwords(name), line, group=account(name), mode=0o640, secret=True)


def checks(ctx: Context[BackupStoreSettings]) -> Iterable[Check]:
    """The gate refuses to delete; the server behind it asks for a password, and runs append-only."""
    host = f"{ctx.machine.fqdn.bare}:{STORE_PORT}"
    curl = "curl -sS --insecure --noproxy '*' --max-time 20 -o /dev/null -w '%{http_code} '"
    ask = f"{curl} --resolve {host}:127.0.0.1"
    expected = "403 401 --append-only"
    for name in makers(ctx):
        blob = shlex.quote(f"https://{host}/{name}/data/{64 * '0'}")
        process = f"/proc/$(systemctl show -P MainPID {repository_unit(name)}.service)/cmdline"
        yield Check(
            f"{name} can delete no backup",
            f"{ask} -X DELETE {blob}; {ask} {blob}; tr '\\0' '\\n' <{process} | grep -xe --append-only",
            lambda r: (
                None
                if r.stdout.split() == expected.split()
                else f"{' '.join((r.stdout + r.stderr).split())[:200]!r}, not {expected}"
            ),
            "mailwright apply",
        )


def _unit_files(name: str) -> tuple[str, ...]:
    return tuple(f"{SYSTEM}/{repository_unit(name)}.{kind}" for kind in ("socket", "service"))


def _passwords(name: str) -> str:
    return f"{STORE}/passwords/{name}"

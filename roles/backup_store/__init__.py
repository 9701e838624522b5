"""The machine that keeps backups: it takes them from each machine alone, prunes and checks.

With a store elsewhere (`s3`, `sftp`) it takes nothing, and prunes and checks there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial

from mailwright.converge import operations as op
from mailwright.model.backups import HostStore, Keep, secret
from mailwright.model.base import seconds
from mailwright.model.errors import NeedsError
from mailwright.model.needs import Directory, File, Needs, Package, Reach, Unit, User
from mailwright.model.role import Check, Context, Result, Role, Wanted
from mailwright.repositories import (
    KEEPER,
    REPOSITORIES,
    Repository,
    account,
    for_keeper,
    keeper_secrets,
    machine_secrets,
    over_ssh,
    packages,
)
from roles.backup_store import https, ssh
from roles.backup_store.common import (
    CONFIG,
    PRIVATE,
    PROGRAM,
    STORE,
    SYSTEM,
    BackupStoreSettings,
    makers,
    octets,
    quota,
    rendered,
    repository_unit,
    templates,
)

HOME = "/var/lib/mailwright/backup-keeper"
METRICS = "/var/lib/prometheus/node-exporter/mailwright_backup_keeper.prom"
_LIBRARY = "/usr/local/lib/mailwright"
_ROUNDS = {
    "prune": (
        "Take superseded backups away",
        "https://restic.readthedocs.io/en/stable/060_forget.html",
    ),
    "check": (
        "Find out whether backups can be read",
        "https://restic.readthedocs.io/en/stable/045_working_with_repos.html#checking-integrity-and-consistency",
    ),
}
_TIMERS = ("look", *_ROUNDS)
_FIRST_TO_SALVAGE = 13
"""The first Debian whose restic takes damaged packs apart."""


def needs(ctx: Context[BackupStoreSettings]) -> Needs:
    """The keeper, and where the store is this machine, an account and a door for each machine.

    Raises:
        NeedsError: a quota is for a machine that makes no backups.
    """
    for name in set(ctx.settings.quotas) - set(makers(ctx)):
        raise NeedsError(f"{ctx.machine.name}: `quotas` names {name}, which makes no backups")
    own = Needs(
        packages=tuple(map(Package, ("python3", *packages(ctx.fleet)))),
        users=(User(KEEPER),),
        units=tuple(
            Unit(f"{timer}.timer", reads=(f"{SYSTEM}/{timer}.timer",)) for timer in map(_timer, _TIMERS)
        ),
    )
    if not isinstance(ctx.fleet.backup.store, HostStore):
        return own + Needs(reaches=(Reach(ctx.fleet.backup.port, "tcp", "the backup store"),))
    return own + (ssh.needs(ctx) if over_ssh(ctx.fleet) else https.needs(ctx))


def files(ctx: Context[BackupStoreSettings]) -> Needs:
    """The keeper with what it must know, and the doors.

    Raises:
        SecretError: a secret is missing or unfit.
    """
    reached = {name: for_keeper(ctx.fleet, name, ctx.secrets, PRIVATE) for name in makers(ctx)}
    known = Needs(
        directories=(
            Directory("/etc/mailwright"),
            Directory("/var/lib/mailwright"),
            Directory(HOME, group=KEEPER, mode=0o750),
            Directory(PRIVATE, group=KEEPER, mode=0o750),
            Directory(f"{PRIVATE}/machines", group=KEEPER, mode=0o750),
        ),
        files=tuple({f.path: f for one in reached.values() for f in one.files}.values())
        + tuple(_own_password(ctx, name) for name in reached)
        + (File(CONFIG, _config(ctx, reached)),),
    )
    if not isinstance(ctx.fleet.backup.store, HostStore):
        return _program(ctx) + known
    folders = Needs(
        directories=(
            Directory(REPOSITORIES, mode=0o711),
            Directory(STORE),
            *(Directory(f"{REPOSITORIES}/{n}", account(n), account(n), 0o700) for n in makers(ctx)),
        )
    )
    return _program(ctx) + known + folders + (ssh.files(ctx) if over_ssh(ctx.fleet) else https.files(ctx))


def _program(ctx: Context[BackupStoreSettings]) -> Needs:
    library = templates()
    settings = ctx.settings
    units = [
        File(
            f"{SYSTEM}/{_timer('look')}.{kind}",
            rendered(f"mailwright-backup-look.{kind}", program=PROGRAM, config=CONFIG),
        )
        for kind in ("service", "timer")
    ]
    for name, at in (("prune", settings.prune_at), ("check", settings.check_at)):
        what, manual = _ROUNDS[name]
        arguments = {
            "what": what,
            "manual": manual,
            "command": name,
            "at": at,
            "program": PROGRAM,
            "config": CONFIG,
        }
        arguments["spread"] = str(seconds(settings.spread))
        units += [
            File(f"{SYSTEM}/{_timer(name)}.{kind}", rendered(f"mailwright-backup-round.{kind}", **arguments))
            for kind in ("service", "timer")
        ]
    package = "mailwright_backup_keeper"
    return Needs(
        directories=(Directory(_LIBRARY), Directory(f"{_LIBRARY}/{package}")),
        files=(
            File(PROGRAM, (library / "mailwright-backup-keeper.py").read_bytes(), mode=0o755),
            *(
                File(f"{_LIBRARY}/{package}/{part.name}", part.read_bytes())
                for part in sorted((library / package).glob("*.py"))
            ),
            *units,
        ),
    )


def _config(ctx: Context[BackupStoreSettings], reached: Mapping[str, Repository]) -> bytes:
    """What templates/backup_store/mailwright_backup_keeper/wanted.py reads."""
    backup, settings = ctx.fleet.backup, ctx.settings
    here = isinstance(backup.store, HostStore)
    served = here and not over_ssh(ctx.fleet)
    wanted = {
        "home": HOME,
        "run": "/run/mailwright-backup-keeper",
        "metrics": METRICS,
        "password": f"{PRIVATE}/password",
        "group": KEEPER,
        "fresh": seconds(settings.fresh),
        "parts": settings.check_parts,
        "salvage": ctx.machine.debian >= _FIRST_TO_SALVAGE,
        "units": repository_unit(""),
        "rules": {"long": _rules(backup.long), "short": _rules(backup.short)},
        "reserve": {"file": f"{REPOSITORIES}/.reserve", "size": octets(settings.reserve)} if here else None,
        "machines": [
            {
                "name": name,
                "account": one.account,
                "options": one.options,
                "environment": dict(one.environment),
                "password": f"{PRIVATE}/machines/{name}",
                "folder": f"{REPOSITORIES}/{name}" if here else None,
                "quota": quota(ctx, name) if here else None,
                "unit": repository_unit(name) if served else None,
            }
            for name, one in reached.items()
        ],
    }
    return (json.dumps(wanted, indent=2) + "\n").encode()


def _rules(keep: Keep) -> dict[str, int]:
    within = seconds(keep.within) if keep.within else 0
    return {"within": within, "daily": keep.daily, "weekly": keep.weekly, "monthly": keep.monthly}


def _own_password(ctx: Context[BackupStoreSettings], name: str) -> File:
    """The password of a machine's own key, which the keeper lets in."""
    value = ctx.secrets.get(secret(name, "password")).strip().encode() + b"\n"
    return File(f"{PRIVATE}/machines/{name}", value, group=KEEPER, mode=0o640, secret=True)


def secrets(ctx: Context[BackupStoreSettings]) -> Mapping[str, Wanted]:
    """The keeper's own, and of each machine what lets it in."""
    here = isinstance(ctx.fleet.backup.store, HostStore)
    read = ("password", "rest", "ssh") if here else ("password",)
    found = dict(keeper_secrets(ctx.fleet)) if makers(ctx) else {}
    for name in makers(ctx):
        wanted = machine_secrets(ctx.fleet, name)
        found |= {n: wanted[n] for kind in read if (n := secret(name, kind)) in wanted}
    return found


def apply(ctx: Context[BackupStoreSettings]) -> None:
    """Exchange the doors' configuration once their programs have read it without complaint."""
    here = isinstance(ctx.fleet.backup.store, HostStore)
    op.files(ctx, validate=(ssh if over_ssh(ctx.fleet) else https).VALIDATE if here else None)
    op.units(ctx)


def finish(ctx: Context[BackupStoreSettings]) -> None:
    """Repositories are there, and open with the keys of their machine and the keeper only."""
    if makers(ctx):
        op.shell(
            ctx, "make repositories and put their keys right", f"{PROGRAM} keys", f"{PROGRAM} keys --settled"
        )


def checks(ctx: Context[BackupStoreSettings]) -> Iterable[Check]:
    """Backups arrive, can be read and have room, and nobody can take them away."""
    if not makers(ctx):
        return
    for name, kind, remedy in (
        ("every machine's newest backup is fresh", "fresh", "on the machine: mailwright-backup run"),
        ("backups were pruned and can be read", "read", f"{PROGRAM} check MACHINE, then do what it says"),
        ("backups have room", "room", f"a larger disk or quota, or shorter retention; {PROGRAM} prune"),
    ):
        yield Check(name, f"{PROGRAM} status", partial(_judge, kind), remedy)
    if isinstance(ctx.fleet.backup.store, HostStore):
        yield from (ssh if over_ssh(ctx.fleet) else https).checks(ctx)


def _judge(kind: str, result: Result) -> str | None:
    try:
        return "; ".join(json.loads(result.stdout)["faults"][kind]) or None
    except (ValueError, KeyError):
        return result.stderr.strip()[-300:] or f"{PROGRAM} says nothing"


def _timer(name: str) -> str:
    return f"mailwright-backup-keeper-{name}"


ROLE = Role(
    "backup_store",
    BackupStoreSettings,
    apply,
    needs=needs,
    files=files,
    secrets=secrets,
    checks=checks,
    finish=finish,
    after=("base", "certificates"),
)

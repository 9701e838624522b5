"""Backups of a machine: everything its roles declare, encrypted, to a store that takes and never gives up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mailwright import repositories
from mailwright.converge import operations as op
from mailwright.model.base import Duration, Model, seconds
from mailwright.model.errors import NeedsError, UnknownError
from mailwright.model.needs import (
    Absent,
    BackupPath,
    Directory,
    File,
    Needs,
    Package,
    Reach,
    Unit,
)
from mailwright.model.role import Check, Context, Result, Role, Settings, Wanted
from mailwright.render import render, template_folders
from roles import fence

PROGRAM = "/usr/local/sbin/mailwright-backup"
CONFIG = "/etc/mailwright/backup.json"
PRIVATE = "/etc/mailwright/backup"
"""What opens the repository; root's alone."""
HOME = "/var/lib/mailwright/backup"
SINCE = f"{HOME}/since"
"""Written once: since when the machine is to be backed up."""
METRICS = "/var/lib/prometheus/node-exporter/mailwright_backup.prom"
UNIT = "mailwright-backup"
_LIBRARY = "/usr/local/lib/mailwright"
_JOURNAL = "/var/log/journal"
_JOURNAL_COPY = f"{_JOURNAL}/.backup"
_LOGS = BackupPath(
    _JOURNAL,
    "logs",
    "short",
    # Links, because journald deletes old files; a line that is being written is lost (journalctl --verify).
    dump=f"journalctl --sync; cp -al {_JOURNAL}/[!.]* {_JOURNAL_COPY}/",
    # Never over a file that journald writes to.
    restore=f"cp -an {_JOURNAL_COPY}/* {_JOURNAL}/",
    at=_JOURNAL_COPY,
)
_CREDENTIALS = ("repository", "password", "ssh", "known_hosts", "s3", "ca.pem")
"""What any kind of store may need: files of a former one go."""


class ExtraPath(Model):
    """Something to back up that no role knows of."""

    path: str
    """An absolute path."""
    reason: Annotated[str, Field(min_length=1)]
    """What it is, for who reads the list of backups."""
    retention: Literal["long", "short"] = "long"
    """How long its snapshots stay: the fleet's `backup.long` or `backup.short`."""
    dump: str = ""
    """Shell (root, `set -eu`) that leaves a consistent copy in the empty directory `at`, of what must not be
    copied while it is in use. It is backed up instead of `path`, and laid out like it where possible."""
    restore: str = ""
    """Shell that puts what was brought back into `at` to use. Default: each file at its place in `path`."""
    at: str = ""
    """Where the dump goes; on the same file system it can be made of hard links."""

    @model_validator(mode="after")
    def _possible(self) -> ExtraPath:
        try:
            self.need  # noqa: B018 - refuses what is none
        except NeedsError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def need(self) -> BackupPath:
        """As a role would say it."""
        return BackupPath(self.path, self.reason, self.retention, self.dump, self.restore, self.at)


class BackupSettings(Settings):
    """When a machine backs itself up, and what it costs."""

    schedule: Annotated[str, Field(pattern=r"^[A-Za-z0-9*:.,/~ -]+$")] = "hourly"
    """When, as systemd.time(7) writes calendar events: `hourly`, `*-*-* 03:00`, `*:0/15`."""
    jitter: Duration = "20m"
    """At random so much later, so that a fleet does not come to its store all at once."""
    stale_after: Duration = "12h"
    """How old the last good backup may be before `mailwright verify` is red."""
    limit_upload: int | None = Field(default=None, ge=16)
    """KiB a second that a backup may send. Default: as many as the line takes."""
    patience: Duration = "15m"
    """How long a backup may make no progress before it is given up: a cut network is noticed by that."""
    longest: Duration = "12h"
    """How long one may take at all."""
    logs: bool = False
    """The journal, too, as `short`: it holds addresses of people, and is as large as `base` lets it be."""
    paths: tuple[ExtraPath, ...] = ()
    """What to back up besides what the machine's roles declare."""
    on_failure: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@-]+\.(service|target)$")], ...] = ()
    """Units of your own that systemd starts when a backup has failed: they write a mail, or call somebody."""


def needs(ctx: Context[BackupSettings]) -> Needs:
    """Debian's restic, the timer, and what the operator adds to the list of paths."""
    packages = dict.fromkeys((*repositories.packages(ctx.fleet), "python3"))
    # What is being put together is no state to keep: the newest snapshot would be of half a machine.
    runs = not ctx.machine.closed
    return fence.needs() + Needs(
        packages=tuple(map(Package, packages)),
        units=(Unit(f"{UNIT}.timer", enabled=runs, running=runs),),
        reaches=(Reach(ctx.fleet.backup.port, "tcp", "the backup store"),),
        backups=(*(path.need for path in ctx.settings.paths), *((_LOGS,) if ctx.settings.logs else ())),
    )


def secrets(ctx: Context[BackupSettings]) -> Mapping[str, Wanted]:
    """The machine's key to its repository, and what the store knows it by."""
    return repositories.machine_secrets(ctx.fleet, ctx.machine.name)


def files(ctx: Context[BackupSettings]) -> Needs:
    """The program, what it backs up, and what opens the repository.

    Raises:
        SecretError: a secret is missing or unfit.
        MailwrightError: `backup.store.ca` is no PEM file.
    """
    repository = repositories.for_machine(ctx.fleet, ctx.machine.name, ctx.secrets, PRIVATE)
    library = next(f for f in template_folders() if (f / "backup").is_dir()) / "backup"
    given = {file.path for file in repository.files}
    config = File(CONFIG, _config(ctx, repository), mode=0o600)
    units = {
        name: render(f"backup/{name}.j2", settings=ctx.settings, program=PROGRAM, unit=UNIT, home=HOME)
        for name in (f"{UNIT}.service", f"{UNIT}.timer", f"{UNIT}-failed.service")
    }
    return fence.files(ctx) + Needs(
        directories=(
            Directory("/etc/mailwright"),
            Directory(PRIVATE, mode=0o700),
            Directory("/var/lib/mailwright"),
            Directory(HOME, mode=0o700),
            Directory(_LIBRARY),
            Directory(f"{_LIBRARY}/mailwright_backup"),
        ),
        files=(
            config,
            *repository.files,
            File(SINCE, b"", mode=0o600),
            File(PROGRAM, (library / "mailwright-backup.py").read_bytes(), mode=0o755),
            *(
                File(f"{_LIBRARY}/mailwright_backup/{part.name}", part.read_bytes())
                for part in sorted((library / "mailwright_backup").glob("*.py"))
            ),
            *(File(f"/etc/systemd/system/{name}", text) for name, text in units.items()),
        ),
        absent=tuple(Absent(p) for p in (f"{PRIVATE}/{n}" for n in _CREDENTIALS) if p not in given),
    )


def _config(ctx: Context[BackupSettings], repository: repositories.Repository) -> bytes:
    """What templates/backup/mailwright_backup/wanted.py reads."""
    wanted = {
        "machine": ctx.machine.name,
        "sources": [
            {
                "path": path.path,
                "retention": path.retention,
                "dump": path.dump,
                "restore": path.restore,
                "at": path.at,
            }
            for path in ctx.merged.backups
        ],
        "options": repository.options,
        "environment": dict(repository.environment),
        "limit_upload": ctx.settings.limit_upload,
        "patience": seconds(ctx.settings.patience),
        "home": HOME,
        "cache": f"/var/cache/{UNIT}",
        "metrics": METRICS,
    }
    return (json.dumps(wanted, indent=1) + "\n").encode()


def apply(ctx: Context[BackupSettings]) -> None:
    """Put its files in place and have its units run."""
    op.files(ctx)
    fence.apply(ctx)
    op.units(ctx)


def checks(ctx: Context[BackupSettings]) -> Iterable[Check]:
    """The last backups went well and are young, and the store takes more of them."""
    yield from fence.checks(ctx)
    if not ctx.machine.closed:
        yield Check(
            "the last backups went well and are fresh",
            f"date +%s && stat -c %Y {SINCE} && {PROGRAM} status",
            lambda result: _fresh(result, seconds(ctx.settings.stale_after)),
            f"{PROGRAM} run on {ctx.machine.name} says why; so does journalctl -u {UNIT}",
        )
    yield Check(
        "the backup store answers, and takes this machine's key",
        f"{PROGRAM} fence --within 25",
        _answers,
        f"mailwright verify --limit {ctx.fleet.backup.kept_by}; then mailwright apply to it",
    )


def _answers(result: Result) -> str | None:
    """A store that cannot be reached has refused nobody."""
    said = result.stderr.strip()[:300]
    if result.status:
        return said or "no answer"
    if said:
        raise UnknownError(said)
    return None


def _fresh(result: Result, stale_after: int) -> str | None:
    """The times are the machine's own, so that its clock does not matter."""
    if result.status:
        return result.stderr.strip()[:300]
    now, since, status = result.stdout.split("\n", 2)
    classes = json.loads(status)
    held = classes.pop("held")
    found = [f"backups are on hold: {held} ({PROGRAM} release ends that)"] if held is not None else []
    for retention, run in classes.items():
        good = run["succeeded"]
        age = int(now) - (datetime.fromisoformat(good).timestamp() if good else int(since))
        if run["error"] and run["began"]:
            found.append(f"{retention}: {run['error']}")
        elif age > stale_after:
            found.append(f"{retention}: {f'the last good one is of {good}' if good else 'no backup yet'}")
    return "; ".join(found) or None


ROLE = Role(
    "backup",
    BackupSettings,
    apply,
    needs=needs,
    files=files,
    secrets=secrets,
    checks=checks,
)

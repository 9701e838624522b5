"""Pins who gets to a store, by which door, and what the keeper is told."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from mailwright.model.errors import FleetError, NeedsError
from mailwright.model.fleet import Fleet
from mailwright.model.role import Role, Settings
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.repositories import KEEPER, account
from roles import backup_store

OTHER = Role("backup", Settings, lambda _: None)


@pytest.fixture
def plan():
    """Returns a function: what is different about the store to the plan of its machine."""

    def of(debian=13, store=None, machines=("out1", "out2"), secrets=None, **settings):
        backup = {"store": store or {"type": "host", "machine": "vault1"}}
        if store:
            backup["keeper"] = "vault1"
        keeper = {"name": "vault1", "fqdn": "vault1.brightpost.example", "debian": debian}
        keeper |= {"ipv4": "203.0.113.61", "roles": {"backup_store": settings}}
        others = [
            {"name": n, "fqdn": f"{n}.brightpost.example", "ipv4": f"203.0.113.{i}", "roles": {"backup": {}}}
            for i, n in enumerate(machines, start=11)
        ]
        owner = {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}
        fleet = Fleet.model_validate({"owner": owner, "backup": backup, "machines": [keeper, *others]})
        roles = (OTHER, backup_store.ROLE)
        wanted = Site(fleet, roles, GivenSecrets({})).secrets_of(fleet.machines[0])
        values = {n: w.make() if w.make else f"given-{n}" for n, w in wanted.items()} | (secrets or {})
        return Site(fleet, roles, GivenSecrets(values)).plan(fleet.machines[0])

    return of


def file(plan, path):
    return next(f for f in plan.merged.files if f.path == path)


def test_machines_that_make_backups_reach_the_store_and_nobody_else(plan):
    for debian in (12, 13):
        (port,) = plan(debian).merged.ports
        assert (port.number, port.audience) == (8000, ("out1", "out2"))


def test_a_store_that_nobody_uses_opens_nothing(plan):
    assert not plan(machines=()).merged.ports


@pytest.mark.parametrize("debian", [12, 13])
def test_each_machine_has_an_account_and_a_folder_that_is_nobody_elses(debian, plan):
    merged = plan(debian).merged
    assert {account("out1"), account("out2"), KEEPER} <= {u.name for u in merged.users}
    folder = next(d for d in merged.directories if d.path == "/srv/backups/out1")
    assert (folder.owner, folder.group, folder.mode) == ("backup-out1", "backup-out1", 0o700)


def test_each_server_runs_append_only_by_its_own_account_with_its_quota(plan):
    found = plan(quota="10G", quotas={"out2": "3T"})
    for name, size in (("out1", 10 * 2**30), ("out2", 3 * 2**40)):
        unit = file(found, f"/etc/systemd/system/mailwright-repository-{name}.service").content.decode()
        (start,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
        assert "--append-only" in start
        assert f"--max-size {size}" in start
        assert f"--path /srv/backups/{name} " in start
        assert f"User=backup-{name}" in unit.splitlines()


def test_a_server_knows_one_password_by_its_hash(plan):
    found = plan(secrets={"backup/out1/rest": "secret"})
    lines = file(found, "/etc/mailwright/backup-store/passwords/out1").content.decode().splitlines()
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()  # noqa: S324
    assert lines == [f"out1:{{SHA}}{digest}"]


def test_a_new_password_or_quota_restarts_the_server_of_its_machine(plan):
    units = {u.name: u.reads for u in plan().merged.units}
    assert set(units["mailwright-repository-out1.socket"]) == {
        "/etc/mailwright/backup-store/passwords/out1",
        "/etc/systemd/system/mailwright-repository-out1.service",
        "/etc/systemd/system/mailwright-repository-out1.socket",
    }


def test_a_store_with_debian_12_runs_the_door_whatever_is_asked(plan):
    found = plan(12)
    config = file(found, "/etc/mailwright/backup-store/sshd_config").content.decode()
    assert "ForceCommand /usr/local/sbin/mailwright-backup-door" in config
    assert "AllowUsers backup-out1 backup-out2" in config
    assert "DisableForwarding yes" in config
    key = file(found, "/etc/mailwright/backup-store/keys/backup-out1").content.decode()
    assert key.startswith("restrict ssh-ed25519 ")
    doors = json.loads(file(found, "/etc/mailwright/backup-doors.json").content)
    assert doors["backup-out1"] == {"folder": "/srv/backups/out1", "quota": 50 * 2**30}


def test_the_keeper_of_a_store_elsewhere_takes_nothing(plan):
    found = plan(store={"type": "s3", "bucket": "backups"})
    assert not found.merged.ports
    config = json.loads(file(found, "/etc/mailwright/backup-keeper.json").content)
    assert [one["folder"] for one in config["machines"]] == [None, None]
    assert config["reserve"] is None
    paths = {f.path for f in found.merged.files}
    assert not any("backup-store" in path for path in paths)


@pytest.mark.parametrize("debian", [12, 13])
def test_no_secret_is_readable_by_everybody(debian, plan):
    drawn = [f"drawn-{n}-drawn" for n in ("keeper", "out1", "out2")]
    names = ("backup-keeper/password", "backup/out1/password", "backup/out2/password")
    found = plan(debian, secrets=dict(zip(names, drawn, strict=True)))
    for one in found.merged.files:
        if any(secret.encode() in one.content for secret in drawn):
            assert one.secret
            assert not one.mode & 0o007


def test_a_quota_for_a_machine_without_backups_is_one_line(plan):
    with pytest.raises((NeedsError, FleetError), match="`quotas` names nobody, which makes no backups"):
        plan(quotas={"nobody": "1G"})

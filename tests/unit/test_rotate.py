"""`mailwright secrets rotate`: what is drawn anew, what is not, in what order, and who hears of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailwright.command import apply as apply_module
from mailwright.command.main import run
from mailwright.model.secrets_file import Vault

REPOSITORY = Path(__file__).parents[2]
FLEET = """\
owner: { name: Example, postmaster: postmaster@news.example.com }
networks: { admin: [192.0.2.200/32] }
providers:
  p: { type: rfc2136, server: 192.0.2.53, key_name: k, key: tsig/primary }
domains:
  - name: news.example.com
    provider: p
    dkim: [{ selector: e1, algorithm: ed25519 }, { selector: r1, algorithm: rsa }]
senders: [{ login: shop, addresses: ["@news.example.com"] }]
acme: { directory: "https://ca.example/dir" }
backup: { store: { type: host, machine: vault } }
machines:
  - name: out1
    fqdn: out1.news.example.com
    ipv4: 192.0.2.1
    roles: &out { base: {}, certificates: { mode: acme }, dovecot: {}, opendkim: {}, postfix: {}, backup: {} }
  - { name: out2, fqdn: out2.news.example.com, ipv4: 192.0.2.2, roles: *out }
  - name: vault
    fqdn: vault.news.example.com
    ipv4: 192.0.2.9
    roles: { base: {}, certificates: { mode: provided }, backup_store: {} }
"""
STORE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRmqOt72lt+MfBYjFKcd2KYvAuokRDHmv0icD0s272h"


class Bench:
    """A fleet with secrets; what would be deployed is written down instead."""

    def __init__(self, folder, patch, capsys):
        self.capsys = capsys
        self.fleet = folder / "prod.yaml"
        self.fleet.write_text(FLEET)
        self.vault = Vault(folder / "prod.secrets.age", folder / "config/mailwright/identity", {})
        self.deployed = []
        self.status = 0
        patch.setattr(apply_module, "apply", self.apply)
        self.run("init")

    def apply(self, _, *, limit, **__):
        self.deployed.append((limit, self.secrets))
        return self.status

    @property
    def secrets(self):
        return self.vault.read().secrets

    def run(self, command, *words):
        status = run(["secrets", command, str(self.fleet), *words])
        output = self.capsys.readouterr()
        return status, output.out, output.err

    def rotate(self, *words):
        return self.run("rotate", "--yes", *words)


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Bench(tmp_path, monkeypatch, capsys)


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_a_password_is_drawn_anew_and_the_machines_that_have_it_are_named(bench):
    before = bench.secrets
    status, out, _ = bench.rotate("submission/shop")
    assert status == 0
    assert changed(before, bench.secrets) == {"submission/shop"}
    assert "apply" in out
    assert "--limit out1 --limit out2" in out
    assert "--limit vault" not in out
    assert "TELL   shop: its old password is refused" in out
    assert bench.secrets["submission/shop"] not in out
    assert bench.deployed == []


def test_with_apply_the_new_value_is_in_the_file_before_a_machine_is_deployed(bench):
    before = bench.secrets
    assert bench.rotate("submission/shop", "--apply")[0] == 0
    ((machines, at_that_time),) = bench.deployed
    assert machines == ["out1", "out2"]
    assert at_that_time["submission/shop"] != before["submission/shop"]


def test_the_keeper_of_backups_shuts_old_keys_out_once_no_machine_has_them(bench):
    """Whose key was good and is refused holds itself for replaced, and stops its Postfix."""
    before = bench.secrets
    assert bench.rotate("--all-of", "backup", "--apply")[0] == 0
    assert [machines for machines, _ in bench.deployed] == [["out1", "out2"], ["vault"]]
    assert {"backup/out1/password", "backup/out2/rest"} <= changed(before, bench.secrets)
    assert "backup-keeper/password" not in changed(before, bench.secrets)


def test_the_two_keys_of_a_repository_are_never_exchanged_at_once(bench):
    before = bench.secrets
    kinds = ["--all-of", "backup", "--all-of", "backup-keeper"]
    _, _, err = bench.rotate(*kinds)
    assert "backup-keeper/password" not in changed(before, bench.secrets)
    assert "backup-keeper/password: not yet" in err
    between = bench.secrets
    assert bench.rotate(*kinds, "--apply")[0] == 0
    last = bench.deployed[-1]
    assert last[0] == ["vault"]
    assert bench.deployed[0][1]["backup-keeper/password"] == between["backup-keeper/password"]
    assert last[1]["backup-keeper/password"] != between["backup-keeper/password"]


def test_a_machine_that_fails_ends_it_before_the_next_stage(bench):
    before = bench.secrets
    bench.status = 1
    status, _, err = bench.rotate("--all-of", "backup", "--all-of", "backup-keeper", "--apply")
    assert status == 1
    assert "mailwright apply" in err
    assert "backup-keeper/password" not in changed(before, bench.secrets)
    assert [machines for machines, _ in bench.deployed] == [["out1", "out2"]]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("dkim/news.example.com/e1", "mailwright dkim rotate"),
        ("certificate/backup/privkey", "mailwright certificates roll"),
        ("tsig/primary", "mailwright secrets set"),
    ],
)
def test_what_cannot_be_drawn_here_is_named_with_the_command_that_exchanges_it(bench, name, command):
    before = bench.secrets
    status, _, err = bench.rotate(name)
    assert status == 1
    assert command in err
    assert bench.secrets == before


def test_a_key_that_somebody_elses_server_lets_in_is_exchanged_there(bench):
    store = f"{{ type: sftp, host: files.example.net, host_keys: [{STORE_KEY}] }}, keeper: vault"
    bench.fleet.write_text(FLEET.replace("{ type: host, machine: vault }", store))
    bench.run("init")
    before = bench.secrets
    status, _, err = bench.rotate("--all-of", "backup", "--all-of", "backup-keeper", "--apply")
    assert status == 0
    drawn = {"backup/out1/password", "backup/out2/password", "backup-keeper/password"}
    assert changed(before, bench.secrets) == drawn
    for name in ("backup/out1/ssh", "backup/out2/ssh", "backup-keeper/ssh"):
        assert f"mailwright secrets set {bench.fleet} {name}" in " ".join(err.split())


def test_of_a_kind_all_that_can_be_drawn_is(bench):
    before = bench.secrets
    status, out, _ = bench.rotate("--all-of", "acme")
    assert status == 0
    assert changed(before, bench.secrets) == {"acme/out1/tsig", "acme/out2/tsig"}
    assert "mailwright certificates acl" in out, "the name server must have the new key"


def test_a_name_that_means_nothing_is_a_mistake(bench):
    assert "the fleet names no such secret" in bench.rotate("submission/nobody")[2]
    assert "there are acme, backup," in bench.rotate("--all-of", "passwords")[2]


def test_what_the_environment_gives_is_exchanged_there(bench, monkeypatch):
    monkeypatch.setenv("MAILWRIGHT_SECRET_SUBMISSION_SHOP", "from somewhere else")
    status, _, err = bench.rotate("submission/shop")
    assert status == 1
    assert "MAILWRIGHT_SECRET_SUBMISSION_SHOP" in err

"""Who can open the secrets file: recovery keys, adding and removing, and nobody locked out by mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import segno

from mailwright.command.main import run
from mailwright.model.errors import SecretError
from mailwright.model.identities import IDENTITY, draw, identities
from mailwright.model.secrets_file import Vault

REPOSITORY = Path(__file__).parents[2]
FLEET = """\
providers:
  p: { type: rfc2136, server: 192.0.2.53, key_name: k, key: tsig/primary }
owner: { name: Example, postmaster: postmaster@example.org }
domains:
  - { name: news.example.com, provider: p, dkim: [{ selector: e1, algorithm: ed25519 }] }
machines:
  - { name: m, fqdn: m.example.com, ipv4: 192.0.2.1, roles: {} }
"""
SECRET_KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")


class Bench:
    """A fleet with secrets, and what its operator types."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.fleet = folder / "prod.yaml"
        self.fleet.write_text(FLEET)
        self.vault = Vault(folder / "prod.secrets.age", folder / "config/mailwright/identity", {})
        self.run("init")

    def run(self, command, *words):
        status = run(["secrets", command, str(self.fleet), *words])
        output = self.capsys.readouterr()
        return status, output.out, output.err

    def recovery_key(self):
        status, out, _ = self.run("recovery-key")
        assert status == 0
        (key,) = SECRET_KEY.findall(out)
        return key

    def opened_by(self, key):
        return Vault(self.vault.file, self.folder / "nowhere", {IDENTITY: key}).read()


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    return Bench(tmp_path, capsys)


def test_a_recovery_key_opens_the_file_and_is_kept_nowhere(bench):
    key = bench.recovery_key()
    assert "dkim/news.example.com/e1" in bench.opened_by(key).secrets
    kept = [f for f in bench.folder.rglob("*") if f.is_file() and key.encode() in f.read_bytes()]
    assert kept == []
    assert key not in "".join(bench.vault.read().labels)


def test_the_qr_code_is_that_of_the_key(bench):
    _, out, _ = bench.run("recovery-key")
    (key,) = SECRET_KEY.findall(out)
    code = [line for line in out.splitlines() if line and set(line) <= set("█▀▄ ")]
    halves = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}  # light is printed, dark is left out
    rows = [[halves[c][half] for c in line] for line in code for half in (0, 1)]
    border = 4
    side = len(rows[0]) - 2 * border
    matrix = [row[border : border + side] for row in rows[border : border + side]]
    assert matrix == [list(row) for row in segno.make_qr(key, error="m").matrix]


def test_several_recovery_keys_are_told_apart(bench):
    keys = {bench.recovery_key(), bench.recovery_key()}
    assert len(keys) == 2
    labels = set(bench.vault.read().labels.values())
    assert len([label for label in labels if label.startswith("recovery key of ")]) == 2
    status, out, _ = bench.run("recipients")
    assert status == 0
    assert all(label in out for label in labels)
    assert [line for line in out.splitlines() if line.startswith("you ")], "which of them is mine"


def test_recipients_say_that_there_is_no_recovery_key(bench):
    assert "secrets recovery-key" in bench.run("recipients")[2]
    bench.recovery_key()
    assert "secrets recovery-key" not in bench.run("recipients")[2]


def test_a_recovery_key_that_was_not_written_down_changes_nothing(bench, monkeypatch):
    before = bench.vault.file.read_bytes()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "wrong")
    status, _, err = bench.run("recovery-key")
    assert status == 1
    assert "nothing has changed" in err
    assert bench.vault.file.read_bytes() == before


def test_somebody_is_added_and_removed_by_label(bench):
    ann, bob = draw(), draw()
    assert bench.run("rekey", "--add", ann.recipient, "--label", "ann")[0] == 0
    assert bench.opened_by(ann.text)
    status, out, err = bench.run("rekey", "--add", bob.recipient, "--remove", "ann")
    assert status == 0
    assert f"removed {ann.recipient} (ann)" in out
    assert "secrets rotate" in err, "what ann has seen"
    assert bench.opened_by(bob.text)
    with pytest.raises(SecretError, match="not encrypted for"):
        bench.opened_by(ann.text)


def test_nobody_locks_himself_out(bench):
    ann = draw()
    bench.run("rekey", "--add", ann.recipient)
    before = bench.vault.file.read_bytes()
    own = identities(bench.vault.identity, {})[0].recipient
    status, _, err = bench.run("rekey", "--remove", own)
    assert status == 1
    assert "you could not open it any more" in err
    assert bench.vault.file.read_bytes() == before


def test_a_label_that_means_nobody_names_those_there_are(bench):
    status, _, err = bench.run("rekey", "--remove", "ann")
    assert status == 1
    assert identities(bench.vault.identity, {})[0].recipient in err


def test_without_a_change_of_recipients_it_is_encrypted_anew(bench):
    before, content = bench.vault.file.read_bytes(), bench.vault.read()
    assert bench.run("rekey")[0] == 0
    assert bench.vault.file.read_bytes() != before
    assert bench.vault.read() == content


def test_an_ssh_key_is_labelled_by_its_comment(bench):
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ann@laptop"
    assert bench.run("rekey", "--add", line)[0] == 0
    assert "ann@laptop" in bench.vault.read().labels.values()

"""`mailwright secrets check` and `recover`: whether a clone and a recovery key are enough, and using them."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from mailwright import hostkeys
from mailwright.command.main import run
from mailwright.hostkeys import HostKey
from mailwright.model.errors import MailwrightError
from mailwright.model.identities import make_identity
from mailwright.model.load import load_fleet
from mailwright.model.secrets_file import Vault
from mailwright.recovery import write_private
from mailwright.sshkeys import public_key, ssh_key

REPOSITORY = Path(__file__).parents[2]
FLEET = """\
owner: { name: Example, postmaster: postmaster@news.example.com }
providers:
  p: { type: route53, key_id: route53/id, key: route53/key }
domains:
  - { name: news.example.com, provider: p, dkim: [{ selector: e1, algorithm: ed25519 }] }
acme: { ca: ca.pem }
defaults:
  ssh: { key: ~/.ssh/Fleet }
machines:
  - name: m
    fqdn: m.example.com
    ipv4: 192.0.2.1
    roles: { unbound: { trust_anchors: anchors } }
"""
HOST_KEY = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")


class Bench:
    """A repository with a fleet that may lose its controller, and a home of one's own."""

    def __init__(self, folder, patch, capsys):
        self.folder, self.patch, self.capsys = folder, patch, capsys
        self.go_home("home")
        self.fleet = folder / "fleet" / "prod.yaml"
        self.fleet.parent.mkdir()
        self.fleet.write_text(FLEET)
        self.fleet.with_suffix(".py").write_text("")
        (self.fleet.parent / "ca.pem").write_text("an authority")
        (self.fleet.parent / "anchors").write_text("")
        self.ssh_key = ssh_key()
        self.keep(self.home / ".ssh" / "Fleet", self.ssh_key)
        self.run("init")
        for name, value in (("route53/id", "AKID"), ("route53/key", "x"), ("ssh/fleet", self.ssh_key)):
            self.set(name, value)
        self.recovery_key = re.search(r"AGE-SECRET-KEY-1\w+", self.run("recovery-key")[1])[0]
        (machine,) = load_fleet(self.fleet).machines
        hostkeys.pin(self.fleet.with_suffix(".known_hosts"), machine, [HOST_KEY])
        self.git("init", "--quiet")
        self.commit()

    def go_home(self, name):
        self.home = self.folder / name
        self.home.mkdir()
        self.patch.setenv("HOME", str(self.home))
        self.patch.delenv("XDG_CONFIG_HOME", raising=False)

    @staticmethod
    def keep(path, text):
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def git(self, *words):
        who = ["-c", "user.name=ops", "-c", "user.email=ops@example.com"]
        subprocess.run(["git", *who, *words], cwd=self.fleet.parent, check=True, capture_output=True)

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "fleet")

    def set(self, name, value):
        self.type(value)
        assert self.run("set", name)[0] == 0

    def type(self, text):
        self.patch.setattr("sys.stdin", io.StringIO(text))

    def run(self, command, *words):
        status = run(["secrets", command, str(self.fleet), *words])
        output = self.capsys.readouterr()
        return status, output.out, output.err

    def clone(self):
        """A new machine: a clone, and nothing in its home."""
        self.go_home("new")
        there = self.folder / "clone"
        self.git("clone", "--quiet", str(self.fleet.parent), str(there))
        self.fleet = there / "prod.yaml"


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    return Bench(tmp_path, monkeypatch, capsys)


def missing(bench):
    status, out, _ = bench.run("check")
    lines = [line for line in out.splitlines() if line.startswith("MISSING")]
    assert bool(status) == bool(lines)
    return lines


def test_a_fleet_that_has_everything_in_its_repository_may_lose_the_machine(bench):
    assert missing(bench) == []


def untracked(bench):
    bench.git("rm", "--quiet", "--cached", "ca.pem")
    bench.git("commit", "--quiet", "--message", "less")


def outside(bench):
    (bench.folder / "anchors").write_text("")
    bench.fleet.write_text(FLEET.replace("trust_anchors: anchors", "trust_anchors: ../anchors"))
    bench.commit()


def without_recovery_key(bench):
    label = next(x for x in bench_labels(bench) if x.startswith("recovery key"))
    bench.run("rekey", "--remove", label)
    bench.commit()


def bench_labels(bench):
    return (
        Vault(bench.fleet.with_suffix(".secrets.age"), bench.home / ".config/mailwright/identity")
        .read()
        .labels.values()
    )


def another_ssh_key(bench):
    bench.set("ssh/fleet", ssh_key())
    bench.commit()


def by_agent(bench):
    bench.fleet.write_text(FLEET.replace("  ssh: { key: ~/.ssh/Fleet }\n", "  debian: 13\n"))
    bench.commit()


def not_pinned(bench):
    bench.fleet.with_suffix(".known_hosts").write_text("")
    bench.commit()


def in_the_home_of_aws(bench):
    bench.fleet.write_text(FLEET.replace(", key_id: route53/id, key: route53/key", ""))
    bench.commit()


def not_committed(bench):
    bench.fleet.write_text(FLEET + "# later\n")


def unset(bench):
    bench.fleet.write_text(FLEET.replace("route53/key", "route53/other"))
    bench.commit()


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (untracked, "acme.ca: .*ca.pem: it is not in Git"),
        (outside, "unbound.trust_anchors: .*: it is outside of the repository"),
        (without_recovery_key, "secrets recovery-key"),
        (another_ssh_key, "the secret ssh/fleet is another key"),
        (by_agent, "a login to m: by your agent"),
        (not_pinned, "not pinned: m: `mailwright hostkeys pin`"),
        (in_the_home_of_aws, "providers.p: credentials of AWS"),
        (not_committed, "prod.yaml: it has changes that are not committed"),
        (unset, "not in the file: route53/other"),
    ],
)
def test_what_is_here_only_is_named_with_what_to_do(bench, break_it, said):
    break_it(bench)
    (line,) = missing(bench)
    assert re.search(said, line)


def test_a_clone_and_a_recovery_key_are_enough(bench):
    bench.clone()
    bench.type(bench.recovery_key.lower()[:20] + "\n " + bench.recovery_key[20:] + "\n")
    status, out, _ = bench.run("recover")
    assert status == 0
    assert "MISSING" not in out
    key = bench.home / ".ssh" / "Fleet"
    assert public_key(key.read_text()) == public_key(bench.ssh_key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert bench.run("list")[0] == 0, "its own identity opens the secrets now"
    kept = [
        f for f in bench.folder.rglob("*") if f.is_file() and bench.recovery_key.encode() in f.read_bytes()
    ]
    assert kept == []
    assert len(bench_labels(bench)) == 3
    bench.commit()
    assert missing(bench) == []


def test_recovering_twice_changes_nothing(bench):
    bench.clone()
    bench.type(bench.recovery_key)
    bench.run("recover")
    before = bench.fleet.with_suffix(".secrets.age").read_bytes()
    assert bench.run("recover")[0] == 0
    assert bench.fleet.with_suffix(".secrets.age").read_bytes() == before


def test_a_recovery_that_was_killed_is_finished_by_the_next(bench):
    bench.clone()
    make_identity(bench.home / ".config/mailwright/identity")  # and no more
    assert bench.run("list")[0] == 1
    bench.type(bench.recovery_key)
    assert bench.run("recover")[0] == 0
    assert bench.run("list")[0] == 0


def test_a_key_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    file, there = tmp_path / "ssh/fleet", []
    sync = os.fsync
    monkeypatch.setattr("os.fsync", lambda handle: (there.append(file.exists()), sync(handle)))
    write_private(file, "a key")
    assert there == [False], "what a killed recovery leaves would be taken for the key by the next"
    assert file.read_text() == "a key\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(MailwrightError, match="cannot be written"):
        write_private(file, "another")
    assert [each.name for each in file.parent.iterdir()] == ["fleet"]
    assert file.read_text() == "a key\n"


def test_the_environment_may_hold_the_recovery_key(bench):
    bench.clone()
    bench.patch.setenv("MAILWRIGHT_AGE_IDENTITY", bench.recovery_key)
    assert bench.run("list")[0] == 0
    assert bench.run("recover")[0] == 0
    bench.patch.delenv("MAILWRIGHT_AGE_IDENTITY")
    assert bench.run("list")[0] == 0


def test_a_fleet_without_its_secrets_file_is_told_before_a_key_is_asked_for(bench):
    bench.fleet.with_suffix(".secrets.age").unlink()
    bench.patch.setattr("sys.stdin", None)  # whoever asks fails
    status, _, err = bench.run("recover")
    assert status == 1
    assert "prod.secrets.age: the fleet's secrets file is expected there and is missing" in " ".join(
        err.split()
    )
    assert "secrets init" not in err


@pytest.mark.parametrize("typed", ["", "not a key", "AGE-SECRET-KEY-1" + 58 * "Q"])
def test_a_wrong_key_leaves_nothing_behind(bench, typed):
    bench.clone()
    bench.type(typed)
    assert bench.run("recover")[0] == 1
    assert list(bench.home.rglob("*")) == []


def test_what_the_repository_lacks_is_said(bench):
    bench.set("ssh/fleet", ssh_key())
    without = Vault(bench.fleet.with_suffix(".secrets.age"), bench.home / ".config/mailwright/identity")
    with without.changing() as content:
        del content.secrets["ssh/fleet"]
    bench.git("rm", "--quiet", "ca.pem")
    bench.commit()
    bench.clone()
    bench.type(bench.recovery_key)
    status, out, _ = bench.run("recover")
    assert status == 1
    assert "there is no secret ssh/fleet" in out
    assert "ca.pem: there is no such file" in out

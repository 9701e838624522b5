"""The operator's machine is gone: a clone of the fleet's repository and one recovery key run everything.

The repository is built as an operator would: the lab's fleet file, with every file of the controller beside
it; the secrets with the SSH key; pinned host keys; a recovery key. Then a new home, with nothing in it.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mailwright import hostkeys
from mailwright.model.load import load_fleet
from tests.lab.deploying import ROOT, command

MINUTES = 2

OURS = ("MAILWRIGHT_", "XDG_", "SSH_AUTH_SOCK", "AWS_")
"""What of the environment belongs to the operator."""


class Operator:
    """Somebody with a home of his own, who runs commands over a fleet file."""

    def __init__(self, home, fleet):
        self.home, self.fleet = home, fleet
        home.mkdir()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        self.env |= {"HOME": str(home), "NO_COLOR": "1"}

    def run(self, *words, typed=""):
        """A command line, `FLEET` in it standing for the fleet file."""
        argv = command("mailwright", *(self.fleet if word == "FLEET" else word for word in words))
        return subprocess.run(
            argv, cwd=ROOT, env=self.env, input=typed, capture_output=True, text=True, check=False
        )

    def must(self, *words, typed=""):
        done = self.run(*words, typed=typed)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def git(self, *words):
        who = ["-c", "user.name=ops", "-c", "user.email=ops@brightpost.example"]
        subprocess.run(["git", *who, *words], cwd=self.fleet.parent, check=True, capture_output=True)


def gathered(lab, folder):
    """The lab's fleet as a repository would have it: nothing is named by a path of this machine."""
    yaml = YAML()
    data = yaml.load(lab.plan.file.read_text())
    del data["secrets"]
    ssh = data["defaults"]["ssh"]
    del ssh["known_hosts"]
    ssh["key"] = "~/.ssh/fleet"
    for section, key in (
        (data["acme"], "ca"),
        (data.get("backup", {}).get("store", {}), "ca"),
        (data["defaults"]["roles"]["unbound"], "trust_anchors"),
    ):
        if key in section:
            path = Path(section[key])
            (folder / path.name).write_bytes(path.read_bytes())
            section[key] = path.name
    file = folder / lab.plan.file.name
    yaml.dump(data, file)
    for suffix in (".py", ".dkim.yaml"):
        if (beside := lab.plan.file.with_suffix(suffix)).exists():
            file.with_suffix(suffix).write_bytes(beside.read_bytes())
    assert str(lab.plan.state) not in file.read_text()
    return file


@pytest.fixture(scope="module")
def prepared(deployed, tmp_path_factory):
    """The repository of a prepared operator, and what he has on paper."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "fleet").mkdir()
    old = Operator(folder / "old", gathered(deployed, folder / "fleet"))
    secrets = load_fleet(deployed.plan.file).secrets
    old.fleet.with_suffix(".secrets.age").write_bytes(Path(secrets.file).read_bytes())
    keep(old.home / ".config/mailwright/identity", Path(secrets.identity).read_bytes())
    key = (deployed.plan.state / "ssh" / "id_ed25519").read_bytes()
    keep(old.home / ".ssh/fleet", key)
    old.must("secrets", "set", "FLEET", "ssh/fleet", typed=key.decode())
    old.must("hostkeys", "pin", "FLEET", "--yes")
    (paper,) = re.findall(r"AGE-SECRET-KEY-1\w+", old.must("secrets", "recovery-key", "FLEET"))
    old.git("init", "--quiet")
    old.git("add", "--all")
    old.git("commit", "--quiet", "--message", "the fleet")
    old.must("secrets", "check", "FLEET")
    return old, paper


def keep(path, content):
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_bytes(content)
    path.chmod(0o600)


@pytest.fixture(scope="module")
def newcomer(prepared, tmp_path_factory):
    """A new machine with a clone: the recovery key was typed once, and is nowhere now."""
    old, paper = prepared
    folder = tmp_path_factory.mktemp("newcomer")
    old.git("clone", "--quiet", str(old.fleet.parent), str(folder / "clone"))
    new = Operator(folder / "home", folder / "clone" / old.fleet.name)
    assert new.run("secrets", "list", "FLEET").returncode == 1, "nothing here opens them yet"
    new.must("secrets", "recover", "FLEET", typed=paper + "\n")
    kept = [f for f in folder.rglob("*") if f.is_file() and paper.encode() in f.read_bytes()]
    assert kept == []
    return new


@pytest.mark.proof("from a bare clone and the recovery key alone, a live fleet needs nothing and is verified")
def test_from_a_clone_and_the_recovery_key_the_fleet_is_as_planned(newcomer, evidence):
    planned = newcomer.run("plan", "FLEET")
    assert planned.returncode == 0, planned.stdout[-3000:] + planned.stderr[-2000:]
    said = newcomer.must("verify", "FLEET")
    evidence(f"{planned.stdout.count('nothing to do')} machines with nothing to do; {said.splitlines()[-1]}")


def test_the_new_machine_may_be_lost_in_its_turn(newcomer):
    newcomer.git("commit", "--quiet", "--all", "--message", "another laptop")
    assert "may be lost" in newcomer.must("secrets", "check", "FLEET")


def test_without_recovering_the_recovery_key_in_the_environment_opens_the_secrets(prepared, tmp_path):
    old, paper = prepared
    new = Operator(tmp_path / "home", old.fleet)
    new.env["MAILWRIGHT_AGE_IDENTITY"] = paper
    new.must("secrets", "list", "FLEET")


@pytest.mark.proof("a changed host key stops plan and verify with one sentence, before anybody logs in")
@pytest.mark.parametrize("words", [("plan", "FLEET", "--no-dns"), ("verify", "FLEET")])
def test_a_changed_host_key_stops_everything_with_one_sentence(newcomer, words):
    fleet = load_fleet(newcomer.fleet)
    first, second = fleet.machines[:2]
    file = newcomer.fleet.with_suffix(".known_hosts")
    before = file.read_bytes()
    (old,), (shown,) = hostkeys.pinned(second, file), hostkeys.pinned(first, file)
    try:
        hostkeys.pin(file, first, [old])
        done = newcomer.run(*words)
    finally:
        file.write_bytes(before)
    assert done.returncode == 1
    (said,) = [line for line in (done.stdout + done.stderr).splitlines() if "host key" in line]
    for part in (first.name, old.fingerprint, shown.fingerprint, f"hostkeys pin INVENTORY {first.name}"):
        assert part in said
    assert "nothing to do" not in done.stdout, "no machine takes part"

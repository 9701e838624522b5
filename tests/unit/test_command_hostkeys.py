"""`mailwright hostkeys`, and every other command in front of a machine whose key is not the pinned one.

The machine is an SSH server on loopback; the command line runs as a process of its own, in a home of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import paramiko
import pytest

from tests.unit.ssh_world import serving, shown

ROOT = Path(__file__).parents[2]
FLEET = """\
owner: {{name: Test, postmaster: postmaster@mailbox.example}}
networks: {{admin: [203.0.113.1/32]}}
machines:
  - {{name: out1, fqdn: out1.mailbox.example, ipv4: 203.0.113.11,
      ssh: {{address: 127.0.0.1, port: {port}, key: id}}, roles: {{base: {{}}}}}}
"""
SHIM = """\
import roles
from mailwright.converge.inventory import groups

globals().update(groups(__file__, roles.ROLES))
"""


@pytest.fixture
def sshd():
    with serving() as server:
        yield server


@pytest.fixture
def mailwright(sshd, tmp_path):
    """Returns a function: a command over a fleet of one machine, and what came of it."""
    (tmp_path / "prod.yaml").write_text(FLEET.format(port=sshd.port))
    (tmp_path / "prod.py").write_text(SHIM)
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "id"))

    def run(*words, answer=""):
        start = "import sys; from mailwright.command.main import run; sys.exit(run(sys.argv[1:]))"
        env = os.environ | {"HOME": str(tmp_path), "NO_COLOR": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'dns'}"}
        return subprocess.run(
            [sys.executable, "-c", start, *words[:2], str(tmp_path / "prod.yaml"), *words[2:]]
            if words[0] == "hostkeys"
            else [sys.executable, "-c", start, words[0], str(tmp_path / "prod.yaml"), *words[1:]],
            cwd=ROOT, env=env, input=answer, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def exchange(sshd):
    """Give the machine another key, as a new installation does."""
    old = shown(sshd.keys[0])
    sshd.keys[:] = [paramiko.ECDSAKey.generate()]
    return old, shown(sshd.keys[0])


def test_a_key_is_shown_and_pinned_once_the_operator_knows_it(mailwright, sshd, tmp_path):
    asked = mailwright("hostkeys", "pin", answer="n\n")
    assert shown(sshd.keys[0]).fingerprint in asked.stdout
    assert not (tmp_path / "prod.known_hosts").exists()
    assert mailwright("hostkeys", "pin", answer="y\n").returncode == 0
    assert shown(sshd.keys[0]).blob in (tmp_path / "prod.known_hosts").read_text()
    assert mailwright("hostkeys", "show").returncode == 0


def test_a_fingerprint_from_the_console_is_compared_and_nobody_is_asked(mailwright, sshd, tmp_path):
    wrong = mailwright("hostkeys", "pin", "out1", "--fingerprint", "SHA256:" + 43 * "A")
    assert wrong.returncode == 1
    assert "nothing was pinned" in wrong.stderr
    assert not (tmp_path / "prod.known_hosts").exists()
    right = shown(sshd.keys[0]).fingerprint
    assert mailwright("hostkeys", "pin", "out1", "--fingerprint", right).returncode == 0


def test_what_the_operator_has_trusted_so_far_is_taken_along(mailwright, sshd, tmp_path):
    key = shown(sshd.keys[0])
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key.kind} {key.blob}\n")
    assert mailwright("hostkeys", "show").returncode == 3, "the fleet itself pins nothing yet"
    assert mailwright("hostkeys", "pin").returncode == 0
    assert mailwright("hostkeys", "show").returncode == 0


def test_a_machine_that_is_none_changes_nothing(mailwright, sshd, tmp_path):
    key = shown(sshd.keys[0])
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key.kind} {key.blob}\n")
    assert mailwright("hostkeys", "pin", "out7").returncode == 1
    assert mailwright("hostkeys", "show").returncode == 3, "the fleet itself pins nothing yet"


def test_show_tells_a_changed_key_from_one_that_nobody_pinned(mailwright, sshd):
    assert json.loads(mailwright("hostkeys", "show", "--json").stdout)[0]["verdict"] == "not pinned"
    mailwright("hostkeys", "pin", "--yes")
    exchange(sshd)
    result = mailwright("hostkeys", "show", "--json")
    assert (result.returncode, json.loads(result.stdout)[0]["verdict"]) == (1, "CHANGED")


def test_a_forgotten_key_is_not_pinned_any_more(mailwright):
    mailwright("hostkeys", "pin", "--yes")
    assert mailwright("hostkeys", "forget", "out1").returncode == 0
    assert mailwright("hostkeys", "show").returncode == 3


@pytest.mark.parametrize("command", ["plan", "verify"])
def test_a_changed_key_stops_the_run_with_one_sentence(mailwright, sshd, command):
    mailwright("hostkeys", "pin", "--yes")
    old, new = exchange(sshd)
    result = mailwright(command)
    assert result.returncode == 1
    said = [line for line in (result.stdout + result.stderr).splitlines() if "host key" in line]
    (line,) = said
    assert old.fingerprint in line
    assert new.fingerprint in line
    assert "mailwright hostkeys pin INVENTORY out1" in line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("command", "status"), [("plan", 1), ("verify", 3)])
def test_a_machine_that_nobody_pinned_is_left_out_with_the_command_that_pins_it(
    mailwright, tmp_path, command, status
):
    (tmp_path / "prod.known_hosts").touch()
    result = mailwright(command)
    assert result.returncode == status
    assert "mailwright hostkeys pin INVENTORY out1" in result.stdout + result.stderr


def test_nobody_waits_for_an_answer_about_an_unknown_key(mailwright):
    """A fleet without the file is left to the operator's known_hosts, where pyinfra would ask a terminal."""
    result = mailwright("plan")
    assert result.returncode == 1
    assert "mailwright hostkeys pin INVENTORY out1" in result.stderr

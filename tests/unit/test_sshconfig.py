"""Machines reached by an OpenSSH configuration: deploying, verifying and host keys all follow it.

The machine is an SSH server on loopback, asked by the OpenSSH of this machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailwright import hostkeys
from mailwright.converge import inventory
from mailwright.model.errors import HostKeyError
from mailwright.model.load import load_fleet
from mailwright.verify.ssh import runner
from tests.unit.ssh_world import serving, shown

FLEET = """\
owner: {name: Test, postmaster: postmaster@mailbox.example}
defaults: {ssh: {user: vagrant, config: ssh_config, known_hosts: known_hosts}}
machines:
  - {name: out1, fqdn: out1.mailbox.example, ipv4: 203.0.113.11}
  - {name: out2, fqdn: out2.mailbox.example, ipv4: 203.0.113.12, ssh: {address: two}}
"""
CONFIG = """\
Host out1 two
  HostName 127.0.0.1
  Port {port}
  User somebody
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
"""


@pytest.fixture
def sshd():
    with serving() as server:
        yield server


@pytest.fixture
def fleet(tmp_path, sshd):
    (tmp_path / "ssh_config").write_text(CONFIG.format(port=sshd.port))
    (tmp_path / "vagrant.yaml").write_text(FLEET)
    return load_fleet(tmp_path / "vagrant.yaml")


def test_a_machine_is_looked_up_by_what_the_configuration_makes_of_its_name(fleet, sshd):
    names = [hostkeys.lookup_name(machine) for machine in fleet.machines]
    assert names == [f"[127.0.0.1]:{sshd.port}"] * 2


def test_the_key_of_a_machine_is_asked_for_where_the_configuration_says(fleet, sshd):
    assert hostkeys.scan(fleet.machine("out1")) == shown(sshd.keys[0])


def test_pyinfra_is_handed_the_configuration_and_no_port_that_would_win_over_it(fleet, tmp_path):
    data = inventory.host_data(fleet.machine("out1"), str(tmp_path / "vagrant.yaml"))
    assert data["ssh_config_file"] == str(tmp_path / "ssh_config")
    assert data["ssh_hostname"] == "out1"
    assert data["ssh_user"] == "vagrant"
    assert "ssh_port" not in data
    assert data["ssh_strict_host_key_checking"] == "yes"


def test_verification_connects_by_the_configuration_but_trusts_only_the_fleets_own_pins(
    fleet, tmp_path, monkeypatch
):
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    runner(fleet.machine("out1"))("true")
    said = (tmp_path / "said").read_text().splitlines()
    assert said[said.index("-F") + 1] == str(tmp_path / "ssh_config")
    assert not any(word.startswith("Port=") for word in said)
    assert {"User=vagrant", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={tmp_path}/known_hosts"} <= {
        *said
    }
    assert "out1" in said


def test_a_configuration_that_is_not_there_is_one_sentence_and_no_guess(fleet, tmp_path):
    Path(tmp_path / "ssh_config").unlink()
    with pytest.raises(HostKeyError, match=r"^out1: its ssh\.config is not there: .*`vagrant up`$"):
        inventory.host_data(fleet.machine("out1"), str(tmp_path / "vagrant.yaml"))


def test_what_ssh_does_not_understand_of_it_is_said(fleet, tmp_path):
    (tmp_path / "ssh_config").write_text("Host out1\n  Prot 22\n")
    with pytest.raises(HostKeyError, match=r"^out1: .*ssh_config"):
        hostkeys.lookup_name(fleet.machine("out1"))

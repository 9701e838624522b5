"""Host keys: what the fleet's known_hosts file holds, what a machine shows, and what is said if they differ.

The machine is an SSH server on loopback (paramiko's), asked by the OpenSSH of this machine.
"""

from __future__ import annotations

import subprocess

import paramiko
import pytest

from mailwright import hostkeys
from mailwright.hostkeys import HostKey
from mailwright.model.errors import HostKeyError
from mailwright.model.load import load_fleet
from tests.unit.ssh_world import serving, shown

FLEET = """\
owner: {{name: Test, postmaster: postmaster@mailbox.example}}
machines:
  - {{name: out1, fqdn: out1.mailbox.example, ipv4: 203.0.113.11, ssh: {{address: 127.0.0.1, port: {port}}}}}
  - {{name: out2, fqdn: out2.mailbox.example, ipv4: 203.0.113.12}}
"""
ONE = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")
OTHER = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA")


@pytest.fixture
def sshd():
    with serving() as server:
        yield server


@pytest.fixture
def fleet_file(tmp_path):
    return tmp_path / "prod.yaml"


@pytest.fixture
def machines(fleet_file, sshd):
    def load():
        fleet_file.write_text(FLEET.format(port=sshd.port))
        return load_fleet(fleet_file).machines

    return load


def test_a_fleet_without_the_file_and_the_setting_is_left_to_the_operators_own_known_hosts(machines):
    assert [machine.ssh.known_hosts for machine in machines()] == [None, None]
    assert "mailwright hostkeys pin INVENTORY" in hostkeys.advice(machines())


def test_the_file_beside_the_fleet_file_is_used_as_soon_as_it_is_there(machines, fleet_file):
    file = hostkeys.file_of(machines()[0], fleet_file)
    assert file == fleet_file.with_name("prod.known_hosts")
    hostkeys.pin(file, machines()[0], [ONE])
    assert [machine.ssh.known_hosts for machine in machines()] == [str(file)] * 2
    assert hostkeys.advice(machines()) is None


def test_fingerprints_are_those_of_ssh_keygen(tmp_path):
    (tmp_path / "key.pub").write_text(f"{ONE.kind} {ONE.blob}\n")
    listed = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split()[1] == ONE.fingerprint


def test_what_is_pinned_is_found_by_openssh_too(machines, tmp_path):
    file = tmp_path / "hosts"
    for machine, key in zip(machines(), (ONE, OTHER), strict=True):
        assert hostkeys.pin(file, machine, [key])
        found = subprocess.run(
            ["ssh-keygen", "-F", hostkeys.lookup_name(machine), "-f", file],
            capture_output=True,
            text=True,
            check=True,
        )
        assert key.blob in found.stdout
    assert file.stat().st_mode & 0o777 == 0o644


def test_pinning_twice_changes_nothing_and_anew_leaves_no_old_key(machines, tmp_path):
    file, machine = tmp_path / "hosts", machines()[0]
    assert hostkeys.pin(file, machine, [ONE])
    assert not hostkeys.pin(file, machine, [ONE])
    assert hostkeys.pin(file, machine, [OTHER])
    assert hostkeys.pinned(machine, file) == (OTHER,)
    assert ONE.blob not in file.read_text()


def test_forgetting_takes_one_machine_and_leaves_the_rest_of_the_file(machines, tmp_path):
    file = tmp_path / "hosts"
    out1, out2 = machines()
    file.write_text(f"# ours\n@revoked * {ONE.kind} {OTHER.blob}\n203.0.113.12 {ONE.kind} {ONE.blob}\n")
    before = file.read_text()
    hostkeys.pin(file, out1, [OTHER])
    assert hostkeys.forget(file, out1)
    assert not hostkeys.forget(file, out1)
    assert file.read_text() == before
    assert hostkeys.pinned(out2, file) == (ONE,)


def test_a_line_that_names_several_machines_stays_for_the_others(machines, tmp_path):
    file = tmp_path / "hosts"
    out1, out2 = machines()
    file.write_text(f"{hostkeys.lookup_name(out1)},203.0.113.12 {ONE.kind} {ONE.blob} both\n")
    hostkeys.pin(file, out1, [OTHER])
    assert hostkeys.pinned(out1, file) == (OTHER,)
    assert hostkeys.pinned(out2, file) == (ONE,)
    assert hostkeys.forget(file, out2)
    assert hostkeys.pinned(out2, file) == ()


def test_a_pattern_that_a_machine_is_taken_out_of_stays_for_the_others(machines, tmp_path):
    file = tmp_path / "hosts"
    out2 = machines()[1]
    file.write_text(f"203.0.113.1? {ONE.kind} {ONE.blob}\n")
    hostkeys.pin(file, out2, [OTHER])
    assert hostkeys.pinned(out2, file) == (OTHER,)
    for address, found in (("203.0.113.12", OTHER), ("203.0.113.13", ONE)):
        said = subprocess.run(
            ["ssh-keygen", "-F", address, "-f", file], capture_output=True, text=True, check=True
        ).stdout
        assert said.count("found:") == 1
        assert found.blob in said


def test_hashed_names_and_patterns_are_read(machines, tmp_path):
    file, machine = tmp_path / "hosts", machines()[1]
    file.write_text(f"203.0.113.12 {ONE.kind} {ONE.blob}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", file], capture_output=True, check=True)
    assert "203.0.113.12" not in file.read_text()
    assert hostkeys.pinned(machine, file) == (ONE,)
    file.write_text(f"203.0.113.*,!203.0.113.1? {ONE.kind} {ONE.blob}\n203.0.113.? {ONE.kind} {OTHER.blob}\n")
    assert hostkeys.pinned(machine, file) == ()
    file.write_text(f"203.0.113.1? {ONE.kind} {ONE.blob}\n")
    assert hostkeys.pinned(machine, file) == (ONE,)


def test_a_machine_is_asked_for_its_key(machines, sshd):
    assert hostkeys.scan(machines()[0]) == shown(sshd.keys[0])


def test_of_several_keys_the_pinned_kind_is_asked_for(machines, sshd):
    sshd.keys.append(paramiko.RSAKey.generate(2048))
    assert hostkeys.scan(machines()[0], ["ssh-rsa"]) == shown(sshd.keys[1])
    assert hostkeys.scan(machines()[0], ["ssh-ed25519"]) == shown(sshd.keys[0]), "it has no such key"


def test_a_pinned_key_is_no_trouble(machines, sshd, fleet_file):
    hostkeys.pin(fleet_file.with_suffix(".known_hosts"), machines()[0], [shown(sshd.keys[0])])
    assert hostkeys.trouble(machines()[0]) is None


def test_a_changed_key_is_one_sentence_with_both_fingerprints_and_the_commands(machines, sshd, fleet_file):
    hostkeys.pin(fleet_file.with_suffix(".known_hosts"), machines()[0], [ONE])
    trouble = hostkeys.trouble(machines()[0])
    assert trouble.changed
    said = str(trouble)
    assert "\n" not in said
    for part in ("out1", ONE.fingerprint, shown(sshd.keys[0]).fingerprint, "rebuild"):
        assert part in said
    assert "mailwright hostkeys pin INVENTORY out1" in said


def test_an_unknown_key_says_what_it_is_and_how_to_pin_it(machines, sshd, fleet_file):
    fleet_file.with_suffix(".known_hosts").touch()
    trouble = hostkeys.trouble(machines()[0])
    assert not trouble.changed
    assert shown(sshd.keys[0]).fingerprint in str(trouble)
    assert "mailwright hostkeys pin INVENTORY out1" in str(trouble)


def test_a_machine_that_does_not_answer_is_named(machines, sshd):
    machine = machines()[0]
    sshd.stop()
    with pytest.raises(HostKeyError, match=r"^out1: shows no SSH host key at .*refused"):
        hostkeys.scan(machine)

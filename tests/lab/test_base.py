"""Pins that sshd is hardened without shutting the operator out, and that former administrators stay out."""

import subprocess

import pytest

from mailwright.sshd import validation
from tests.lab.deploying import changes, deploy, verify
from tests.lab.variants import attempt, one_of_each_release, tree_with, variant

SSHD = "/etc/ssh/sshd_config.d/10-mailwright.conf"
TEMPLATE = "base/sshd.conf.j2"


@pytest.fixture(scope="module")
def fleet(lab, tmp_path_factory):
    """Returns a function: an edit of the fleet's plain data to a fleet file."""
    return lambda edit=lambda _: None: variant(lab, tmp_path_factory.mktemp("fleet"), edit)


@pytest.fixture(scope="module")
def pair(deployed, fleet):
    """Two hosts as the fleet file says, a Debian 12 and a Debian 13, their zones published."""
    hosts = one_of_each_release(deployed)
    deploy(fleet(), *(host.name for host in hosts))
    return hosts


def _sshd(host):
    """The drop-in, and the daemon's process."""
    return host.run(f"cat {SSHD}; systemctl show -P MainPID ssh.service").require().stdout


def _ssh(host, user, *options, command="true"):
    argv = ["ssh", *host.ssh_options, *options, f"{user}@{host.host.address}", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_an_sshd_config_with_an_error_never_replaces_the_running_one(pair, fleet, tmp_path):
    before = {host.name: _sshd(host) for host in pair}
    status, said = attempt(fleet(), pair, tree_with(tmp_path, TEMPLATE, "NoSuchOption yes\n"))
    assert status != 0
    assert "Bad configuration option: NoSuchOption" in said
    assert "nothing was changed" in said
    assert {host.name: _sshd(host) for host in pair} == before
    assert all(host.answers() for host in pair)


def test_an_sshd_config_that_lets_nobody_in_is_rolled_back(pair, fleet, tmp_path):
    before = {host.name: _sshd(host) for host in pair}
    status, said = attempt(fleet(), pair, tree_with(tmp_path, TEMPLATE, "AllowUsers nobody\n"))
    assert status != 0
    assert all(f"[{host.name}] rolled back" in said for host in pair)
    assert {host.name: _sshd(host) for host in pair} == before
    assert all(host.answers() for host in pair)


# As some images have it. The login that does this goes on.
LISTEN = """
rm {sshd}
systemctl -q unmask ssh.socket
systemctl -q disable ssh.service
systemctl -q enable ssh.socket
systemctl stop ssh.service
systemctl start ssh.socket
"""


def test_sshd_takes_over_from_a_systemd_that_listens_for_it(pair, fleet):
    names = [host.name for host in pair]
    for host in pair:
        host.run(LISTEN.format(sshd=SSHD)).require()
        assert host.answers()
    deploy(fleet(), *names)
    for host in pair:
        units = "ssh.service ssh.socket"
        told = host.run(f"systemctl is-enabled {units}; systemctl is-active {units}").stdout
        assert told.split() == ["enabled", "masked", "active", "inactive"]
        assert SSHD in host.run(f"systemctl reload ssh.service && ls {SSHD}").require().stdout
        assert host.answers()
    assert changes(deploy(fleet(), *names)) == {}


def test_an_operator_without_a_key_is_not_locked_out(pair):
    staged = "rm -rf /run/check; mkdir /run/check; cp -a /etc /run/check/\n"
    judge = staged + validation("root").replace("{root}", "/run/check")
    keyless = staged + validation("daemon").replace("{root}", "/run/check")
    for host in pair:
        assert host.run("sh -s", stdin=judge).ok
        refused = host.run("sh -s", stdin=keyless)
        assert not refused.ok
        assert "daemon has no authorized key" in refused.stderr


def test_nobody_is_asked_for_a_password(pair):
    for host in pair:
        tried = _ssh(host, "root", "-o", "PubkeyAuthentication=no", "-o", "LogLevel=INFO")
        assert tried.returncode != 0
        assert "(publickey)" in tried.stderr


def test_administrators_come_and_go_with_the_fleet_file(pair, lab, fleet):
    key = (lab.plan.state / "ssh/id_ed25519.pub").read_text().strip()
    names = [host.name for host in pair]
    with_ann = fleet(lambda data: data.update(admins=[{"name": "ann", "keys": [key]}]))

    def is_root_by_sudo(host):
        return _ssh(host, "ann", command="sudo -n id -u").stdout == "0\n"

    deploy(with_ann, *names)
    assert all(is_root_by_sudo(host) for host in pair)
    assert changes(deploy(with_ann, *names)) == {}
    deploy(fleet(), *names)
    for host in pair:
        assert _ssh(host, "ann").returncode != 0
        assert "sudo" not in host.run("id -nG ann").require().stdout.split()
    assert changes(deploy(fleet(), *names)) == {}
    deploy(with_ann, *names)
    assert all(is_root_by_sudo(host) for host in pair)
    deploy(fleet(), *names)


def test_a_reboot_changes_nothing(pair, fleet):
    names = [host.name for host in pair]
    for host in pair:
        host.restart()
        host.run("systemctl is-system-running --wait")
    assert verify(fleet(), *names) == {}
    assert changes(deploy(fleet(), *names)) == {}

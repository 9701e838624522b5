"""Pins what base writes on a machine, and that it never shuts its operator out."""

from __future__ import annotations

import os
import subprocess

import pytest

from mailwright.model.errors import FleetError
from mailwright.model.needs import Needs, Package
from mailwright.model.role import Result, Role, Settings
from mailwright.sshd import weaknesses
from roles import base

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGK0dvvCJmWWLOAXnPaAsKEMG5Tm9m9mLyTXVwAtgVjH ann"


@pytest.fixture
def plan(plan_of):
    return lambda settings=None, **fleet: plan_of(base.ROLE, settings={"base": settings or {}}, **fleet)


def test_the_machine_is_named_after_its_fqdn(plan, content_of):
    done = plan()
    assert content_of(done, "/etc/hostname") == "m1\n"
    assert content_of(done, "/etc/mailname") == "m1.brightpost.example\n"
    assert "203.0.113.11 m1.brightpost.example m1\n" in content_of(done, "/etc/hosts")
    assert "2001:db8::11 m1.brightpost.example m1\n" in content_of(done, "/etc/hosts")
    assert "127.0.1.1 " not in content_of(done, "/etc/hosts")


def test_time_servers_are_names_or_addresses(plan, content_of):
    text = content_of(plan({"ntp": ["203.0.113.123", "Time.Example"]}), base.CHRONY)
    assert "pool 203.0.113.123 iburst\npool time.example iburst\n" in text


def test_a_time_server_cannot_bring_a_directive(plan):
    with pytest.raises(ValueError, match="ntp"):
        plan({"ntp": ["time.example iburst\nallow all"]})


def test_logs_are_kept_for_the_days_that_the_operator_says(plan, content_of):
    text = content_of(plan({"journal_days": 7}), base.JOURNALD)
    assert "MaxRetentionSec=7day\n" in text
    assert "MaxFileSec=1day\n" in text


@pytest.mark.parametrize(
    ("policy", "automatic"), [("never", "false"), ("marker", "false"), ("04:30", "true")]
)
def test_only_a_time_of_day_reboots(plan, content_of, policy, automatic):
    text = content_of(plan({"reboot": policy}), "/etc/apt/apt.conf.d/52mailwright")
    assert f'Automatic-Reboot "{automatic}";' in text
    assert ('Automatic-Reboot-Time "04:30";' in text) == (policy == "04:30")


@pytest.mark.parametrize("policy", ["24:00", "4:30", "soon", "04:30\n"])
def test_other_reboot_policies_are_mistakes(plan, policy):
    with pytest.raises(ValueError, match="reboot"):
        plan({"reboot": policy})


def test_administrators_get_their_keys_and_sudo(plan, content_of):
    done = plan(admins=[{"name": "ann", "keys": [KEY]}])
    (ann,) = (user for user in done.merged.users if not user.system)
    assert (ann.keys, ann.groups, ann.system) == ((KEY,), ("sudo",), False)
    assert "ann ALL=(ALL:ALL) NOPASSWD: ALL\n" in content_of(done, base.SUDOERS)
    assert f"{base.ADMINS}/ann" in {f.path for f in done.merged.files}


def test_the_operators_own_login_cannot_be_forbidden(plan):
    with pytest.raises(FleetError, match="shut out the operator"):
        plan({"root_login": "no"})
    plan({"root_login": "no"}, machine={"ssh": {"user": "ann"}})


def test_sshd_takes_keys_only_and_leaves_its_port_alone(plan, content_of):
    lines = content_of(plan(machine={"ssh": {"port": 2222}}), base.SSHD).splitlines()
    assert {"PermitRootLogin prohibit-password", "PasswordAuthentication no"} <= set(lines)
    assert not [line for line in lines if line.startswith(("Port ", "AllowUsers", "ListenAddress"))]


@pytest.mark.parametrize(("debian", "there"), [(12, False), (13, True)])
def test_admin_networks_are_never_penalised_where_sshd_knows_penalties(plan, content_of, debian, there):
    done = plan(machine={"debian": debian}, networks={"admin": ["203.0.113.1/32"]})
    assert ("PerSourcePenaltyExemptList 203.0.113.1/32" in content_of(done, base.SSHD)) == there


def test_ssh_is_declared_where_the_operator_connects(plan):
    (port,) = plan(machine={"ssh": {"port": 2222}}).merged.ports
    assert (port.number, port.proto, port.audience) == (2222, "tcp", "admin")


# As Debian 13 has it: an sshd that systemd handed its port ends when it is to reload, even when systemd has
# closed that port since; a socket does not start beside a service that runs; and of a service that runs
# systemd knows no more once it is enabled, because its alias sshd.service is a name that others mention.
SYSTEMCTL = """#!/bin/sh
cd {0}
echo "$*" >>asked
case "$*" in
  "-q is-active ssh.socket") [ -e listens ] ;;
  "-q is-enabled ssh.service") [ -e enabled ] ;;
  "stop ssh.socket ssh.service") rm -f listens runs inherited ;;
  "stop ssh.service") rm -f runs ;;
  "-q enable ssh.service") [ ! -e runs ] && : >enabled ;;
  "-q disable ssh.service") [ ! -e runs ] && rm enabled ;;
  "start ssh.socket") [ ! -e runs ] && : >listens ;;
  "start ssh.service") : >runs ;;
  "reload ssh.service") [ -e runs ] && [ ! -e inherited ] ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture
def exchange(tmp_path, plan, monkeypatch):
    """The state of systemd, as names of files, and a function that runs texts of the guard."""
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(state))
    (tmp_path / "systemctl").chmod(0o755)
    (state / "runs").touch()
    texts = {}
    monkeypatch.setattr(base.op, "guarded", lambda *_, **given: texts.update(given))
    for name in ("files", "shell", "units"):
        monkeypatch.setattr(base.op, name, lambda *_, **__: None)
    base.apply(plan().contexts["base"])
    path = f"{tmp_path}:{os.environ['PATH']}"

    def present():
        return {file.name for file in state.iterdir()} - {"asked"}

    def run(*names):
        text = "\n".join(("set -eu", *(texts[name] for name in names)))
        return subprocess.run(["sh", "-c", text], cwd=tmp_path, env={"PATH": path}, check=False).returncode

    return state, present, run


@pytest.mark.parametrize("enabled", [(), ("enabled",)])
def test_sshd_listens_itself_before_it_takes_a_new_configuration(exchange, enabled):
    state, present, run = exchange
    before = {"runs", "listens", "inherited", *enabled}
    for name in before:
        (state / name).touch()
    assert run("holds") == 1
    assert run("save", "activate", "holds") == 0
    assert present() == {"runs", "enabled"}
    assert run("revert") == 0  # as nobody could log in any more
    assert present() == {"listens", *enabled}  # whose next connection starts it


def test_an_sshd_that_listens_itself_is_only_told_to_reload(exchange):
    state, present, run = exchange
    (state / "enabled").touch()
    assert run("holds") == 0
    assert run("save", "activate", "revert") == 0
    assert present() == {"runs", "enabled"}
    asked = (state / "asked").read_text().splitlines()
    assert [line for line in asked if " is-" not in line] == ["reload ssh.service"] * 2


def test_an_sshd_that_the_next_boot_would_not_start_is_enabled_while_it_is_stopped(exchange):
    _, present, run = exchange
    assert run("holds") == 1
    assert run("save", "activate", "holds") == 0
    assert present() == {"runs", "enabled"}
    assert run("revert") == 0
    assert present() == {"runs"}


def test_systemd_does_not_listen_for_sshd_after_the_next_boot_either(plan):
    units = {unit.name: unit for unit in plan().merged.units}
    assert units["ssh.socket"].masked
    assert units["ssh.service"].enabled


def test_weak_sshd_settings_are_named():
    said = (
        "passwordauthentication yes\nkbdinteractiveauthentication no\npermitrootlogin yes\n"
        "permitemptypasswords no\nkexalgorithms curve25519-sha256,ecdh-sha2-nistp256\n"
        "ciphers aes256-gcm@openssh.com,aes128-cbc\nmacs hmac-sha2-256,hmac-sha1\n"
    )
    settings = ["passwordauthentication yes", "permitrootlogin yes"]
    assert weaknesses(said) == [*settings, "ecdh-sha2-nistp256", "aes128-cbc", "hmac-sha1"]


def test_a_clock_that_is_off_is_found(monkeypatch):
    asked = 1_000_000.0
    monkeypatch.setattr(base.time, "time", lambda: asked + 100)  # the machine was busy
    assert base._clock(Result(0, "1000110\n", "", asked)) is None
    assert "600 seconds" in base._clock(Result(0, "1000700\n", "", asked))
    assert "600 seconds" in base._clock(Result(0, "999400\n", "", asked))
    unsynchronised = Result(0, "1000000\nLeap status     : Not synchronised\n", "", asked)
    assert "not synchronised" in base._clock(unsynchronised)


def test_held_and_pinned_packages_are_named_by_the_fleet_file(plan, content_of):
    done = plan({"hold": ["postfix"], "pins": {"haproxy": "3.0.*"}})
    assert f"{base.HOLDS}/postfix" in {f.path for f in done.merged.files}
    assert "Package: haproxy\nPin: version 3.0.*\nPin-Priority: 990\n" in content_of(done, base.PINS)
    assert "Package:" not in content_of(plan(), base.PINS)


@pytest.mark.parametrize(
    "settings", [{"hold": ["post fix"]}, {"hold": ["$(id)"]}, {"pins": {"haproxy": "3\nPackage: *"}}]
)
def test_what_is_no_package_or_version_cannot_be_held_or_pinned(plan, settings):
    with pytest.raises(ValueError, match=r"hold|pins"):
        plan(settings)


def test_verify_names_packages_that_are_not_held(plan):
    done = plan({"hold": ["postfix", "dovecot-core"]})
    check = next(c for c in base.checks(done.contexts["base"]) if c.name == "packages are held")
    assert check.judge(Result(0, "", "")) is None
    assert check.judge(Result(0, "install installed postfix\n", "")) == "not held: postfix"


def test_unattended_upgrades_leave_what_others_want_to_exchange_with_care(plan_of, content_of):
    careful = Role(
        "careful",
        Settings,
        lambda _: None,
        needs=lambda _: Needs(packages=(Package("haproxy", unattended=False),)),
    )
    text = content_of(plan_of(base.ROLE, careful, settings={"base": {}, "careful": {}}), base.UPDATES)
    assert 'Package-Blacklist {\n    "^haproxy$";\n};' in text

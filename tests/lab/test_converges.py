"""A deployed fleet is what its needs say, stays so, and each way of spoiling it is seen for what it is."""

import json
import re
import shutil

import pytest
from ruamel.yaml import YAML

from tests.lab.deploying import UNLOCKED, changes, deploy, mailwright, pyinfra_command, run, verify

# Debian 13 and Debian 12, with the same roles.
TWINS = ("out1", "out2")


@pytest.fixture(scope="module")
def inventory(deployed):
    """The fleet file of the deployed lab."""
    return deployed.plan.file


@pytest.mark.proof("a second deploy changes nothing, on Debian 12 and 13")
def test_a_second_deploy_changes_nothing(inventory, lab):
    results = deploy(inventory)
    assert changes(results) == {}
    # Debian 12 and 13 alike: every machine took part.
    assert len({name for o in results["operations"] for name in o["no_change"]}) == len(
        lab.plan.fleet.machines
    )


@pytest.mark.proof("a second plan is empty, for machines and zones")
def test_a_second_plan_is_empty_for_machines_and_zones(inventory, lab):
    done = mailwright("plan", "--json", inventory)
    assert done.returncode == 0, done.stdout
    plan = json.loads(done.stdout)
    assert [m["machine"] for m in plan["machines"] if m["changes"] or m["problem"]] == []
    assert [z["zone"] for z in plan["zones"] if z["changes"]] == []
    assert len(plan["zones"]) == len(lab.plan.fleet_zones)


def test_a_second_apply_has_nothing_to_do(inventory):
    done = mailwright("apply", inventory)  # and therefore does not ask
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True), done.stderr


def test_the_whole_fleet_verifies(inventory):
    assert verify(inventory) == {}


def test_an_unreachable_machine_is_unknown_and_not_wrong(inventory, lab):
    lab.host("util1").run("systemctl stop ssh.socket ssh.service").require()
    try:
        done = mailwright("verify", inventory, "--limit", "util1")
        assert (done.returncode, "1 machine unknown" in done.stdout) == (3, True), done.stdout
    finally:
        lab.host("util1").run("systemctl start ssh.service").require()
        lab.host("util1").wait_for_ssh()


# A listener without a package: perl-base is essential in Debian. No `$`, which systemd would expand.
LISTENER = (
    "systemd-run --quiet --collect --unit=sabotage perl -MIO::Socket::INET -e "
    "'@a = (IO::Socket::INET->new(LocalPort => 4711, Listen => 1)) or die; sleep 600'; "
    "until ss -Hltn | grep -q :4711; do systemctl --quiet is-active sabotage || exit 1; sleep 0.05; done"
)

# What is done to a machine, and the items that must turn red: these and no others.
SABOTAGE = {
    "edited file": ("echo '# edited' >>/etc/postfix/virtual", {"file-/etc/postfix/virtual", "unit-postfix"}),
    "mode of a file": ("chmod 0666 /etc/postfix/senders", {"file-/etc/postfix/senders", "unit-postfix"}),
    "owner of a directory": ("chown nobody /etc/cloud/cloud.cfg.d", {"directory-/etc/cloud/cloud.cfg.d"}),
    "removed file": ("rm /etc/apt/apt.conf.d/52mailwright", {"file-/etc/apt/apt.conf.d/52mailwright"}),
    "stopped unit": ("systemctl stop unattended-upgrades.service", {"unit-unattended-upgrades.service"}),
    "disabled unit": ("systemctl disable --quiet unbound.service", {"unit-unbound.service"}),
    "open port": (LISTENER, {"listeners"}),
    "removed package": (f"{UNLOCKED}; dpkg --remove --force-depends needrestart", {"package-needrestart"}),
}


@pytest.mark.parametrize("kind", SABOTAGE)
def test_sabotage_is_seen_for_what_it_is(inventory, lab, kind):
    spoil, expected = SABOTAGE[kind]
    try:
        for machine in TWINS:
            lab.host(machine).run(spoil, timeout=150).require()
        wrong = verify(inventory, *TWINS)
        for machine in TWINS:
            mine = {_short(name, machine) for name in wrong if name.startswith(f"{machine}-")}
            assert mine == expected, wrong
    finally:
        for machine in TWINS:
            lab.host(machine).run("systemctl stop sabotage.service")
        deploy(inventory, *TWINS)


def test_a_deploy_undoes_all_of_it(inventory):
    assert verify(inventory, *TWINS) == {}


def _short(name, machine):
    """Without the machine; postfix's own unit is an instance's on Debian 12."""
    return re.sub(r"^unit-postfix(@-)?\.service$", "unit-postfix", name.removeprefix(f"{machine}-"))


def test_a_machine_of_another_release_is_left_alone(lab, inventory, tmp_path):
    """One line, and nothing is changed: not by pyinfra, nor by the commands around it."""
    fleet = YAML().load(inventory.read_text())
    next(m for m in fleet["machines"] if m["name"] == "util1")["debian"] = 13
    YAML().dump(fleet, (tmp_path / "wrong.yaml").open("w"))
    shutil.copy(inventory.with_suffix(".py"), tmp_path / "wrong.py")
    host = lab.host("util1")
    host.run("echo 'spoilt by hand' >>/etc/nftables.conf").require()
    state = "find / -xdev -newer /etc/nftables.conf -type f -not -path '/var/log/*' -not -path '/run/*'"
    line = "the fleet says Debian 13, the machine is debian 12"
    try:
        for argv in (
            pyinfra_command(tmp_path / "wrong.yaml", "-y", "--limit", "util1"),
            ["mailwright", "plan", "--no-dns", "--limit", "util1", str(tmp_path / "wrong.yaml")],
            ["mailwright", "apply", "--yes", "--no-dns", "--limit", "util1", str(tmp_path / "wrong.yaml")],
        ):
            done = run(argv) if "pyinfra" in argv[0] else mailwright(*argv[1:])
            said = [text for text in (done.stdout + done.stderr).splitlines() if line in text]
            assert (done.returncode, len(said)) == (1, 1), done.stdout + done.stderr
            assert "Traceback" not in done.stdout + done.stderr
        assert host.run(state).stdout == ""
    finally:
        deploy(inventory, "util1")

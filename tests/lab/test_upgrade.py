"""Packages are upgraded machine by machine while the fleet serves; a bad update reaches one machine only.

The updates are the test's own: hosts have an archive of small packages in the place of Debian's for as long.
"""

import json
import os
import random
import subprocess

import pytest

from mailwright.lab.shell import wait_until
from tests.lab.balancing import Balanced
from tests.lab.debs import Archive, Deb, versions
from tests.lab.deploying import command, limits
from tests.lab.killing import SEED, kill_somewhere
from tests.lab.serving import under_load
from tests.lab.variants import environment, repository

MINUTES = 8

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "1"))
CODENAMES = {12: "bookworm", 13: "trixie"}
NAMES = ("mw-daemon", "mw-library", "mw-kernel")
CONF = "/etc/mw-daemon.conf"
LEFT = ("/run/reboot-required", "/run/reboot-required.pkgs", "/run/mw-daemon")
UNIT = """\
[Service]
ExecStart=/bin/sh -c 'echo {version} >/run/mw-daemon; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""
# Debian's tools for it, which ask policy-rc.d (deb-systemd-invoke(1p)); a daemon that is stopped before its
# files are exchanged, and started afterwards.
STOP = 'if [ "$1" = upgrade ]; then deb-systemd-invoke stop mw-daemon.service; fi'
START = "systemctl daemon-reload; systemctl -q enable mw-daemon; deb-systemd-invoke start mw-daemon.service"
REBOOT = "touch /run/reboot-required; echo mw-kernel >>/run/reboot-required.pkgs"
# Deploys do not touch it, and the suite sees what it does.
BAD = {"/etc/apt/apt.conf.d/99-mw-bad": "#clear Unattended-Upgrade::Origins-Pattern;\n"}


def daemon(version, **more):
    files = {"/lib/systemd/system/mw-daemon.service": UNIT.format(version=version), CONF: f"of {version}\n"}
    files |= more.pop("files", {})
    return Deb("mw-daemon", version, files, (CONF,), prerm=STOP, postinst=START, **more)


def library(version):
    return Deb("mw-library", version, {"/usr/share/mw-library": version}, security=True)


def kernel(version, *, reboot):
    return Deb("mw-kernel", version, postinst=REBOOT if reboot else "")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The roles as they are now."""
    return repository(tmp_path_factory.mktemp("roles") / "tree")


@pytest.fixture(scope="module")
def pool(deployed, site):
    """The submission pool."""
    balanced = Balanced(deployed, site)
    balanced.begin()
    yield balanced
    balanced.take_back()
    balanced.wait_until_whole()


@pytest.fixture(scope="module")
def archives(site, pool, tmp_path_factory):
    """The archives of two sending hosts, whose packages are installed as of version 1."""
    folder = tmp_path_factory.mktemp("one")
    made = [Archive(host, CODENAMES[site.fleet.machine(host.name).debian]) for host in pool.members[:2]]
    try:
        for archive in made:
            archive.publish(folder, daemon("1"), library("1"), kernel("1", reboot=False))
            install = f"apt-get -qq -y install {' '.join(NAMES)}"
            archive.host.run(f"apt-get -qq update && {install}", timeout=300).require()
            archive.host.run(f"apt-mark auto mw-library; echo ours >{CONF}").require()
        yield made
    finally:
        for archive in made:
            archive.host.run(f"rm -f {' '.join(LEFT)}; systemctl disable --now mw-daemon")
            archive.close(*NAMES)


def command_line(inventory, hosts, *options):
    names = limits(host.name for host in hosts)
    return command("mailwright", "upgrade", inventory, *names, *(options or ["--yes"]))


def upgrade(tree, inventory, hosts, *options):
    done = subprocess.run(
        command_line(inventory, hosts, *options),
        cwd=tree,
        env=environment(tree),
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)  # noqa: T201 - the story, where a test fails
    return done


def boot(host):
    return host.run("cat /proc/sys/kernel/random/boot_id").require().stdout


@pytest.mark.rounds
@pytest.mark.proof("packages are upgraded under load, host by host with a reboot, and nothing is lost")
def test_an_upgrade_goes_through_the_fleet_while_it_serves(
    deployed, site, pool, tree, archives, tmp_path, evidence
):
    hosts, choose = [archive.host for archive in archives], random.Random(SEED)  # noqa: S311 - to be repeated
    for archive in archives:
        reboots = archive is archives[0]
        archive.publish(tmp_path, daemon("2"), library("2"), kernel("2", reboot=reboots))
    # A dpkg that was cut short between unpacking and configuring.
    hosts[1].run("dpkg --unpack /srv/updates/plain/mw-kernel_2.deb").require()
    before = [boot(host) for host in hosts]
    inventory = deployed.plan.file
    with under_load(deployed, site, pool, tmp_path, evidence):
        for _ in range(KILLS):
            line = command_line(inventory, hosts)
            point = kill_somewhere(line, choose, among=range(2, 10), cwd=tree, env=environment(tree))
            evidence(f"killed {point}")
        done = upgrade(tree, inventory, hosts)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert pool.whole()
    for host in hosts:
        assert versions(host, *NAMES) == dict.fromkeys(NAMES, "2")
        assert host.read("/run/mw-daemon") == b"2\n"  # it was stopped for the upgrade, and runs again
        assert host.read(CONF) == b"ours\n"
        assert "mw-library" in host.run("apt-mark showauto").stdout.split()
    assert [boot(host) == was for host, was in zip(hosts, before, strict=True)] == [False, True]
    again = upgrade(tree, inventory, hosts)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "nothing to do")


@pytest.mark.proof("an update that turns the suite red stops at the first host; the next one never gets it")
def test_a_bad_update_reaches_one_host_and_no_other(deployed, site, pool, tree, archives, tmp_path, evidence):
    first, second = (archive.host for archive in archives)
    inventory = deployed.plan.file
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    was = versions(second, *NAMES)
    for archive in archives:
        archive.publish(tmp_path / "bad", daemon("3", files=BAD), library("3"))
    with under_load(deployed, site, pool, tmp_path, evidence):
        done = upgrade(tree, inventory, [first, second])
        assert done.returncode == 1
        assert f"drained: {first.name}; the others serve" in done.stderr.splitlines()
        assert versions(first, "mw-daemon") == {"mw-daemon": "3"}
        assert versions(second, *NAMES) == was
        assert not pool.serves(first.name)
        assert all(pool.serves(host.name) for host in pool.members if host is not first)
        for archive in archives:
            archive.publish(tmp_path / "good", daemon("4"), library("4"))
        healed = upgrade(tree, inventory, [first, second])
    assert healed.returncode == 0, healed.stdout[-2000:] + healed.stderr[-4000:]
    assert f"{first.name}  was left drained by a run that was stopped: it is gone on with" in healed.stdout
    assert [versions(host, "mw-daemon") for host in (first, second)] == [{"mw-daemon": "4"}] * 2
    assert pool.whole()
    evidence(next(line for line in done.stderr.splitlines() if line.startswith(f"{first.name}: the suite")))


def test_security_updates_alone_leave_the_others_pending(deployed, pool, tree, archives, tmp_path):
    first, inventory = archives[0].host, deployed.plan.file
    archives[0].publish(tmp_path, daemon("5"), library("5"))
    done = upgrade(tree, inventory, [first], "--security", "--yes")
    assert done.returncode == 0, done.stderr[-4000:]
    installed = versions(first, "mw-daemon", "mw-library")
    assert installed["mw-library"] == "5"
    assert installed["mw-daemon"] != "5"
    assert "mw-library" in first.run("apt-mark showauto").stdout.split()
    plan = upgrade(tree, inventory, [first], "--json")
    (machine,) = json.loads(plan.stdout)
    assert plan.returncode == 2
    assert [(u["package"], u["to"], u["security"]) for u in machine["updates"]] == [("mw-daemon", "5", False)]
    assert pool.whole()


def test_whoever_works_on_the_packages_is_waited_for(deployed, tree, archives):
    """Here a lock like that of unattended-upgrades."""
    first = archives[0].host
    hold = (
        "import fcntl,os,time; f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f,fcntl.LOCK_EX);"
        "open('/run/mw-held','w').close()\nwhile os.path.exists('/run/mw-held'): time.sleep(0.1)"
    )
    first.run(["systemd-run", "--unit=mw-holder", "--collect", "python3", "-c", hold]).require()
    wait_until(lambda: first.exists("/run/mw-held"), "the lock is held", timeout=10)
    waiting = subprocess.Popen(
        command_line(deployed.plan.file, [first], "--json"),
        cwd=tree,
        env=environment(tree),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = next(line for line in waiting.stderr if "waiting for it" in line)
        assert waiting.poll() is None
    finally:
        first.run(["rm", "-f", "/run/mw-held"]).require()
    assert waiting.wait(120) in (0, 2)
    assert said.startswith(f"{first.name}: python3 (process ")

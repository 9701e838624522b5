"""Pins that a lab comes up from any state, lives beside others, and leaves nothing when it goes.

These tests use labs of their own, with one machine each, and not the shared one.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mailwright.lab import network, processes, remains
from mailwright.lab.derive import write_fleet
from mailwright.lab.images import Image, build
from mailwright.lab.lab import Lab
from mailwright.lab.paths import IMAGES, lab_state
from mailwright.lab.shell import run
from mailwright.model.errors import LabError
from tests.lab.conftest import FLEET, section
from tests.lab.deploying import command, mailwright

MINUTES = 3

NAME, OTHER = "lifea", "lifeb"


def small(folder, name, number):
    """The fleet file of a lab with the last machine of the usual fleet alone."""
    file = write_fleet(FLEET, section(name, number), folder)
    data = YAML().load(file)
    data["machines"] = [m for m in data["machines"] if m["name"] in ("mx1", "util1")][-1:]
    data["senders"] = data["pools"] = []  # it has nobody to submit to
    del data["backup"]
    for domain in data["domains"]:  # what they say of the machines that are gone
        for key in {"mx", "mta_sts", "clients", "links"} & domain.keys():
            del domain[key]
    YAML().dump(data, file)
    return file


@pytest.fixture
def fleet(tmp_path):
    """The fleet file of a lab that does not exist before nor after the test."""
    _gone(NAME)
    yield small(tmp_path, NAME, 250)
    _gone(NAME)


def _gone(name):
    if name in remains.labs():
        remains.destroy(name)


def traces(name):
    """Everything on this machine that speaks of a lab by its name."""
    links = json.loads(run(["ip", "-json", "link", "show"]))
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    state = str(lab_state(name))
    run_files = [p for p in Path("/run/systemd/nspawn").rglob("*") if p.name.startswith(f"{name}-")]
    groups = [
        g for h in ("systemd", "unified") for g in Path("/sys/fs/cgroup", h, "mailwright").glob(f"*-{name}*")
    ]
    return {
        "processes": [argv for argv in _arguments() if f"{state}/" in argv or f"--machine={name}-" in argv],
        "interfaces": [
            n for n in (link["ifname"] for link in links) if n == f"mw-{name}" or f"vb-{name}-" in n
        ],
        "mounts": [mount for mount in mounts if f"{state}/" in mount],
        "files": [state] if lab_state(name).exists() else [],
        "run files": run_files,
        "control groups": groups,
    }


def _arguments():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue


def _locked():
    """Inodes of the disks that systemd-nspawn has lock files for."""
    return {int(p.name.rpartition(":")[2]) for p in Path("/run/systemd/nspawn/locks").glob("inode-*")}


def nothing(name):
    return {kind: [] for kind in traces(name)}


def test_twice_up_is_once_up(fleet):
    lab = Lab.open(fleet)
    lab.up()
    before = {host.name: host.container.leader for host in lab.hosts}
    files = {p: p.stat().st_ino for p in lab.plan.state.glob("*") if p.is_file()}
    lab.up()
    assert {host.name: host.container.leader for host in lab.hosts} == before
    assert {p.name for p in files} >= {"anchors", "identity", "secrets.age", "tsig"}
    assert (lab.plan.state / "secrets.age").stat().st_ino == files[lab.plan.state / "secrets.age"]


def test_down_stops_everything_and_keeps_the_disks(fleet):
    lab = Lab.open(fleet)
    lab.up()
    lab.host("util1").run("echo kept >/root/note && sync").require()
    lab.down()
    assert traces(NAME) == nothing(NAME) | {"files": [str(lab.plan.state)]}
    lab.up()
    assert lab.host("util1").read("/root/note") == b"kept\n"


def test_destroy_leaves_nothing_even_of_a_lab_without_its_fleet_file(fleet):
    lab = Lab.open(fleet)
    lab.up()
    assert all(traces(NAME)[kind] for kind in ("processes", "interfaces", "files", "control groups"))
    disks = {(host.container.directory / "upper").stat().st_ino for host in lab.hosts}
    assert _locked() >= disks
    fleet.unlink()
    done = mailwright("lab", "destroy", "--name", NAME)
    assert done.returncode == 0, done.stderr
    assert traces(NAME) == nothing(NAME)
    assert not _locked() & disks


def test_two_labs_live_side_by_side_and_one_goes_alone(fleet, tmp_path):
    other = Lab.open(small(tmp_path, OTHER, 251))
    lab = Lab.open(fleet)
    try:
        lab.up()
        other.up()
        lab.destroy()
        assert traces(NAME) == nothing(NAME)
        assert {row["state"] for row in other.status()} == {"up"}
        packages = "apt-get -qq update && apt-get -qq -y --download-only install hello"
        other.host("util1").run(packages, timeout=300).require()
    finally:
        _gone(OTHER)


def test_a_lab_cannot_take_the_network_of_another(fleet, tmp_path):
    Lab.open(fleet).up()
    thief = write_fleet(FLEET, section(OTHER, 250), tmp_path / "thief")
    try:
        with pytest.raises(LabError, match=f"198.18.250.0/24 is already the network of mw-{NAME}"):
            Lab.open(thief).up()
    finally:
        _gone(OTHER)


@pytest.mark.parametrize("seconds", [0.8, 1.4, 2.0, 2.8])
def test_an_up_that_was_killed_is_finished_by_the_next(fleet, seconds):
    killed = subprocess.Popen(command("mailwright", "lab", "up", "--fleet", fleet), stderr=subprocess.DEVNULL)
    time.sleep(seconds)  # how far it got does not matter: any point must do
    killed.kill()
    killed.wait()
    lab = Lab.open(fleet)
    lab.up()
    assert {row["state"] for row in lab.status()} == {"up"}


def test_an_up_that_was_killed_is_destroyed_without_a_trace(fleet):
    killed = subprocess.Popen(command("mailwright", "lab", "up", "--fleet", fleet), stderr=subprocess.DEVNULL)
    time.sleep(1.5)  # as above
    killed.kill()
    killed.wait()
    _gone(NAME)
    assert traces(NAME) == nothing(NAME)


def test_a_cable_that_outlives_its_host_is_in_nobodys_way(fleet):
    run(["ip", "link", "add", f"vb-{NAME}-util1", "type", "veth", "peer", "name", "late"])
    try:
        lab = Lab.open(fleet)
        lab.up()
        assert lab.host("util1").answers()
    finally:
        subprocess.run(["ip", "link", "delete", "late"], capture_output=True, check=False)


def test_up_repairs_what_broke(fleet):
    lab = Lab.open(fleet)
    lab.up()
    util, ns = lab.host("util1"), lab.host("ns")
    survivor = ns.container.leader
    processes.kill_unit(util.container.unit)  # a host that died
    network.remove_bridge(lab.plan.bridge)  # and the network of those that live
    assert not ns.answers()
    lab.up()
    assert ns.container.leader == survivor
    assert {row["state"] for row in lab.status()} == {"up"}


def test_a_host_that_locks_us_out_is_restarted_with_its_disk(fleet):
    lab = Lab.open(fleet)
    lab.up()
    host = lab.host("util1")
    host.run("echo kept >/root/note && systemctl stop ssh.service ssh.socket").require()
    lab.up()
    assert (host.answers(), host.read("/root/note")) == (True, b"kept\n")


def test_a_disk_that_is_half_made_is_made_anew(fleet):
    lab = Lab.open(fleet)
    lab.up()
    lab.down()
    host = lab.host("util1")
    (host.container.directory / "image").unlink()  # the mark of a whole disk, written last
    (host.container.directory / "upper/etc/hostname").unlink()
    lab.up()
    assert host.read("/etc/hostname") == b"util1\n"


def test_the_world_follows_the_fleet_file_and_keeps_what_was_published(fleet):
    lab = Lab.open(fleet)
    lab.up()
    zones, ns = set(lab.plan.fleet_zones), lab.host("ns")
    ns.run(
        "knotc -f zone-begin brightpost.example. && knotc zone-set brightpost.example. trial 60 TXT here"
    ).require()
    ns.run("knotc zone-commit brightpost.example.").require()
    data = YAML().load(fleet)
    data["domains"].append({"name": "newpost.example", "provider": "knot"})
    YAML().dump(data, fleet)
    grown = Lab.open(fleet)
    grown.up()
    assert set(grown.plan.fleet_zones) - zones == {"newpost.example."}
    assert grown.ns.values("newpost.example.", "DS")
    assert grown.ns.values("trial.brightpost.example.", "TXT") == ['"here"']


def test_a_reset_host_is_bare_at_the_same_address_with_the_same_key(fleet):
    lab = Lab.open(fleet)
    lab.up()
    host = lab.host("util1")
    birth = host.read("/etc/machine-id")
    host.run("touch /etc/trace && systemctl mask ssh.service").require()
    host.reset()
    assert not host.exists("/etc/trace")
    assert host.read("/etc/machine-id") != birth
    assert host.answers()  # with strict host key checking


def test_a_snapshot_brings_back_what_was(fleet):
    lab = Lab.open(fleet)
    lab.up()
    host = lab.host("util1")
    host.run("mkdir /srv/a && echo one >/srv/a/file && rm /etc/logrotate.conf").require()
    host.snapshot("one")
    host.run("echo two >/srv/a/file && echo new >/etc/logrotate.conf").require()
    host.restore("one")
    assert (host.read("/srv/a/file"), host.exists("/etc/logrotate.conf")) == (b"one\n", False)
    with pytest.raises(LabError, match="util1 has no snapshot named two"):
        host.restore("two")


def test_programs_of_the_controller_can_use_a_hosts_network(fleet):
    lab = Lab.open(fleet)
    lab.up()
    host = lab.host("outside")
    said = host.in_network(["ip", "-brief", "address", "show", "host0"]).require().stdout
    assert str(host.host.ipv4) in said


def test_an_image_build_that_was_killed_leaves_nothing_that_counts(fleet):
    archive = Lab.open(fleet).archive
    image = Image("killed", "bookworm", archive, ("hello",), parent=Lab.open(fleet).host("util1").image)
    child = os.fork()
    if child == 0:
        build(image)
        os._exit(0)
    half = IMAGES / ".half-killed/root/var/lib/apt/lists"
    processes.wait_until(half.exists, "the build is under way")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    processes.wait_until(lambda: not [a for a in _arguments() if ".half-killed" in a], "its children end")
    assert not image.exists
    try:
        build(image)
        assert (image.place / "usr/bin/hello").exists()
    finally:
        for place in (image.place, IMAGES / ".lock-killed"):
            run(["rm", "-rf", str(place)])

"""Pins the other kinds of stores: a Debian 12 machine behind a forced SSH command, an SFTP server, and S3.

Each is the lab's fleet with another `backup` section, deployed to the machines that this concerns.
"""

import json
import shlex

import pytest

from mailwright.command.inventory import open_site
from mailwright.lab import keys
from mailwright.lab.world.depot import BUCKET, S3_PORT
from mailwright.repositories import REPOSITORIES, account
from tests.lab.deploying import changes, deploy, verify
from tests.lab.storing import Stored, contents
from tests.lab.variants import variant

MINUTES = 4

pytestmark = pytest.mark.slow
LABEL = "before-stores"
ID = 64 * "a"
BRIDGE = """
import socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 8765))
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    subprocess.Popen(sys.argv[1:], stdin=client, stdout=client, stderr=subprocess.DEVNULL)
    client.close()
"""
"""Each connection becomes a session of the program in its arguments."""


@pytest.fixture(scope="module")
def others(deployed, site):
    """(the keeper, a Debian 12 machine without backups, a machine with them): as they were afterwards."""
    small = [m for m in site.fleet.machines if "backup" in m.roles and m.name != "util1"]
    maker = min(small, key=lambda m: (len(m.roles), -m.debian))
    hosts = [deployed.host(name) for name in (site.fleet.backup.kept_by, "util1", maker.name)]
    for host in hosts:
        host.snapshot(LABEL)
    yield hosts
    for host in hosts:
        host.restore(LABEL)


@pytest.fixture(scope="module")
def deployed_as(deployed, others, tmp_path_factory):
    """Returns a function: an edit of the fleet's data to its site, deployed to these machines."""

    def made(edit):
        file = variant(deployed, tmp_path_factory.mktemp("store"), edit)
        deploy(file, *(host.name for host in others))
        assert not changes(deploy(file, *(host.name for host in others)))
        return open_site(file), file

    return made


def roles(fleet, name):
    return next(m["roles"] for m in fleet["machines"] if m["name"] == name)


def round_trip(stored, evidence):
    """A backup by the machine arrives, is seen, pruned and checked by the keeper, and can be had back."""
    first = stored.back_up("kept by somebody\n")
    assert first in stored.snapshots()
    stored.keeper("prune").require()
    stored.keeper("check").require()
    assert stored.restored(first) == "kept by somebody\n"
    stored.restic("restore", first, "--target", "/root/back").require()
    assert stored.host.read("/root/back/root/kept/file") == b"kept by somebody\n"
    keys_ = json.loads(stored.keeper("restic", "key", "list", "--json").require().stdout)
    assert len(keys_) == 2
    evidence(f"{stored.reached.environment['RESTIC_REPOSITORY']}: stored, pruned, checked, restored")


@pytest.fixture(scope="module")
def over_ssh(deployed, deployed_as, others):
    """(attacker, victim): util1 with Debian 12 is the store of two machines."""
    vault, util, maker = others

    def edit(fleet):
        fleet["backup"] = {"store": {"type": "host", "machine": util.name}}
        roles(fleet, vault.name).pop("backup_store")
        roles(fleet, vault.name)["backup"] = {}
        roles(fleet, util.name).pop("backup", None)
        roles(fleet, util.name)["backup_store"] = {"reserve": "64M", "quota": "8M"}

    site, file = deployed_as(edit)
    pair = [Stored(deployed, site, host, util) for host in (maker, vault)]
    for one in pair:
        one.file = file
        one.first = one.back_up(f"of {one.name}\n")
    return pair


@pytest.fixture
def untouched(over_ssh):
    """Whatever the test does: all that lay in the store before lies there after, and can be restored."""
    store = over_ssh[0].store
    before = contents(store)
    yield
    after = contents(store)
    assert {path: after.get(path) for path in before} == before
    added = set(after) - set(before)
    assert all(path.startswith(f"{REPOSITORIES}/{over_ssh[0].name}/") for path in added), added
    for one in over_ssh:
        assert one.restored(one.first) == f"of {one.name}\n"


def program(stored):
    """The command line with which restic reaches a store with Debian 12."""
    option = next(o for o in stored.reached.options if o.startswith("rclone.program="))
    return shlex.split(option.partition("=")[2])


@pytest.mark.proof("a store with Debian 12 keeps backups behind a forced SSH command")
def test_a_store_with_debian_12(over_ssh, evidence):
    round_trip(over_ssh[0], evidence)


def test_the_store_with_debian_12_says_of_itself_that_all_is_well(over_ssh):
    store = over_ssh[0].store
    wrong = verify(over_ssh[0].file, store.name)
    assert not [text for item, text in wrong.items() if "backup_store" in text]


@pytest.mark.proof("over SSH a machine that was taken over gets its repository and nothing else")
@pytest.mark.usefixtures("untouched")
def test_ssh_leads_to_the_repository_alone(over_ssh, evidence):
    attacker, victim = over_ssh
    ssh = program(attacker)
    host, options = ssh[-1], ssh[:-1]
    tried = {
        "a command": [*ssh, f"cat {REPOSITORIES}/{victim.name}/config; rm -rf {REPOSITORIES}/*; echo SHELL"],
        "a shell": ssh,
        "a terminal": [*options, "-tt", host, "sh -c 'echo SHELL'"],
        "sftp": [*options, host, "-s", "sftp"],
        "another machine's account": [*options, "-l", account(victim.name), host],
        "root": [*options, "-l", "root", host, "echo SHELL"],
        "a forwarded port": [*options, "-W", "127.0.0.1:22", host],
        "a port forwarded back": [
            *options,
            "-N",
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            "8766:127.0.0.1:22",
            host,
        ],
        "variables": [*options, "-o", "SetEnv=LD_PRELOAD=/x RCLONE_APPEND_ONLY=false", host, "echo SHELL"],
    }
    for what, command in tried.items():
        done = attacker.host.run(
            ["timeout", "-k", "1", "8", *command], stdin="rm -rf /srv/backups\necho SHELL\n"
        )
        assert not done.ok or "SHELL" not in done.stdout, what
        assert "SHELL" not in done.stdout, what
        assert "SSH-2.0" not in done.stdout, what
    copy = [
        "scp",
        *options[1:-4],
        "-P",
        "8000",
        "/etc/hostname",
        f"{account(attacker.name)}@{host}:{REPOSITORIES}/",
    ]
    assert not attacker.host.run(["timeout", "8", *copy]).ok
    evidence(f"{len(tried) + 1} ways tried")


@pytest.mark.proof("rclone behind the forced command refuses to delete and to overwrite")
@pytest.mark.usefixtures("untouched")
def test_rclone_refuses_raw_requests(over_ssh, evidence):
    attacker, victim = over_ssh
    below = f"{REPOSITORIES}/{attacker.name}"
    files = [
        path.removeprefix(f"{below}/") for path in contents(attacker.store) if path.startswith(f"{below}/")
    ]
    stored = [f"{path.split('/')[0]}/{path.rpartition('/')[2]}" for path in files if "/" in path]
    attacker.host.run(["tee", "/root/bridge.py"], stdin=BRIDGE).require()
    start = shlex.join(
        ["systemd-run", "--quiet", "--unit=bridge", "python3", "/root/bridge.py", *program(attacker)]
    )
    attacker.host.run(start).require()
    try:
        seen = {}
        for place in (f"../{victim.name}/config", f"%2e%2e/{victim.name}/config", "../../../etc/passwd"):
            seen[place, "GET"] = raw(attacker, place)
        raw(attacker, "--data-binary", "rubbish", f"../{victim.name}/config")  # lands in the own folder
        for place in ("config", *stored, f"..%2f{victim.name}%2fconfig"):
            for more in (
                ("-X", "DELETE"),
                ("-X", "PUT", "--data-binary", "rubbish"),
                ("--data-binary", "rubbish"),
            ):
                seen[place, more[:2]] = raw(attacker, *more, place)
        passed = {what: status for what, status in seen.items() if not 400 <= status < 600}
        assert not passed
        evidence(f"{len(seen)} requests refused")
    finally:
        attacker.host.run("systemctl stop bridge; rm -f /root/bridge.py")


def raw(attacker, *arguments):
    """The status of one HTTP/2 request through the bridge."""
    *more, place = arguments
    words = ["curl", "-sS", "--http2-prior-knowledge", "--path-as-is", "--noproxy", "*", "--max-time", "20"]
    url = f"http://127.0.0.1:8765/{place}"
    retry = ["--retry", "5", "--retry-connrefused", "--retry-delay", "1"]
    done = attacker.host.in_network([*words, *retry, "-o", "/dev/null", "-w", "%{http_code}", *more, url])
    return int(done.stdout[-3:] or 0)


@pytest.mark.usefixtures("untouched")
def test_restic_over_ssh_destroys_nothing_and_ends_at_the_quota(over_ssh):
    attacker, _ = over_ssh
    kept = attacker.snapshots()
    for command in (("forget", "latest"), ("prune",), ("unlock", "--remove-all"), ("init",)):
        attacker.restic(*command, seconds=10)
    assert kept <= attacker.snapshots()
    attacker.host.run("head -c 67108864 /dev/urandom >/root/kept/large").require()
    done = [attacker.restic("backup", "--quiet", "/root/kept", seconds=60) for _ in range(2)]
    assert "the quota of" in done[-1].stderr
    attacker.host.run(["rm", "/root/kept/large"]).require()
    for one in attacker.snapshots() - kept:
        attacker.keeper("restic", "forget", one).require()
    attacker.keeper("restic", "unlock", "--remove-all").require()
    attacker.keeper("prune").require()
    attacker.back_up("there is room again\n")


@pytest.mark.proof("backups go to somebody's SFTP server, and the keeper prunes and checks them there")
def test_somebodys_sftp_server(deployed, deployed_as, others, evidence):
    vault, _, maker = others
    depot = deployed.host("depot")

    def edit(fleet):
        own = {"type": "sftp", "host": depot.host.address}
        own["host_keys"] = [keys.host_key(deployed.plan, "depot").public]
        fleet["backup"] = {"store": own, "keeper": vault.name}

    round_trip(Stored(deployed, deployed_as(edit)[0], maker, vault), evidence)


@pytest.mark.proof("backups go to an S3 service, and the keeper prunes and checks them there")
def test_somebodys_s3(deployed, deployed_as, others, evidence):
    vault, _, maker = others
    depot = deployed.host("depot")

    def edit(fleet):
        own = {"type": "s3", "endpoint": f"http://{depot.host.address}:{S3_PORT}", "bucket": BUCKET}
        fleet["backup"] = {"store": own, "keeper": vault.name}

    round_trip(Stored(deployed, deployed_as(edit)[0], maker, vault), evidence)

"""A sending host is destroyed with a thousand messages in its queue, and put together again from its backups.

The host takes mail from the world here as well, so that it has Maildirs. Its fleet is the lab's, in a file of
its own, which `rebuild` edits. The old disk is kept, and boots again in the end.
"""

import os
import random
import time
from dataclasses import dataclass

import pytest

from mailwright.command.inventory import open_site
from mailwright.lab import keys
from mailwright.lab.shell import wait_until
from mailwright.lab.world.depot import BUCKET, S3_PORT
from mailwright.model.secrets_store import locate
from mailwright.rebuilding import credentials
from roles.postfix import MAIL
from tests.lab.deploying import ROOT, command, mailwright, verify
from tests.lab.killing import SEED, kill_somewhere
from tests.lab.load import Load, close_provider, load, open_provider, queued
from tests.lab.variants import variant

MINUTES = 7

pytestmark = [pytest.mark.slow, pytest.mark.rounds]

NAME = "out1"
QUEUED = 1000
KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "1"))
DOMAIN = f"{MAIL}/brightpost.example"
MAILDIR = f"{DOMAIN}/bounces"
OLD, NEW = "lost", "rebuilt"
FENCED = "/var/lib/mailwright/fence/replaced"

# What lies below some folders: type, mode, owners by name, xattrs and content, a line each.
MANIFEST = r"""
find {folders} \( -type f -o -type d \) -printf '%y %m %u:%g %p\n' | sort
find {folders} -type f -print0 | sort -z | xargs -0r sha256sum
"""


@pytest.fixture(scope="module", params=os.environ.get("MAILWRIGHT_REBUILD_STORES", "host").split(","))
def fleet(deployed, request, tmp_path_factory):
    """The lab's fleet file with a host that both sends and keeps mail, deployed; and the lab as it was."""

    def edit(data):
        store = stores(deployed).get(request.param)
        for each in data["machines"]:  # whose roles are one and the same where the file has an alias
            mine = {"postfix": {"inbound": True}} if each["name"] == NAME else {}
            gone = "backup" if store and not mine else ""
            each["roles"] = {name: own for name, own in each["roles"].items() if name != gone} | mine
        if store:
            data["backup"] = {"store": store, "keeper": keeper}

    host, keeper = deployed.host(NAME), deployed.plan.fleet.backup.kept_by
    file = variant(deployed, tmp_path_factory.mktemp("rebuild"), edit)
    if request.param != "host":
        deployed.host(keeper).run("systemctl stop mailwright-backup-gate.service")
    apply(file, "--limit", keeper, "--limit", NAME)
    yield file
    open_provider(deployed)
    apply(deployed.plan.file)
    host.run(f"rm -rf {MAIL}; userdel inbound").require()


def stores(lab):
    """Somebody else's storage, as a fleet file names it."""
    address = next(str(i.ip) for i in lab.host("depot").host.interfaces)
    sftp = {"type": "sftp", "host": address, "host_keys": [keys.host_key(lab.plan, "depot").public]}
    return {"sftp": sftp, "s3": {"type": "s3", "endpoint": f"http://{address}:{S3_PORT}", "bucket": BUCKET}}


def apply(file, *arguments):
    done = mailwright("apply", "--yes", file, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def manifest(host, folders):
    return host.run(MANIFEST.replace("{folders}", " ".join(folders))).require().stdout.splitlines()


def keep_mail(host):
    """Maildirs with messages in every state, of the owner and the modes that virtual(8) gives them."""
    host.run(
        f"set -e; install -d -o inbound -g inbound -m 700 {DOMAIN} {MAILDIR}; cd {MAILDIR}\n"
        "install -d -o inbound -g inbound -m 700 new cur tmp\n"
        "for i in $(seq 200); do echo hello $i >new/1700000000.$i.host; done\n"
        "for i in $(seq 50); do echo seen $i >cur/1600000000.$i.host:2,S; done\n"
        "chown inbound:inbound new/* cur/*; chmod 600 new/* cur/*"
    ).require()


@dataclass
class Lost:
    """What a host had when it was destroyed, and whether there is a snapshot of its successor."""

    work: Load
    folders: list[str]
    before: list[str]
    rebuilt: bool = False


def lose(host):
    """The power is cut, the disk is put aside, and a bare host stands there."""
    host.kill()
    host.container.snapshot(OLD)
    host.reset()


@pytest.fixture(scope="module")
def lost(deployed, fleet, tmp_path_factory):
    """What the host had when it was destroyed, right after a snapshot."""
    site, host = open_site(fleet), deployed.host(NAME)
    host.run("postsuper -d ALL").require()  # of a test before
    keep_mail(host)
    folders = [
        path.path
        for path in site.plan(site.fleet.machine(NAME)).merged.backups
        if path.retention == "long" and host.exists(path.path)
    ] + ["/etc/opendkim"]
    close_provider(deployed)
    addresses = site.fleet.machine(NAME).addresses
    with load(
        deployed, site, tmp_path_factory.mktemp("mail"), addresses, count=QUEUED, connections=10
    ) as work:
        statistics = work.finish()
    assert statistics.given_up == statistics.refused == 0
    wait_until(lambda: queued(host) == QUEUED, f"{QUEUED} messages are queued", timeout=30)
    host.run("mailwright-backup run").require()
    # It has learned that the store takes its credentials: of others no refusal says that it was replaced.
    host.run("systemctl start mailwright-fence-watch.service").require()
    # A deploy brings back what the fleet declares, and not what an earlier one has left behind.
    merged = site.plan(site.fleet.machine(NAME)).merged
    declared = {need.path for need in (*merged.files, *merged.directories)}
    before = [
        line
        for line in manifest(host, folders)
        if (path := line.split()[-1]) in declared or not path.startswith("/etc/opendkim/")
    ]
    lose(host)
    found = Lost(work, folders, before)
    yield found
    host.restore(NEW if found.rebuilt else OLD)
    host.run("postsuper -d ALL").require()


def kill_some(fleet, kills):
    """Begin the rebuild, and kill it at points that are drawn: the one that counts goes on from there."""
    choose = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
    for round_ in range(kills):
        argv = command("mailwright", "rebuild", fleet, NAME, "--yes", "--at-once")
        # the first one anywhere in the long work on a bare host, the others before they could come to an end
        point = kill_somewhere(argv, choose, among=range(1, 5 if round_ else 40), cwd=ROOT)
        print(f"MAILWRIGHT_SEED={SEED} round {round_}: killed {point}")  # noqa: T201 - to repeat it


@pytest.mark.proof(
    "a host destroyed with 1,000 messages in its queue is put together again by one command: each message is "
    "delivered once; keys, certificates, Maildirs, owners and modes are what they were"
)
def test_a_destroyed_host_is_rebuilt(deployed, fleet, lost, evidence):
    work = lost.work
    host, text = deployed.host(NAME), fleet.read_bytes()
    open_provider(deployed)
    kill_some(fleet, KILLS if open_site(fleet).fleet.backup.store.type == "host" else 1)
    began = time.time()
    done = mailwright("rebuild", fleet, NAME, "--yes", "--at-once")
    took = time.time() - began
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    opened = fleet.stat().st_mtime
    assert fleet.read_bytes() == text
    account = work.settle(host)
    assert account.kept, account.faults
    assert len(account.accepted) == QUEUED
    assert account.redelivered | account.resent | account.unanswered == frozenset()
    assert min(arrival.at for arrival in work.arrivals()) >= opened, "a closed machine has sent"
    host.run("systemctl start mailwright-certificates.service").require()  # takes what was provisional away
    assert manifest(host, lost.folders) == lost.before
    assert verify(fleet, NAME) == {}
    evidence(f"{took:.0f} s from a bare host: {account}; {len(lost.before)} files and folders compared")


@pytest.mark.proof("the old machine, revived, finds itself replaced and sends nothing")
def test_the_old_machine_sends_nothing_when_it_comes_back(deployed, fleet, lost, evidence):
    work, host = lost.work, deployed.host(NAME)
    host.snapshot(NEW)
    lost.rebuilt = True
    copies = len(work.arrivals())
    host.restore(OLD)
    wait_until(lambda: host.exists(FENCED), "the old machine finds itself replaced", timeout=120)
    assert not host.run("systemctl start postfix.service").ok
    assert host.run("pidof master").stdout == ""
    assert host.run(
        "find /var/spool/postfix/deferred /var/spool/postfix/incoming -type f | wc -l"
    ).stdout.strip() == str(QUEUED)
    assert "has been replaced" in host.run("journalctl -u mailwright-fence -o cat").stdout
    wrong = verify(fleet, NAME)
    assert any("has been replaced" in said for said in wrong.values())
    assert len(work.arrivals()) == copies
    evidence(f"{QUEUED} messages in its queue, 0 sent: {host.read(FENCED).decode().strip()}")
    host.restore(NEW)
    wait_until(lambda: host.run("systemctl is-active postfix.service").ok, "the new one is back", timeout=60)
    assert verify(fleet, NAME) == {}


@pytest.mark.proof("a machine that is replaced while it is cut off stops sending in life")
def test_a_machine_that_is_replaced_in_life_stops_and_a_deploy_heals_it(deployed, fleet, lost):  # noqa: ARG001
    site, host = open_site(fleet), deployed.host(NAME)
    keeper = site.fleet.backup.kept_by
    wait_until(lambda: host.exists("/var/lib/mailwright/fence/known"), "the store knows it", timeout=60)
    makers = credentials.drawn(site, site.fleet.machine(NAME))
    credentials.exchange(locate(site.fleet, fleet), makers)
    apply(fleet, "--limit", keeper)
    host.run("systemctl start mailwright-fence-watch.service").require()
    assert host.exists(FENCED)
    assert host.run("pidof master").stdout == ""
    apply(fleet, "--limit", NAME)
    assert not host.exists(FENCED)
    assert verify(fleet, NAME) == {}

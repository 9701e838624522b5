"""Backups that are killed, cut off or interrupted by a reboot are seen, and mail that moves is in them once.

What it takes to hit a run in the middle is a large file among what is backed up, and a narrow line.
"""

import json
import os
import re
from contextlib import contextmanager

import pytest

from mailwright.lab.shell import wait_until
from roles.backup import CONFIG, METRICS, PROGRAM, UNIT
from tests.lab.deploying import verify
from tests.lab.load import close_provider, load, open_provider, queued

MINUTES = 3

# Debian 13 and 12: restic 0.18 and 0.14.
MACHINES = ("out1", "out2")
LARGE = "/var/lib/mailwright/acme/large"
STAGED = "/var/tmp/mailwright-staged"
CHECK = "check-backup-the last backups went well and are fresh"
DUMPS = int(os.environ.get("MAILWRIGHT_DUMPS", "2"))
MESSAGES, RATE = 300, 30
"""Messages of which half are there before a backup begins, and how many come in a second."""


@pytest.fixture(params=MACHINES)
def host(deployed, request):
    """A machine with a good backup."""
    found = deployed.host(request.param)
    if not all(status(found)[retention]["ok"] for retention in ("long", "short")):
        found.run([PROGRAM, "run"]).require()
    yield found
    found.in_network(["nft", "add table inet cut; delete table inet cut"]).require()
    found.run([PROGRAM, "release"]).require()
    found.run(["rm", "-rf", LARGE, STAGED]).require()


@pytest.fixture
def slowly(host):
    """Returns a context manager: what the host backs up is large in it, and its line narrow."""

    @contextmanager
    def slow(kib=400):
        config = host.read(CONFIG)
        host.run(["sed", "-i", f's/"limit_upload": null/"limit_upload": {kib}/', CONFIG]).require()
        host.run(["dd", "if=/dev/urandom", f"of={LARGE}", "bs=1M", "count=40", "status=none"]).require()
        try:
            yield
        finally:
            host.run(["dd", f"of={CONFIG}", "status=none"], stdin=config.decode()).require()
            host.run(["rm", "-f", LARGE]).require()

    return slow


def status(host):
    return json.loads(host.run([PROGRAM, "status"]).require().stdout)


def metric(host, name, retention="long"):
    text = host.read(METRICS).decode()
    line = rf'^mailwright_backup_{name}{{class="{retention}"}} (.*)$'
    return float(re.search(line, text, re.MULTILINE)[1])


def wait_until_uploading(host):
    """Until packs of the run that goes on have arrived: restic has sent some megabytes."""

    def sent():
        done = host.run("cat /proc/$(pgrep -nx restic)/io")
        return done.ok and int(re.search(r"wchar: (\d+)", done.stdout)[1]) > 2_000_000

    wait_until(sent, "restic sends data", timeout=60, interval=0.2)


def assert_well(deployed, host):
    """The next run recovers: it succeeds, and nothing of the failure is left."""
    host.run(["systemctl", "start", UNIT]).require()
    assert all(status(host)[retention]["ok"] for retention in ("long", "short"))
    assert metric(host, "failed") == metric(host, "unfinished_seconds") == 0
    assert not host.exists("/var/spool/postfix/.backup")
    assert verify(deployed.plan.file, host.name) == {}


@pytest.mark.proof("a backup that is killed is seen in status, metrics and verify, and the next one recovers")
def test_a_killed_backup_is_seen_and_the_next_recovers(deployed, host, slowly, evidence):
    good = metric(host, "success_seconds")
    with slowly():
        host.run(["systemctl", "start", "--no-block", UNIT]).require()
        wait_until_uploading(host)
        assert metric(host, "unfinished_seconds") > good
        host.run(["systemctl", "kill", "--signal=KILL", UNIT]).require()
        wait_until(lambda: metric(host, "failed"), "the metrics say so", timeout=30)
    assert not host.run(["systemctl", "is-active", UNIT]).ok
    assert "cut short" in status(host)["long"]["error"]
    assert metric(host, "success_seconds") == good
    wrong = verify(deployed.plan.file, host.name)
    assert set(wrong) == {f"{host.name}-{CHECK}", f"{host.name}-timer-{UNIT}.timer"}
    assert "long: the run was cut short" in wrong[f"{host.name}-{CHECK}"]
    assert_well(deployed, host)
    evidence(f"{host.name}: {status(host)['long']['snapshot']} after a kill -9 of all of it")


@pytest.mark.proof("a network that is cut in the middle of a backup is seen, and the next one recovers")
def test_a_network_that_is_cut_is_seen_and_the_next_run_recovers(deployed, site, host, slowly):
    vault = site.fleet.machine("vault1")
    rules = (
        "add table inet cut; add chain inet cut out { type filter hook output priority -10; };"
        f" add rule inet cut out ip daddr {vault.ipv4} drop;"
        f" add rule inet cut out ip6 daddr {vault.ipv6} drop"
    )
    with slowly():
        host.run(f"systemd-run --quiet --unit cut-off {PROGRAM} run long --patience 8").require()
        wait_until_uploading(host)
        host.in_network(["nft", rules]).require()
        wait_until(lambda: metric(host, "failed"), "the run gives up", timeout=90)
    assert "no progress for 8 s" in status(host)["long"]["error"]
    wrong = verify(deployed.plan.file, host.name)
    assert "no progress" in wrong[f"{host.name}-{CHECK}"]
    assert "nobody can tell" in next(report for name, report in wrong.items() if "store answers" in name)
    host.in_network(["nft", "delete table inet cut"]).require()
    wait_until(lambda: not host.run(["systemctl", "is-active", "cut-off"]).ok, "the run ends", timeout=90)
    host.run(["systemctl", "reset-failed", "cut-off"])
    assert_well(deployed, host)


@pytest.mark.parametrize("host", ["out2"], indirect=True)
def test_a_machine_that_goes_down_in_the_middle_is_not_locked_out_and_a_hold_outlives_it(
    deployed, host, slowly
):
    with slowly():
        host.run(["systemctl", "start", "--no-block", UNIT]).require()
        wait_until_uploading(host)
        host.run([PROGRAM, "hold", "it may be replaced"]).require()
        host.kill()
        host.start()
        host.run(["systemctl", "is-system-running", "--wait"], timeout=120)
    assert "cut short" in status(host)["long"]["error"]
    assert status(host)["held"] == "it may be replaced"
    assert "on hold: it may be replaced" in host.run([PROGRAM, "run"]).stderr
    host.run(["systemctl", "start", UNIT]).require()  # skipped, which is no failure
    assert "on hold" in verify(deployed.plan.file, host.name)[f"{host.name}-{CHECK}"]
    host.run([PROGRAM, "release"]).require()
    assert_well(deployed, host)


@pytest.mark.parametrize("name", MACHINES)
def test_only_root_can_read_what_opens_the_repository(deployed, name):
    host = deployed.host(name)
    readers = host.run(
        "runuser -u postfix -- sh -c 'cat /etc/mailwright/backup/* /etc/mailwright/backup.json'"
    )
    assert not readers.ok
    assert readers.stdout == ""


@pytest.mark.rounds
@pytest.mark.proof("mail that was accepted before a backup began is in it once, and comes back once")
def test_mail_that_moves_is_in_the_backup_once_and_comes_back_once(deployed, site, host, tmp_path, evidence):
    machine = site.fleet.machine(host.name)
    addresses = (machine.ipv4, machine.ipv6)
    close_provider(deployed)
    try:
        with load(deployed, site, tmp_path, addresses, connections=5, size=2000, rate=RATE) as work:
            for _ in range(DUMPS):
                # Without what the rounds before have left, so that the last one is as small as the first.
                host.run("postsuper -d ALL deferred").require()
                gone = accepted(work)
                work.more(MESSAGES // 2)
                before = accepted(work) - gone
                host.run("postqueue -f").require()  # from deferred to active and back
                host.run([PROGRAM, "run", "short"], timeout=120).require()
                found = staged(host)
                assert len(found) == len(set(found))
                assert before <= set(found)
            work.wait_for(MESSAGES)
            work.stop()
        kept = set(found)
        host.run("postsuper -d ALL").require()
        host.run([PROGRAM, "place", STAGED], timeout=120).require()
        assert queued(host) == len(kept)
    finally:
        open_provider(deployed)
    work.settle(host)
    arrived = [arrival.id for arrival in work.arrivals()]
    assert sorted(arrived) == sorted(kept)
    evidence(f"{host.name}: {len(kept)} messages back from the backup, each delivered once")


def accepted(work):
    """The messages that the client was answered 250 for by now."""
    return {key for key, history in work.histories.items() if history.accepted}


def staged(host):
    """Bring the newest backup of the queue back; the transactions of the messages in it."""
    host.run(["rm", "-rf", STAGED]).require()
    host.run([PROGRAM, "stage", STAGED, "--path", "/var/spool/postfix"], timeout=120).require()
    done = host.run(f"grep -rhaoE 'X-Transaction: run[0-9a-f]+-[0-9]+' {STAGED}/var/spool/postfix/.backup")
    return [line.split()[1] for line in done.require().stdout.splitlines()]

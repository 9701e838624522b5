"""What was answered 250 is delivered, also when the host loses its power and whatever was not on disk yet.

Killing a container would prove nothing: what it wrote is in this machine's page cache. So the queue is on a
disk of its own (mailwright/lab/disks.py) which is cut off first, and a control file shows that the loss was
real. A round is another host and another moment: while everything waits in the queue, or as the queue drains.
"""

import os
import random
import time
from contextlib import contextmanager

import pytest

from mailwright.lab.shell import run
from tests.lab.load import close_provider, load, open_provider, queued

MINUTES = 3

LOSSES = int(os.environ.get("MAILWRIGHT_POWER_LOSSES", "2"))
SEED = int(os.environ.get("MAILWRIGHT_SEED", random.SystemRandom().randrange(10**6)))
QUEUED = 1000

# Debian 13 and 12 in turn.
MACHINES = ("out1", "out2")
SPOOL = "/var/spool/postfix"
CONTROL = f"{SPOOL}/control"


@pytest.fixture(scope="module")
def disks(deployed):
    """Returns a function: a host by its name, with its queue on a disk that forgets."""
    given = {}

    def host_with_disk(name):
        if name not in given:
            given[name] = deployed.host(name)
            given[name].take_disks()  # of a session that was killed
            given[name].give_disk(SPOOL)
        wait_until_booted(given[name])
        return given[name]

    yield host_with_disk
    for host in given.values():
        host.take_disks()
        wait_until_booted(host)
        assert not host.exists(CONTROL)
        assert str(host.container.directory) not in run(["losetup", "--list", "--output", "BACK-FILE"])


@pytest.fixture
def provider(deployed):
    """Returns a context manager: the provider is closed in it, and open after it."""

    @contextmanager
    def closed():
        close_provider(deployed)
        try:
            yield
        finally:
            open_provider(deployed)

    return closed


def wait_until_booted(host):
    state = host.run(["systemctl", "is-system-running", "--wait"], timeout=60).stdout.strip()
    assert state == "running", host.run(["systemctl", "--failed"]).stdout


def lose_power(host):
    """Cut the host's power; returns once it is up again and the loss was seen to be real."""
    host.run(f"echo unwritten > {CONTROL}").require()
    host.lose_power()
    assert not host.running
    host.start()
    wait_until_booted(host)
    assert not host.run(["test", "-s", CONTROL]).ok, "the control file outlived it: nothing was lost"
    host.run(["rm", "-f", CONTROL]).require()


@pytest.mark.slow
@pytest.mark.proof(
    "a host that loses its power, and what was not on disk, delivers every message it answered for"
)
@pytest.mark.rounds
@pytest.mark.parametrize("round_", range(LOSSES))
def test_what_was_answered_250_is_delivered_after_a_power_loss(
    deployed, site, disks, provider, tmp_path, round_, evidence
):
    choose = random.Random(SEED + round_)  # noqa: S311 - to be repeated, not to be secret
    name, draining = MACHINES[round_ % 2], (round_ + round_ // 2) % 2
    machine, host = site.fleet.machine(name), disks(name)
    addresses = (machine.ipv4, machine.ipv6)
    with load(deployed, site, tmp_path, addresses, connections=10, patience=10, size=4000) as work:
        with provider():
            work.wait_for(QUEUED)
            assert queued(host) >= QUEUED
            if not draining:
                time.sleep(choose.uniform(0, 1))  # the random moment itself, not a wait for something
                waiting, answered = queued(host), work.accepted
                lose_power(host)
        if draining:
            host.run("postqueue -f").require()
            work.more(choose.randrange(20, 150))
            waiting, answered = queued(host), work.accepted
            lose_power(host)
        work.more(20)
        figures = work.stop()
        account = work.settle(host)
    assert account.kept, account.faults
    assert figures.given_up == figures.refused == 0
    print(f"MAILWRIGHT_SEED={SEED} round {round_}: {name}, {waiting} queued")  # noqa: T201 - to repeat it
    moment = "as the queue drained" if draining else "with the provider closed"
    evidence(
        f"{name} cut {moment}, {waiting} of {answered} queued, {figures.unknown} answers cut: {account},"
        f" worst delay {figures.worst_delay:.1f} s"
    )

"""What nobody can tell never passes: a machine that is cut off, one that hangs, a service that hangs."""

import json
from contextlib import contextmanager

import pytest

from tests.lab.deploying import mailwright, verify

MACHINE = "util1"


@pytest.fixture(scope="module")
def host(deployed):
    """The machine that things are done to."""
    return deployed.host(MACHINE)


@contextmanager
def unplugged(host):
    host.in_network(["ip", "link", "set", "host0", "down"]).require()
    try:
        yield
    finally:
        host.in_network(["ip", "link", "set", "host0", "up"]).require()
        host.run("systemctl restart systemd-networkd.service").require()
        host.wait_for_ssh()


@contextmanager
def frozen(host):
    host.freeze()
    try:
        yield
    finally:
        host.thaw()


def report(inventory, *only):
    """The exit status of verifying the machine, and its part of the report."""
    narrow = [word for name in only for word in ("--only", name)]
    done = mailwright("verify", inventory, "--limit", MACHINE, "--json", "-", *narrow)
    (machine,) = json.loads(done.stdout)["machines"]
    return done.returncode, machine


@pytest.mark.parametrize("cut", [unplugged, frozen])
@pytest.mark.proof("a host that is unplugged or hangs is unknown, and nothing of it is well")
def test_a_machine_that_nobody_reaches_is_unknown_and_nothing_of_it_passes(deployed, host, cut):
    with cut(host):
        status, machine = report(deployed.plan.file)
    first, *others = machine["checks"]
    assert (status, machine["verdict"], first["outcome"]) == (3, "unknown", "unknown")
    assert {check["outcome"] for check in others} == {"skipped"}
    assert first["remedy"].startswith("ssh ")
    assert verify(deployed.plan.file, MACHINE) == {}, "it is as it was, once it answers again"


@pytest.mark.proof("a service that hangs (SIGSTOP) passes none of the checks that talk to it")
def test_a_service_that_hangs_passes_no_check_that_talks_to_it(deployed, host):
    host.run(["systemctl", "kill", "--signal=STOP", "unbound.service"]).require()
    try:
        status, machine = report(deployed.plan.file, "check-unbound-a forged*", "unit-unbound.service")
    finally:
        host.run(["systemctl", "kill", "--signal=CONT", "unbound.service"]).require()
    outcomes = {check["name"]: check["outcome"] for check in machine["checks"]}
    assert outcomes == {"check-unbound-a forged answer is refused": "unknown", "unit-unbound.service": "pass"}
    assert status == 3
    assert verify(deployed.plan.file, MACHINE) == {}

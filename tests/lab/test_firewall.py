"""Pins what the kernel makes of the rules, and that no ruleset can shut the operator out."""

import signal

import pytest

from mailwright.lab.shell import wait_until
from tests.lab.deploying import changes, deploy
from tests.lab.variants import attempt, machine, one_of_each_release, start, variant

RULES = "/etc/nftables.conf"
GUARD = "/var/lib/mailwright/guard/firewall"
TRIES = 30

# Tries to open a connection so many times and prints how many came about.
KNOCK = """
import socket, sys
address, times = sys.argv[1], int(sys.argv[2])
came = 0
for _ in range(times):
    try:
        socket.create_connection((address, 22), timeout=0.2).close()
        came += 1
    except OSError:
        pass
print(came)
"""


@pytest.fixture(scope="module")
def fleet(lab, tmp_path_factory):
    """Returns a function: an edit of the fleet's plain data to a fleet file."""
    return lambda edit=lambda _: None: variant(lab, tmp_path_factory.mktemp("fleet"), edit)


@pytest.fixture
def pair(lab, fleet):
    """Two hosts as the fleet file says, a Debian 12 and a Debian 13."""
    hosts = one_of_each_release(lab)
    deploy(fleet(), *(host.name for host in hosts))
    return hosts


def _shut_out(data):
    data["networks"]["admin"] = ["203.0.113.254/32"]


def _state(host):
    """The ruleset on disk and in the kernel."""
    return host.run(f"cat {RULES}; nft --stateless --terse list table inet mailwright").require().stdout


@pytest.mark.proof("a ruleset that cuts SSH off is rolled back by the machine itself, and the run says so")
def test_a_ruleset_that_cuts_ssh_is_rolled_back_and_the_run_says_so(pair, fleet):
    before = {host.name: _state(host) for host in pair}
    status, said = attempt(fleet(_shut_out), pair)
    assert status != 0
    for host in pair:
        assert f"[{host.name}] the change was not kept" in said
        assert f"[{host.name}] rolled back" in said
        assert _state(host) == before[host.name]
        assert host.answers()
        assert not host.exists(GUARD)


def test_a_killed_controller_leaves_the_old_rules_and_the_next_run_goes_on(pair, fleet):
    host = pair[0]
    before = _state(host)
    run = start(fleet(_shut_out), [host])
    wait_until(lambda: host.exists(f"{GUARD}/restore") and _state(host) != before, "the change is made")
    run.send_signal(signal.SIGKILL)
    run.communicate()
    wait_until(lambda: not host.exists(GUARD), "the host has taken the change back", timeout=90)
    assert _state(host) == before
    assert host.answers()
    quieter = fleet(lambda data: machine(data, host)["roles"].update(firewall={"log_dropped": False}))
    deploy(quieter, host.name)
    assert "log prefix" in before
    assert "log prefix" not in _state(host)


def test_rules_that_somebody_removed_come_back(pair, fleet):
    before = {host.name: _state(host) for host in pair}
    names = [host.name for host in pair]
    for host in pair:
        host.run("nft delete table inet mailwright").require()
    assert sorted(changes(deploy(fleet(), *names))["firewall: exchange the ruleset"]) == sorted(names)
    assert {host.name: _state(host) for host in pair} == before
    assert changes(deploy(fleet(), *names)) == {}


def test_ssh_open_to_the_world_is_limited_per_source(pair, lab, fleet):
    host, outside = pair[0], lab.host("outside")

    def knock(address):
        argv = ["python3", "-c", KNOCK, address, str(TRIES)]
        return int(outside.in_network(argv).require().stdout)

    def opened(data):
        data["networks"].pop("admin")
        machine(data, host)["roles"]["firewall"] = {"ssh_rate": 5}

    addresses = [str(interface.ip) for interface in host.host.interfaces]
    assert [knock(address) for address in addresses] == [0, 0]
    deploy(fleet(opened), host.name)
    for address in addresses:
        came = knock(address)
        assert 0 < came < TRIES / 2, f"{came} of {TRIES} connections to {address}"
    assert host.answers()  # who does not knock that often is let in
    deploy(fleet(), host.name)
    assert [knock(address) for address in addresses] == [0, 0]


def test_outbound_ports_are_for_their_accounts_only(pair, lab, fleet):
    host = pair[1]
    connect = f"timeout 5 bash -c 'exec 3<>/dev/tcp/{lab.host('ns').host.address}/22'"
    kept = fleet(lambda data: machine(data, host)["roles"].update(firewall={"outbound": {22: ["mail"]}}))
    deploy(kept, host.name)
    assert not host.run(connect).ok
    assert host.run(f"setpriv --reuid mail --regid mail --clear-groups {connect}").ok
    deploy(fleet(), host.name)
    assert host.run(connect).ok

"""Behind a pair of balancers: who serves, who holds the addresses, and that no drain is forgotten."""

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from mailwright.lab.shell import wait_until
from roles.haproxy import STATS_PORT
from tests.lab.balancing import BALANCE, Balanced
from tests.lab.deploying import verify
from tests.lab.mailing import talk
from tests.lab.variants import attempt, machine, variant

FEW = 20

VRRP_STATE = "/run/mailwright/vrrp"
# Before conntrack, which would pass VRRP on as part of a known flow.
CUT = """nft -f - <<'E'
table inet cut {
  chain in { type filter hook prerouting priority raw; meta l4proto 112 drop; }
  chain out { type filter hook output priority raw; meta l4proto 112 drop; }
}
E"""

# Opens so many connections at once, then prints what each is greeted with, and closes it.
CROWD = """
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
crowd = [socket.socket() for _ in range(count)]
for one in crowd:  # all at once: none waits for the one before it
    one.setblocking(False)
    one.connect_ex((address, 25))
for one in crowd:
    one.settimeout(60)
    try:
        print(one.recv(3).decode() or "closed")
    except ConnectionError:
        print("closed")
    one.close()
"""

# Prints those of the addresses at which a port is open.
KNOCK = """
import socket, sys
port, *addresses = sys.argv[1:]
for address in addresses:
    try:
        socket.create_connection((address, int(port)), timeout=2).close()
        print(address)
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def pool(deployed, site):
    """The submission pool, whole; it is whole again in the end, its addresses where they were."""
    balanced = Balanced(deployed, site)
    balanced.begin()
    first, _ = balanced.holder()
    yield balanced
    balanced.wait_until_whole()
    balanced.give_to(first.name)


@pytest.fixture
def drained(pool):
    """A member that no balancer sends new sessions to; afterwards all do again."""
    member = pool.members[0]
    for balancer in pool.balancers:
        balancer.run([BALANCE, "drain", member.name]).require()
    yield member
    for balancer in pool.balancers:
        balancer.run([BALANCE, "undrain", member.name]).require()


def greeter(line):
    """Who says a greeting."""
    return line.split()[0].partition(".")[0]


def greeted_by(lab, address, port, times):
    """Who greets a client outside, time after time."""
    tls = "wrapped" if port == 465 else None
    return [greeter(talk(lab.host("outside"), address, port, tls=tls)[0].lines[0]) for _ in range(times)]


@contextmanager
def knocking(address, port):
    """Somebody connects all the time; yields what went wrong so far."""
    wrong, done = [], threading.Event()

    def knock():
        while not done.is_set():
            try:
                with socket.create_connection((address, port), timeout=10) as client:
                    said = client.recv(3)
                    wrong.extend([] if said == b"220" else [f"greeted with {said!r}"])
            except OSError as error:
                wrong.append(str(error))

    worker = threading.Thread(target=knock)
    worker.start()
    try:
        yield wrong
    finally:
        done.set()
        worker.join()


def state_of(balancer, pool):
    """What keepalived made of a pool's addresses on a balancer."""
    return balancer.read(f"{VRRP_STATE}/{pool.pool.name}").decode().split()[0]


def workers(balancer):
    """HAProxy's processes."""
    return set(balancer.run(["pgrep", "-x", "haproxy"]).stdout.split())


def reload(balancer):
    """Reload HAProxy, until a new process serves."""
    before = workers(balancer)
    balancer.run(["systemctl", "reload", "haproxy"]).require()
    wait_until(lambda: workers(balancer) - before, "a new process of HAProxy")
    wait_until(lambda: balancer.run([f"{BALANCE}-alive"]).ok, "HAProxy answers")


def statuses(balancer, member):
    """A member's status in every backend, once the balancer answers."""
    found = []

    def answered():
        said = balancer.run([BALANCE, "state"])
        found[:] = json.loads(said.stdout)["servers"] if said.ok else []
        return bool(found)

    wait_until(answered, f"{balancer.name} tells its state")
    return {server["status"] for server in found if server["member"] == member.name}


@pytest.mark.proof("clients of a virtual address reach every member, by IPv4 and IPv6, on each port")
def test_clients_reach_every_member(deployed, pool):
    names = {host.name for host in pool.members}
    for address in pool.addresses:
        for port in pool.pool.ports:
            assert set(greeted_by(deployed, address, port, 2 * len(names))) == names


@pytest.mark.proof("a killed HAProxy's addresses go to the other balancer within moments, and stay there")
def test_a_killed_haproxy_gives_the_addresses_away_for_good(deployed, pool):
    active, other = pool.holder()
    active.run("systemctl kill --kill-who=main --signal=KILL haproxy").require()
    pool.wait_until_held_by(other)
    wait_until(lambda: state_of(active, pool) == "BACKUP", f"{active.name} is well again")
    assert pool.holders() == [other.name]
    for address in pool.addresses:
        assert greeted_by(deployed, address, 587, 1)


def test_a_hung_haproxy_loses_the_addresses(pool):
    active, other = pool.holder()
    active.run("systemctl kill --signal=STOP haproxy").require()
    try:
        pool.wait_until_held_by(other)
    finally:
        active.run("systemctl kill --signal=CONT haproxy").require()
    wait_until(lambda: state_of(active, pool) == "BACKUP", f"{active.name} is well again")


@pytest.mark.proof("a balancer that was frozen does not take its addresses back when it thaws")
def test_a_thawed_balancer_lets_go_of_its_addresses(pool):
    pool.give_to(pool.pool.balancers[0])  # the one of higher priority
    active, other = pool.holder()
    # It has held them for a while: its claim is over.
    active.run(
        f"systemctl stop mailwright-claim-{pool.pool.name}; echo 0 >{VRRP_STATE}/{pool.pool.name}.claim"
    ).require()
    active.freeze()
    try:
        pool.wait_until_held_by(other)
    finally:
        active.thaw()
    wait_until(lambda: state_of(active, pool) == "BACKUP", f"{active.name} notices")
    pool.wait_until_whole()
    assert pool.holders() == [other.name]


@pytest.mark.proof("a reload refuses no connection, cuts no session, and forgets no drain")
def test_a_reload_disturbs_nobody(deployed, pool, drained):
    active, _ = pool.holder()
    address = str(pool.pool.ipv4)
    with (
        socket.create_connection((address, 587), timeout=30) as session,
        session.makefile("rwb", buffering=0) as lines,
    ):
        assert lines.readline().startswith(b"220 ")
        with knocking(address, 587) as wrong:
            for _ in range(3):
                reload(active)
        assert wrong == []
        lines.write(b"NOOP\r\n")
        assert lines.readline().startswith(b"250 ")
    assert drained.name not in greeted_by(deployed, address, 587, 6)


@pytest.mark.proof("a drained member stays so over reload, restart, crash and reboot of a balancer")
@pytest.mark.parametrize("event", ["reload", "restart", "crash", "reboot"])
def test_a_drain_survives(deployed, pool, drained, event):
    active, _ = pool.holder()
    match event:
        case "reload":
            reload(active)
        case "restart":
            active.run("systemctl restart haproxy").require()
        case "crash":
            active.run("systemctl kill --signal=KILL haproxy").require()
        case "reboot":
            active.restart()
    assert statuses(active, drained) == {"DRAIN"}
    wait_until(lambda: len(pool.holders()) == 1, "the addresses are held")
    assert drained.name not in greeted_by(deployed, str(pool.pool.ipv6), 465, 6)


def test_a_member_comes_back_only_when_its_health_check_passes(pool, drained):
    balancer = pool.balancers[0]
    drained.run("systemctl stop postfix").require()
    try:
        wait_until(lambda: statuses(balancer, drained) == {"DOWN"}, "the balancer sees it down")
        argv = ["ssh", *balancer.ssh_options, balancer.login, BALANCE, "undrain", drained.name]
        undrain = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert not pool.serves(drained.name, balancer.name)
        assert undrain.poll() is None
    finally:
        drained.run("systemctl start postfix").require()
    out, err = undrain.communicate(timeout=60)
    assert (undrain.returncode, out, err) == (0, "", "")
    assert pool.serves(drained.name, balancer.name)


def test_what_cannot_be_drained_is_one_line(pool):
    said = pool.balancers[0].run([BALANCE, "drain", "nobody"])
    assert (said.status, said.stdout) == (1, "")
    assert said.stderr.startswith("mailwright-balance: nobody is no member of a pool")
    assert said.stderr.count("\n") == 1


@pytest.fixture
def few(deployed, site, tmp_path):
    """The pool of port 25, whose balancers let a client have FEW connections: fewer than Postfix does."""
    pool = Balanced(deployed, site, "incoming")

    def edit(fleet):
        for host in pool.balancers:
            machine(fleet, host)["roles"]["haproxy"] = {"connections_per_client": FEW}

    status, said = attempt(variant(deployed, tmp_path, edit), pool.balancers)
    assert status == 0, said
    yield pool
    status, said = attempt(deployed.plan.file, pool.balancers)
    assert status == 0, said


def test_a_client_with_too_many_connections_keeps_nobody_else_out(deployed, few):
    address, outside = str(few.pool.ipv4), deployed.host("outside")
    argv = [sys.executable, "-c", CROWD, address, str(2 * FEW)]

    def half_of_the_crowd_is_let_in():
        # A balancer that was reloaded lets the process of before take what had knocked at its door.
        said = outside.in_network(argv).require().stdout.split()
        return Counter(said) == {"220": FEW, "closed": FEW}

    wait_until(half_of_the_crowd_is_let_in, f"{FEW} of {2 * FEW} connections are let in", timeout=60)
    with socket.create_connection((address, 25), timeout=60) as client:
        assert client.recv(3) == b"220"


@pytest.mark.proof("a split brain is detected, reported by verify, and heals")
def test_a_split_brain_is_reported_and_heals(deployed, pool, evidence):
    inventory, names = deployed.plan.file, [host.name for host in pool.balancers]
    try:
        for host in pool.balancers:
            host.run(CUT).require()
        wait_until(lambda: len(pool.holders()) == 2, "both hold the addresses")
        wrong = verify(inventory, *names)
    finally:
        for host in pool.balancers:
            host.run("nft delete table inet cut").require()
    reports = [text for item, text in wrong.items() if item.startswith("+".join(names))]
    for address in pool.addresses:
        assert any(f"holds {address}" in report for report in reports)
    assert all(f"{names[0]} and {names[1]} hold it at the same time" in report for report in reports)
    pool.wait_until_whole()
    assert verify(inventory, *names) == {}
    evidence(reports[0].splitlines()[2].strip())


@pytest.mark.proof("statistics and metrics of the balancers are for the admin audience only")
def test_statistics_are_for_the_admin_audience(deployed, pool):
    for host in pool.balancers:
        address = host.host.address
        with urlopen(f"http://{address}:{STATS_PORT}/metrics", timeout=20) as answer:
            assert b"haproxy_backend_active_servers" in answer.read()
        closed = deployed.host("outside").in_network(
            [sys.executable, "-c", KNOCK, str(STATS_PORT), address, *map(str, pool.addresses)]
        )
        assert closed.require().stdout == ""

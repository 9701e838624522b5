"""Nothing that was answered 250 is lost, whatever fails meanwhile.

A faithful client hands mail in at the virtual addresses; in each test something else fails under it. At the
end every message that was answered for is at the provider, and one that is there twice has an attempt whose
answer was cut, or lay in the queue of a host that was. Times are measured and told, not judged.
"""

import ssl
import time
from contextlib import contextmanager

import pytest

from mailwright.acme import provers
from mailwright.lab.shell import wait_until
from tests.lab.balancing import Balanced
from tests.lab.deploying import deploy, mailwright
from tests.lab.faithful.figures import longest_gap, worst_delay
from tests.lab.load import close_provider, load, open_provider, probing, queued
from tests.lab.variants import machine, variant

MINUTES = 5

MESSAGES = 750
"""At least, for each of seven failures: above 5,000 together."""
RATE = 40
"""Messages a second. What takes long by itself (a deploy) needs none of it for so long."""
PROOF = (
    "nothing that was answered 250 is lost while anything fails, and only a cut answer sends a message twice"
)


@pytest.fixture(scope="module")
def pool(deployed, site):
    """The submission pool, whole; it is whole again in the end, its addresses where they were."""
    balanced = Balanced(deployed, site)
    balanced.begin()
    first, _ = balanced.holder()
    yield balanced
    balanced.give_to(first.name)


@pytest.fixture
def under_load(deployed, site, pool, tmp_path, evidence):
    """Returns a context manager: what is done in it happens while a client sends; then accounts are made."""

    @contextmanager
    def loaded(what, port, *, rate=RATE, queue_cut=False):
        addresses = pool.pool.addresses
        busy = {"rate": rate, "connections": 10, "per_session": 20}
        with (
            probing(deployed, tmp_path, addresses) as outage,
            load(deployed, site, tmp_path, addresses, port=port, **busy) as work,
        ):
            work.wait_for(100)
            began = time.time()
            yield work
            pool.wait_until_whole()
            work.more(50)
            ended = time.time()
            work.wait_for(MESSAGES)
            figures, histories = work.stop(), work.histories
            account = work.settle(*pool.members)
            away = outage(began, ended)
        assert account.kept, account.faults
        assert figures.given_up == figures.refused == 0
        assert not account.redelivered or queue_cut, account.redelivered
        evidence(
            f"{what}: {account}; {figures.failed_attempts} attempts failed, {figures.unknown} answers cut;"
            f" an address greeted nobody for {away:.1f} s, no 250 for"
            f" {longest_gap(histories, began, ended):.1f} s,"
            f" worst delay of a message {worst_delay(histories, began, ended):.1f} s"
        )

    return loaded


@pytest.mark.proof(PROOF)
def test_the_active_balancer_loses_its_power(pool, under_load):
    active, other = pool.holder()
    with under_load("balancer killed", 465) as work:
        active.kill()
        try:
            pool.wait_until_held_by(other)
            work.more(100)
        finally:
            active.start()


@pytest.mark.proof(PROOF)
def test_haproxy_is_killed(pool, under_load):
    active, _ = pool.holder()
    before = active.run("systemctl show --value -p MainPID haproxy").require().stdout
    with under_load("haproxy killed", 587) as work:
        active.run("systemctl kill --signal=KILL haproxy").require()
        work.more(100)
    assert active.run("systemctl show --value -p MainPID haproxy").require().stdout != before


@pytest.mark.proof(PROOF)
def test_the_active_balancer_freezes_and_thaws(pool, under_load):
    active, other = pool.holder()
    with under_load("balancer frozen and thawed", 587) as work:
        active.freeze()
        try:
            pool.wait_until_held_by(other)
            work.more(100)
        finally:
            active.thaw()


@pytest.mark.proof(PROOF)
def test_a_sending_host_with_a_queue_loses_its_power(deployed, pool, under_load):
    host = pool.members[1]
    with under_load("sending host killed with a queue", 465, queue_cut=True) as work:
        close_provider(deployed)
        try:
            wait_until(lambda: queued(host) > 50, f"{host.name} has a queue", timeout=60)
            host.kill()
        finally:
            open_provider(deployed)
        try:
            wait_until(
                lambda: not pool.serves(host.name),
                f"{host.name} is seen to be down",
                timeout=90,
                interval=0.2,
            )
            work.more(100)
        finally:
            host.start()
        assert queued(host) > 50


@pytest.mark.proof(PROOF)
def test_a_sending_host_freezes_and_thaws(pool, under_load):
    host = pool.members[2]
    with under_load("sending host frozen and thawed", 587) as work:
        host.freeze()
        try:
            wait_until(
                lambda: not pool.serves(host.name),
                f"{host.name} is seen to be down",
                timeout=90,
                interval=0.2,
            )
            work.more(100)
        finally:
            host.thaw()


@pytest.mark.slow
@pytest.mark.proof(PROOF)
def test_a_change_is_rolled_out(deployed, pool, under_load, tmp_path):
    def fewer_deliveries(fleet):
        for host in pool.members:
            machine(fleet, host)["roles"]["postfix"] |= {"deliveries": 150}

    limits = [word for host in pool.members for word in ("--limit", host.name)]
    (tmp_path / "changed").mkdir()
    changed = variant(deployed, tmp_path / "changed", fewer_deliveries)
    try:
        with under_load("a change rolled out", 465, rate=RATE / 2):
            done = mailwright("apply", "--rolling", "--yes", "--no-dns", changed, *limits)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        for host in pool.members:
            assert host.run("postconf -F smtp/unix/process_limit").stdout.endswith(" = 150\n")
    finally:
        deploy(deployed.plan.file, *[host.name for host in pool.members])
        pool.take_back()


def shown(machine):
    """The certificate that a machine shows on 465."""
    return ssl.get_server_certificate((str(machine.ipv4), 465))


@pytest.mark.proof(PROOF)
def test_certificates_are_renewed(deployed, site, under_load):
    machines = [prover.machine for prover in provers(site.fleet)]
    before = {machine.name: shown(machine) for machine in machines}
    assert before
    with under_load("certificates renewed", 587, rate=RATE / 2):
        for each in machines:
            force = ["mailwright-certificates", "--force", "smtp"]
            deployed.host(each.name).run(force, timeout=300).require()
            assert shown(each) != before[each.name]

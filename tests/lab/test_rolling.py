"""A fleet is deployed machine by machine while it serves: killed half-way, and with a change that is bad.

A faithful client hands mail in at the virtual addresses all the while, and the balancers are asked without a
pause who serves.
"""

import os
import random
import subprocess

import pytest

from tests.lab.balancing import Balanced
from tests.lab.deploying import command, limits, mailwright
from tests.lab.killing import SEED, kill_somewhere
from tests.lab.serving import under_load
from tests.lab.variants import environment, machine, repository, variant

MINUTES = 4

KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "1"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The roles as they are now: a run that finds them edited half-way rightly stops."""
    return repository(tmp_path_factory.mktemp("roles") / "tree")


@pytest.fixture(scope="module")
def pool(deployed, site, tree):
    """The submission pool; in the end as the fleet file says again, its addresses where they were."""
    balanced = Balanced(deployed, site)
    balanced.begin()
    first, _ = balanced.holder()
    yield balanced
    done = rolling(tree, deployed.plan.file, *names(balanced))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    balanced.give_to(first.name)


def names(pool):
    return [host.name for host in (*pool.balancers, *pool.members)]


def command_line(inventory, *machines):
    return command("mailwright", "apply", "--rolling", "--yes", "--no-dns", inventory, *limits(machines))


def rolling(tree, inventory, *machines):
    """A rolling deploy of some machines with the roles of a tree, to its end."""
    done = subprocess.run(
        command_line(inventory, *machines),
        cwd=tree,
        env=environment(tree),
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stderr)  # noqa: T201 - the story, where a test fails
    return done


@pytest.mark.rounds
@pytest.mark.slow
@pytest.mark.proof("a rolling deploy under load, killed half-way and gone on with, fails nobody twice")
def test_a_change_goes_through_the_fleet_while_it_serves(deployed, site, pool, tree, tmp_path, evidence):
    def change(fleet):
        for host in pool.members:
            machine(fleet, host)["roles"]["postfix"] |= {"message_size": 20_971_520}
        for host in pool.balancers:
            machine(fleet, host)["roles"]["haproxy"] |= {"linger": "20m"}

    choose = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
    (tmp_path / "changed").mkdir()
    changed = variant(deployed, tmp_path / "changed", change)
    with under_load(deployed, site, pool, tmp_path, evidence):
        for _ in range(KILLS):
            line = command_line(changed, *names(pool))
            point = kill_somewhere(line, choose, among=range(2, 20), cwd=tree, env=environment(tree))
            print(f"MAILWRIGHT_SEED={SEED}: killed {point}")  # noqa: T201 - to repeat it
            evidence(f"killed {point}")
        done = rolling(tree, changed, *names(pool))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert pool.whole()
    for host in pool.members:
        assert host.run("postconf -h message_size_limit").stdout == "20971520\n"
    again = rolling(tree, changed, *names(pool))
    assert again.returncode == 0
    assert again.stderr.splitlines()[-1] == "nothing to do"


def digests(host):
    """Every file of Postfix on a host."""
    return host.run("find /etc/postfix -type f -exec sha256sum {} + | sort").require().stdout


@pytest.mark.proof("a change that turns the suite red stops at the first host, which stays drained")
def test_a_bad_change_reaches_one_host_and_no_other(deployed, site, pool, tree, tmp_path, evidence):
    bad = repository(tmp_path / "bad")
    template = bad / "templates" / "postfix" / "main.cf.j2"
    template.write_text(
        template.read_text().replace("\ndisable_vrfy_command = yes\n", "\ndisable_vrfy_command = no\n")
    )
    first, *others = pool.members
    before = [digests(host) for host in others]
    members = [host.name for host in pool.members]
    with under_load(deployed, site, pool, tmp_path, evidence):
        done = rolling(bad, deployed.plan.file, *members)
        assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-4000:]
        assert f"drained: {first.name}; the others serve" in done.stderr.splitlines()
        assert "disable_vrfy_command is 'no'" in done.stderr
        assert [digests(host) for host in others] == before
        assert not pool.serves(first.name)
        assert all(pool.serves(host.name) for host in others)
        healed = rolling(tree, deployed.plan.file, *members)
    assert healed.returncode == 0, healed.stdout[-2000:] + healed.stderr[-4000:]
    assert pool.whole()
    evidence(next(line for line in done.stderr.splitlines() if line.startswith(f"{first.name}: the suite")))


@pytest.mark.proof("a machine that was drained on purpose stays drained, also by a rolling deploy")
def test_what_an_operator_drains_stays_drained(deployed, pool, tree):
    name, inventory = pool.members[0].name, deployed.plan.file
    assert mailwright("drain", inventory, name, "--reason", "new disk").returncode == 0
    pool.balancers[0].run("systemctl restart haproxy").require()
    pool.members[0].run("rm /etc/postfix/virtual; touch /etc/postfix/virtual").require()
    done = rolling(tree, inventory, name)
    assert done.returncode == 0, done.stderr
    assert f"{name}: was drained before (new disk) and stays so" in done.stderr
    assert not pool.serves(name)
    assert mailwright("undrain", inventory, name).returncode == 0
    pool.wait_until_whole()

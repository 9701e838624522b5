"""A fleet of two sending hosts grows to four by one entry each, and one leaves with mail in its queue."""

import re
from collections import Counter

import pytest

from mailwright.command.inventory import open_site
from mailwright.converge.recording import NAME as RECORD
from mailwright.elsewhere import write_shim
from mailwright.growth.fleetfile import NewMachine, with_machine, without_machine
from mailwright.lab.lab import Lab
from mailwright.lab.shell import wait_until
from mailwright.queue import Mta
from mailwright.verify.ssh import runner
from tests.lab.deploying import changes, deploy, mailwright, verify
from tests.lab.load import load

MINUTES = 8

pytestmark = pytest.mark.slow

MESSAGES = 400
QUEUED = 20
TOLERANCE = 0.2
THIRD, FOURTH = "out3", "out4"
RELAYED = r"^Received: by [^ ]+ \(Postfix\) id "
REFUSE = (
    "add table inet refuse; add chain inet refuse input { type filter hook input priority -1; };"
    " add rule inet refuse input ip saddr {ipv4} tcp dport 25 reject with tcp reset;"
    " add rule inet refuse input ip6 saddr {ipv6} tcp dport 25 reject with tcp reset"
)


class Growing:
    """The lab's fleet in a file of its own, from which the third sending host is missing, and bare."""

    def __init__(self, lab, folder):
        self.lab, self.file = lab, folder / "fleet.yaml"
        self.whole = lab.plan.file.read_text()
        section = lab.plan.lab
        self.addresses = section.ipv4[15], section.ipv6[0x15]
        self.fourth = NewMachine(FOURTH, f"{FOURTH}.brightpost.example", *map(str, self.addresses))
        self.file.write_text(with_machine(self.whole, THIRD, self.fourth))
        write_shim(self.file)
        self.larger = Lab.open(self.file)

    def begin(self):
        self.larger.up()
        self.file.write_text(without_machine(self.whole, THIRD))
        done = mailwright("apply", "--yes", self.file)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        self.larger.reset([THIRD])

    def end(self):
        """The shared lab as it was, whatever happened here."""
        self.larger.host(FOURTH).container.kill()
        self.larger.host(FOURTH).container.discard()
        for name in self.lab.plan.fleet.pools[0].balancers:
            self.lab.host(name).run(f"rm -f /var/lib/mailwright/drained/{FOURTH}")
        assert mailwright("apply", "--yes", self.lab.plan.file).returncode == 0

    @property
    def site(self):
        return open_site(self.file)

    def mta(self, name):
        machine = self.site.fleet.machine(name)
        return Mta.of(self.site.plan(machine), runner(machine))

    def spf(self):
        return " ".join(self.lab.ns.values("brightpost.example.", "TXT"))


@pytest.fixture(scope="module")
def growing(lab, deployed, tmp_path_factory):  # noqa: ARG001 - deployed
    made = Growing(lab, tmp_path_factory.mktemp("growing"))
    try:
        made.begin()
        yield made
    finally:
        made.end()


def submit(growing, folder, addresses, count, **more):
    """Have so many messages taken; returns where they went."""
    with load(growing.lab, growing.site, folder, addresses, count=count, **more) as work:
        statistics = work.finish()
        assert work.accepted == count, statistics
    return work


def taken_by(growing, user):
    """How many of a user's messages each host took from the client: the lowest Received line is its own."""
    found = growing.lab.mailbox.lines(user, RELAYED)
    return Counter(lines[-1].split()[2].partition(".")[0] for _, lines in found)


@pytest.mark.proof(
    "a third and a fourth sending host join, by an entry in the fleet file and one command each"
)
def test_a_third_and_a_fourth_host_join(growing, evidence):
    growing.file.write_text(growing.whole)  # the entry, by hand
    third = mailwright("add", growing.file, THIRD, "--yes", "--at-once")
    assert third.returncode == 0, third.stdout[-3000:] + third.stderr[-1000:]
    ipv4, ipv6 = growing.addresses
    like = ("--like", THIRD, "--ipv4", ipv4, "--ipv6", ipv6)
    fourth = mailwright("add", growing.file, FOURTH, *like, "--yes", "--at-once")
    assert fourth.returncode == 0, fourth.stdout[-3000:] + fourth.stderr[-1000:]
    assert growing.file.read_text() == with_machine(growing.whole, THIRD, growing.fourth)
    for done in (third, fourth):
        assert "UP at lb1, lb2" in done.stdout
        evidence(next(line.strip() for line in done.stdout.splitlines() if "verdicts ok" in line))
    again = mailwright("add", growing.file, FOURTH)  # nobody is asked, because nothing is left to do
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-1000:]


@pytest.mark.proof("accepted messages spread evenly over two old and two new members")
def test_messages_spread_evenly(growing, tmp_path, evidence):
    pool = growing.site.fleet.pools[0]
    work = submit(growing, tmp_path, pool.addresses[:1], MESSAGES, per_session=1, connections=8)
    hosts = [growing.larger.host(m.name) for m in growing.site.fleet.members(pool)]
    assert work.settle(*hosts).kept
    shares = taken_by(growing, work.user)
    evidence(f"of {MESSAGES} " + ", ".join(f"{name} {shares[name]}" for name in sorted(shares)))
    mean = MESSAGES / len(hosts)
    assert len(shares) == len(hosts) == 4
    assert all(abs(count - mean) <= TOLERANCE * mean for count in shares.values()), shares


def test_a_hand_over_that_is_killed_is_healed_by_the_next_apply(growing):
    before = growing.larger.host(FOURTH).read("/etc/postfix/main.cf")
    growing.mta(FOURTH)._change("hand-over", {"relayhost": "[192.0.2.1]:10026", "soft_bounce": "yes"})
    assert "relayhost = [192.0.2.1]:10026" in growing.larger.host(FOURTH).run("postconf -n").stdout
    assert any("file-/etc/postfix/main.cf" in name for name in verify(growing.file, FOURTH))
    assert set(changes(deploy(growing.file, FOURTH))) == {"postfix: files", "postfix: units", RECORD}
    assert growing.larger.host(FOURTH).read("/etc/postfix/main.cf") == before
    assert verify(growing.file, FOURTH) == {}


@pytest.mark.proof("a sending host leaves with mail in its queue that it could not deliver, and none is lost")
def test_a_host_leaves_with_mail_in_its_queue(growing, tmp_path, evidence):
    assert FOURTH in [machine.name for machine in growing.site.fleet.machines], "it never joined"
    ipv4, ipv6 = growing.addresses
    provider, leaving = growing.lab.host("mailbox"), growing.larger.host(FOURTH)
    provider.in_network(["nft", REFUSE.replace("{ipv4}", str(ipv4)).replace("{ipv6}", str(ipv6))]).require()
    try:
        # The certificate of the machine has the pool's name, too.
        work = submit(growing, tmp_path, [ipv4], QUEUED)
        waits = lambda: growing.mta(FOURTH).look().by_queue.get("deferred") == QUEUED  # noqa: E731
        wait_until(waits, f"{QUEUED} messages are deferred", timeout=60)
        done = mailwright("remove", growing.file, FOURTH, "--queue", "hand-over", "--yes", "--at-once")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    finally:
        provider.in_network(["nft", "delete table inet refuse"])
    rest = [growing.larger.host(m.name) for m in growing.site.fleet.members(growing.site.fleet.pools[0])]
    account = work.settle(*rest)
    assert account.kept
    assert len(account.accepted) == QUEUED
    assert not account.redelivered
    evidence(f"{QUEUED} deferred at {FOURTH}, refused there for good: {account}")
    through = growing.lab.mailbox.lines(work.user, r"^Received: from " + FOURTH)
    assert len(through) == QUEUED  # each by way of another machine
    # It cannot send any more, and nothing speaks of it.
    assert leaving.run("systemctl is-enabled postfix.service").stdout.strip() == "masked"
    assert leaving.run("pgrep -x master").stdout == ""
    assert growing.file.read_text() == growing.whole
    assert growing.lab.ns.values(f"{FOURTH}.brightpost.example.", "A") == []
    assert str(ipv4) not in growing.spf()
    assert FOURTH not in growing.lab.host("lb1").read("/etc/haproxy/haproxy.cfg").decode()
    again = mailwright("remove", growing.file, FOURTH)
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-1000:]


def test_whom_the_fleet_cannot_do_without_stays(growing):
    done = mailwright("remove", growing.file, "mx1", "--yes")
    assert done.returncode == 1
    assert re.search(r"mx1 cannot go: it is the only MX of brightpost\.example", done.stderr), done.stderr

"""What a member tells the balancers of itself: fit or not, for a reason, and without filling the logs."""

import shlex

import pytest

from mailwright.lab.shell import wait_until
from mailwright.model.pools import HEALTH_PORT
from roles.postfix.membership import HEALTH_LOG, ROTATION
from tests.lab.mailing import refusal, talk, transaction

EHLO = "EHLO balancer\r\n"
MAIL = "MAIL FROM:<>\r\n"
SPOOL = "/var/spool/postfix"
MIB = 2**20


@pytest.fixture(scope="module")
def ask(lab, site):
    """Returns a function: a member to its replies to a balancer that says EHLO, MAIL FROM and more."""

    def say(name, *more, to=HEALTH_PORT, proxy=()):
        balancer = lab.host(site.fleet.balancers_of(name)[0])
        return talk(balancer, site.fleet.machine(name).ipv4, to, EHLO, MAIL, *more, proxy=proxy)

    return say


@pytest.fixture(scope="module")
def behind(site):
    """The machines that have balancers in front of them."""
    return [m for m in site.fleet.machines if site.fleet.balancers_of(m.name)]


def codes(replies):
    return [reply.code for reply in replies]


def test_a_healthy_member_says_so_and_takes_no_mail_even_there(ask, behind):
    words = transaction("", "anna@mailbox.example", "orders@parcelnote.example")[1:4]
    for machine in behind:
        assert codes(ask(machine.name, *words)) == [220, 250, 250, 554, 554, 554], machine.name


@pytest.mark.proof("a member without a signer, or without its password check, tells the balancers")
@pytest.mark.parametrize("name", ["out1", "out2"])
@pytest.mark.parametrize("unit", ["opendkim-sign@rsa-0", "opendkim-sign@ed25519-1", "dovecot"])
def test_a_member_that_cannot_sign_or_log_in_is_not_fit(lab, ask, name, unit, evidence):
    host = lab.host(name)
    assert refusal(ask(name)).code == 250
    try:
        host.run(f"systemctl stop {unit}").require()
        said = refusal(ask(name))
    finally:
        host.run(f"systemctl start {unit}").require()
    # Without Dovecot no smtpd can start, and none answers.
    assert said.code == (0 if unit == "dovecot" else 451)
    wait_until(lambda: refusal(ask(name)).code == 250, f"{name} is fit again", timeout=30, interval=0.5)
    evidence(f"{unit} stopped: {said}")


@pytest.fixture
def small_disk(lab, site):
    """An MX whose spool has a small disk; returns a function that leaves so many octets free."""
    host = lab.host(next(m.name for m in site.fleet.machines if site.fleet.mail_for(m.name)))
    copy = (
        f"mount -t tmpfs -o size={140 * MIB} small /mnt && cp -a {SPOOL}/. /mnt && mount --bind /mnt {SPOOL}"
    )

    def leave(free):
        fill = f"rm -f fill; free=$(df -B1 --output=avail . | tail -n1); fallocate -l $((free - {free})) fill"
        host.run(f"cd {SPOOL} && {fill}").require()

    back = "; ".join(f"mountpoint -q {place} && umount {place}" for place in (SPOOL, "/mnt"))
    try:
        host.run(f"systemctl stop postfix && {copy} && systemctl start postfix").require()
        yield host.name, leave
    finally:
        host.run(f"systemctl stop postfix; {back}; systemctl start postfix").require()


@pytest.mark.proof("a member whose disk fills up tells the balancers before it turns clients away")
def test_a_full_disk_is_told_before_clients_hear_of_it(lab, site, ask, small_disk, evidence):
    name, leave = small_disk
    size = site.settings(site.fleet.machine(name), "postfix").message_size

    def client():
        said = talk(lab.host("outside"), site.fleet.machine(name).ipv4, 25, EHLO, MAIL)
        return refusal(said).code

    assert (refusal(ask(name)).code, client()) == (250, 250)
    leave(size * 3)
    assert (refusal(ask(name)).code, client()) == (452, 250)
    evidence(f"{size * 3 // MIB} MiB free: {refusal(ask(name))}")
    leave(size)
    assert (refusal(ask(name)).code, client()) == (452, 452)


@pytest.mark.proof("health checks leave no line in the journal, and their own log is rotated")
def test_the_log_of_the_checks_is_kept_apart_and_small(lab, ask, behind):
    def journal(host):
        return host.run("journalctl --sync && journalctl -q -t postfix/health/smtpd").stdout

    for machine in behind:
        host = lab.host(machine.name)
        before = journal(host)
        for _ in range(5):
            assert refusal(ask(machine.name)).code == 250
        assert journal(host) == before
        assert "postfix/health/smtpd" in host.read(HEALTH_LOG).decode()
        host.run(f"logrotate --force {shlex.quote(ROTATION)}").require()
        assert host.read(HEALTH_LOG).count(b"\n") < 10, machine.name
        # Whoever writes it goes on writing to it.
        before = host.read(HEALTH_LOG)
        ask(machine.name)
        wait_until(
            lambda h=host, b=before: len(h.read(HEALTH_LOG)) > len(b), f"{machine.name} logs", timeout=5
        )

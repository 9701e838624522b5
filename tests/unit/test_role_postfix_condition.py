"""Pins which lines of the mail log count, how old mail may be, and what a handshake must not agree to."""

import pytest

from mailwright.model.errors import UnknownError
from mailwright.model.role import Result
from roles import handshake
from roles.postfix import condition

LOG = condition.log("postfix.service", 24)
AT = "2026-11-22T15:33:21+00:00 out1"


@pytest.mark.parametrize(
    "line",
    [
        f"{AT} postfix/smtpd[411]: fatal: no SASL authentication mechanisms",
        f"{AT} postfix/submission/smtpd[411]: fatal: no SASL authentication mechanisms",
        f"{AT} postfix/postscreen[9]: panic: no way",
        f"{AT} dovecot[6583]: auth: Error: passwd-file: open(/etc/dovecot/submission.passwd) failed",
    ],
)
def test_an_error_of_a_daemon_is_told(line):
    found = LOG.judge(Result(0, f"{line}\nread\n", ""))
    assert found == f"1 error, the last one: {line.partition(']: ')[2]}"


@pytest.mark.parametrize(
    "line",
    [
        f"{AT} postfix/sendmail[411]: fatal: usage: sendmail [options]",
        f"{AT} postfix/postqueue[411]: fatal: Queue report unavailable - mail system is down",
        f"{AT} postfix/postfix-script[411]: fatal: the Postfix mail system is already running",
        f"{AT} opendkim[411]: 4jXY7F5gJHzDhnt: key retrieval failed (s=x, d=stranger.example)",
    ],
)
def test_what_somebody_typed_or_a_stranger_caused_is_not_told(line):
    assert LOG.judge(Result(0, f"{line}\nread\n", "")) is None


def test_errors_are_counted_and_the_last_one_is_shown():
    lines = "".join(f"{AT} postfix/qmgr[{n}]: fatal: number {n}\n" for n in range(3))
    assert LOG.judge(Result(0, f"{lines}read\n", "")) == "3 errors, the last one: fatal: number 2"


def test_a_journal_that_cannot_be_read_is_unknown():
    with pytest.raises(UnknownError, match="No journal files"):
        LOG.judge(Result(1, "", "No journal files were found."))


# --- the queue

DAYS = 3
AGE = condition.queue_age(DAYS * 86400)
ID = "4jXY7F5gJHzDhnt"
ARRIVED = 1_795_361_737


def queue(now=ARRIVED, first=ID, stuck=0, corrupt=0):
    return Result(0, f"{now}\n{first}\n{stuck}\n{corrupt}\n", "")


def test_a_queue_id_tells_when_the_mail_came():
    assert condition.arrival(ID) == ARRIVED


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (queue(), None),
        (queue(first=""), None),
        (queue(now=ARRIVED + DAYS * 86400 + 7200), None),
        (queue(now=ARRIVED + DAYS * 86400 + 7201), f"{ID} has been here for 74 hours, 72 are the most"),
        (queue(stuck=2), "2 not picked up in 30 minutes"),
        (queue(corrupt=1), "1 damaged, in /var/spool/postfix/corrupt"),
    ],
)
def test_mail_that_should_be_gone_is_told(seen, found):
    assert AGE.judge(seen) == found


def test_a_queue_that_cannot_be_read_is_unknown():
    with pytest.raises(UnknownError):
        AGE.judge(Result(1, "", "cd: can't cd to /var/spool/postfix"))


# --- handshakes, in the words of openssl 3.0 and 3.5

HUNG_UP = "CONNECTED(00000003)\n---\nNew, (NONE), Cipher is (NONE)\n"
NONE = "40:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:\n" + HUNG_UP
AGREED = "CONNECTED(00000003)\n---\nNew, TLSv1.2, Cipher is AES128-SHA\nServer public key is 256 bit\n"


@pytest.mark.parametrize("check", [handshake.old_refused(465, "[::1]"), handshake.weak_refused(465, "[::1]")])
def test_a_handshake_that_should_fail_must_fail_as_one(check):
    assert check.judge(Result(1, NONE, "")) is None
    assert check.judge(Result(0, AGREED, "")) == "it agrees to TLSv1.2 with AES128-SHA"
    with pytest.raises(UnknownError, match="Connection refused"):
        check.judge(Result(1, "connect:errno=111\nConnection refused\n", ""))
    for nothing_said in (HUNG_UP, f"40:error:0A0000BF:SSL routines::no protocols available:\n{HUNG_UP}"):
        with pytest.raises(UnknownError, match="refuses nothing"):
            check.judge(Result(1, nothing_said, ""))

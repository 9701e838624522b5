"""Pins what `verify --active` makes of the log of one mail, and that nothing is sent without it."""

import pytest

from mailwright.model.errors import NeedsError, UnknownError
from mailwright.model.role import Result
from mailwright.verify.derive import expectations
from roles import dovecot, postfix

PROBE = {"recipient": "probe@mailbox.example", "sender": "postmaster@brightpost.example"}
NAME = "check-postfix-a probe is delivered"
# As Postfix 3.7 and 3.10 log it.
LINE = (
    "4jXY7F5gJHzDhnt: to=<probe@mailbox.example>, relay=mx.mailbox.example[203.0.113.25]:25, delay=0.4,"
    " delays=0.02/0.01/0.3/0.07, dsn={}, status={} ({})"
)


@pytest.fixture
def plan(plan_of):
    """Returns a function: the fleet file's probe to a plan."""

    def make(probe=PROBE, **fleet):
        known = {"domains": [{"name": "brightpost.example"}], "secrets": {"submission-salt": "x"}} | fleet
        return plan_of(dovecot.ROLE, postfix.ROLE, verify={"probe": probe}, **known)

    return make


def sent(plan):
    return {e.name: e for e in expectations(plan, active=True)}.get(NAME)


def test_nothing_is_sent_unless_the_operator_asks_for_it(plan):
    assert NAME not in {e.name for e in expectations(plan())}
    assert sent(plan()).command.count("sendmail ") == 1
    assert sent(plan(None)) is None
    assert sent(plan(machine={"closed": True})) is None


def test_a_probe_that_nobody_would_sign_is_a_mistake(plan):
    with pytest.raises(NeedsError, match=r"stranger\.example is no domain of this fleet"):
        sent(plan(PROBE | {"sender": "me@stranger.example"}))


def judged(plan, stdout, status=0, stderr=""):
    (check,) = [check for _, check in plan().probes()]
    return check.judge(Result(status, stdout, stderr))


def test_the_word_of_the_recipients_server_counts(plan):
    assert judged(plan, LINE.format("2.0.0", "sent", "250 2.0.0 Ok: queued as 4F3")) is None
    assert judged(plan, LINE.format("5.7.1", "bounced", "550 5.7.1 no")) == "bounced: (550 5.7.1 no)"
    assert judged(plan, "", 1, "sendmail: fatal: no room") == "it was not queued: sendmail: fatal: no room"


@pytest.mark.parametrize(
    ("stdout", "says"),
    [
        (LINE.format("4.2.0", "deferred", "451 greylisted"), "tried again: .*451 greylisted"),
        ("queued=4jXY7F5gJHzDhnt\n", "queued as 4jXY7F5gJHzDhnt"),
        ("queued=\n", "not seen in the log"),
    ],
)
def test_mail_that_is_on_its_way_is_no_verdict(plan, stdout, says):
    with pytest.raises(UnknownError, match=says):
        judged(plan, stdout)

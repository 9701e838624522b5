"""Needs with a question of their own: timers, restarts, settings for the next boot, metrics.

The answers are those of Debian 12 and 13 machines, cut down.
"""

from ipaddress import ip_address

import pytest

from mailwright.model.errors import UnknownError
from mailwright.model.needs import Scrape, Sysctl, Unit
from mailwright.model.role import Result
from mailwright.verify import questions


def judged(question, stdout="", stderr="", status=0):
    """What is wrong, by the sentence about what was found; None when all is well."""
    fault = question.judge(Result(status, stdout, stderr))
    return fault and fault.found


# --- units that are restarted

COUNTED = """\
NRestarts=0
Id=postfix.service
NRestarts=6
Id=opendkim-sign@rsa-0.service
Id=unbound.service
NRestarts=120
"""


def test_a_unit_that_systemd_restarts_again_and_again_is_a_fault():
    lately = "     16 opendkim-sign@rsa-0.service\nread\n"
    found = judged(questions.restarts(), f"{COUNTED}\n{lately}")
    assert found == "opendkim-sign@rsa-0.service 16 times in 10 minutes"


@pytest.mark.parametrize(
    "lately",
    [
        "",
        "      4 opendkim-sign@rsa-0.service\n",  # killed now and then
        "      1 unbound.service\n",  # once a day, for months
        "     30 postfix.service\n",  # a loop, until somebody started it afresh
    ],
)
def test_restarts_that_add_up_slowly_are_no_loop(lately):
    assert judged(questions.restarts(), f"{COUNTED}\n{lately}read\n") is None


def test_a_systemd_that_does_not_answer_is_unknown():
    with pytest.raises(UnknownError, match="Failed to connect to bus"):
        judged(questions.restarts(), "\n", "Failed to connect to bus")


def test_a_journal_that_cannot_be_read_is_unknown():
    with pytest.raises(UnknownError, match="No journal files"):
        judged(questions.restarts(), f"{COUNTED}\n", "No journal files were opened")


# --- timers

TIMER = questions.timer(Unit("apt-daily.timer"))
WAITING = "ActiveState=active\nSubState=waiting\nResult=success\nExecMainStatus=0\nId=apt-daily.service\n"


def test_a_timer_that_waits_after_a_good_run_is_well():
    assert judged(TIMER, WAITING) is None
    assert judged(TIMER, WAITING.replace("waiting", "running")) is None


@pytest.mark.parametrize(
    ("seen", "instead", "found"),
    [
        ("SubState=waiting", "SubState=elapsed", "none is due: active (elapsed)"),
        ("active\nSubState=waiting", "inactive\nSubState=dead", "none is due: inactive (dead)"),
        (
            "success\nExecMainStatus=0",
            "exit-code\nExecMainStatus=3",
            "apt-daily.service ended with exit-code, exit status 3",
        ),
    ],
)
def test_a_timer_without_a_next_run_or_after_a_bad_one_is_not(seen, instead, found):
    assert judged(TIMER, WAITING.replace(seen, instead)) == found


def test_a_timer_that_nobody_tells_of_is_unknown():
    with pytest.raises(UnknownError):
        judged(TIMER, "", "Failed to connect to bus")
    with pytest.raises(UnknownError):
        judged(TIMER, "ActiveState=active\nSubState=waiting\n", "Failed to connect to bus")


# --- settings for the next boot

SYSCTLS = (
    Sysctl("net.ipv4.ip_local_port_range", "16384 65535", "many deliveries"),
    Sysctl("net.ipv4.conf.all.send_redirects", "0", "no router"),
)
ON_DISK = """\
# /usr/lib/sysctl.d/50-pid-max.conf
kernel.pid_max = 4194304
# /etc/sysctl.d/60-mailwright.conf
net.ipv4.ip_local_port_range = 16384 65535
net.ipv4.conf.all.send_redirects = 0
# /etc/sysctl.d/99-sysctl.conf
# /etc/sysctl.conf - Configuration file for setting system variables
"""


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", None),
        ("net.ipv4.ip_local_port_range=16384\t65535\n", None),
        ("net.ipv4.conf.*.send_redirects = 1\n", None),  # a full name beats a pattern
        (
            "net/ipv4/ip_local_port_range = 32768 60999\n",
            "net.ipv4.ip_local_port_range = 32768 60999 in /etc/sysctl.conf",
        ),
    ],
)
def test_the_last_file_that_names_a_setting_decides(more, found):
    assert judged(questions.sysctls_on_disk(SYSCTLS), ON_DISK + more) == found


def test_another_file_that_says_otherwise_is_named():
    spoilt = ON_DISK + "# /etc/sysctl.d/zz.conf\n-net.ipv4.conf.all.send_redirects = 1\n"
    found = judged(questions.sysctls_on_disk(SYSCTLS), spoilt)
    assert found == "net.ipv4.conf.all.send_redirects = 1 in /etc/sysctl.d/zz.conf"


def test_a_setting_that_no_file_has_is_lost_at_the_next_boot():
    lost = ON_DISK.replace("net.ipv4.conf.all.send_redirects = 0\n", "")
    found = judged(questions.sysctls_on_disk(SYSCTLS), lost)
    assert found == "net.ipv4.conf.all.send_redirects in no file"


def test_files_that_cannot_be_read_are_unknown():
    with pytest.raises(UnknownError, match="not found"):
        judged(questions.sysctls_on_disk(SYSCTLS), "", "sh: systemd-sysctl: not found", 127)


# --- metrics

METRICS = questions.scrape(Scrape("filter", 9100), ip_address("2001:db8::11"))


@pytest.mark.parametrize(
    ("stdout", "stderr", "found"),
    [
        ("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nfilter_up 1\n", "", None),
        ("HTTP/1.1 200 OK\r\n\r\n39C\r\n# HELP filter_up Up.\n", "", None),
        ("HTTP/1.1 200 OK\r\n\r\n# HELP filter_seen_total Seen.\n", "", None),
        ('HTTP/1.1 200 OK\r\n\r\nfilter_seen_total{by="a b"} 3\n', "", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", "HTTP/1.1 200 OK, and then nothing"),
        ("HTTP/1.1 200 OK\r\n\r\n<!DOCTYPE HTML>\n<p>It works", "", "and then <!DOCTYPE HTML>"),
        ("HTTP/1.1 200 OK\r\n\r\nwelcome to nginx\n", "", "and then welcome"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\nno", "", "HTTP/1.1 503 Service Unavailable"),
        ("", "bash: line 1: /dev/tcp/2001:db8::11/9100: Connection refused", "Connection refused"),
        ("", "", "nothing"),
    ],
)
def test_metrics_are_served_or_it_is_said_what_is(stdout, stderr, found):
    said = judged(METRICS, stdout, stderr)
    assert said is None if found is None else found in said

"""Answers as machines give them, good and broken."""

from __future__ import annotations

import pytest

from mailwright.observe import ObservationError, parse

UNIT = """\
Type=simple
Result=success
Names=mail.service smtp.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
InactiveExitTimestamp=Sun 2026-11-22 02:00:00.250000 UTC
InactiveExitTimestampMonotonic=100257123
NeedDaemonReload=yes
"""
# The machine booted 100 seconds before the unit started, and is asked 600 seconds after.
STARTED = 1795312800
ANSWER = f"""\
mailwright-observation 1
clock {STARTED + 600}.5
uptime 700.50
uid 0
release ID=debian
release VERSION_ID="12"
container systemd-nspawn
path d root root 755 1.0 1.0 /
path f postfix mail 640 1795312200.1234567890 1795312100.5 /etc/it's  here
{"0" * 64}  /etc/it's  here
path f root root 644 1.5 1.5 /etc/back\\slash
\\{"1" * 64}  /etc/back\\\\slash
path l root 1234 777 1.0 1.0 /etc/link
path f root root 644 1.0 9.0 /run/mailwright/taken/mail.service
interrupted
package ii |postfix|3.7.11
package iF |broken|1:2-3~x
package rc |gone|1
passwd postfix:x:101:102:,,,:/var/spool/postfix:/usr/sbin/nologin
group postfix:x:102:opendkim,dovecot
group empty:x:1:
sysctl net.ipv4.tcp_rmem w
sysctl vm.swappiness r
/proc/sys/net/ipv4/tcp_rmem:4096\t131072\t6291456
/proc/sys/vm/swappiness:60
units
{UNIT}
Names=gone.service
LoadState=not-found
ActiveState=inactive
units-end
test 0123456789abcdef 0
mailwright-observation end
"""


def test_an_answer_is_read():
    seen = parse(ANSWER)
    assert (seen.distribution, seen.release, seen.uid, seen.container) == (
        "debian",
        "12",
        0,
        "systemd-nspawn",
    )
    file = seen.paths["/etc/it's  here"]
    assert (file.kind, file.owner, file.group, file.mode) == ("file", "postfix", "mail", 0o640)
    assert file.sha256 == "0" * 64
    assert file.ctime == pytest.approx(1795312200.123456, abs=1e-5)
    assert seen.paths["/etc/link"].kind == "link"
    assert seen.paths["/etc/link"].group == "1234"
    assert seen.users["postfix"].shell == "/usr/sbin/nologin"
    assert seen.groups["postfix"].members == {"opendkim", "dovecot"}
    assert seen.groups["empty"].members == frozenset()
    assert seen.sysctls["net.ipv4.tcp_rmem"].value == "4096 131072 6291456"
    assert not seen.sysctls["vm.swappiness"].writable
    assert seen.tests == {"0123456789abcdef": True}


def test_names_that_sha256sum_escapes_are_read():
    assert parse(ANSWER).paths["/etc/back\\slash"].sha256 == "1" * 64


def test_packages_in_a_half_way_state_are_told_apart():
    seen = parse(ANSWER)
    assert seen.packages["postfix"].installed
    assert not seen.packages["gone"].installed
    assert seen.broken == ("broken",)
    assert seen.interrupted


def test_a_unit_is_found_by_each_of_its_names():
    seen = parse(ANSWER)
    assert seen.units["mail.service"].running
    assert seen.units["smtp.service"].stale
    assert seen.units["mail.service"].taken == 9.0
    assert not seen.units["gone.service"].exists
    assert seen.units["gone.service"].began is None


def test_a_start_is_exact_while_both_clocks_agree():
    assert parse(ANSWER).units["mail.service"].began == STARTED + 0.25


@pytest.mark.parametrize("step", [-300, 300, 86400 * 365])
def test_a_start_before_the_clock_was_set_counts_on_the_new_clock(step):
    """The time of day was put right by `step` seconds after the unit had started."""
    moved = ANSWER.replace(f"clock {STARTED + 600}.5", f"clock {STARTED + 600 + step}.5")
    assert parse(moved).units["mail.service"].began == pytest.approx(STARTED + step + 0.257, abs=0.001)


def test_what_stands_before_the_answer_is_skipped():
    assert parse("Welcome!\nuid 1000\n" + ANSWER).uid == 0


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "it said: nothing"),
        ("bash: line 1: syntax error", "it said: bash: line 1: syntax error"),
        (ANSWER.replace("mailwright-observation end\n", ""), "not whole"),
        (ANSWER.replace("uid 0\n", ""), "0 lines of `uid`"),
        (ANSWER.replace("uid 0\n", "uid 0\nuid 1\n"), "2 lines of `uid`"),
        (ANSWER.replace("path d root root 755 1.0 1.0 /\n", ""), "is find there"),
        (ANSWER.replace("path l root", "path l"), "cannot be read"),
        (ANSWER.replace("uptime 700.50", "uptime soon"), "cannot be read"),
        (ANSWER.replace("package ii |postfix|", "package ii postfix "), "cannot be read"),
        (ANSWER.replace("Sun 2026-11-22", "Sonntag 2026-11-22"), "cannot be read"),
        ("mailwright-observation busy\n", "another run is still changing this machine"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(output, words):
    with pytest.raises(ObservationError, match=words.replace("?", r"\?")):
        parse(output)

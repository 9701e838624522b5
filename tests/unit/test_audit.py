"""What judges say is read as they mean it, and every finding needs an explanation that fits."""

import json

import pytest

from audit import domains, lynis, page, ports, ssh, tls, units
from audit.reason import Reason, reason_for, unneeded
from audit.reasons import REASONS
from audit.verdict import Finding, JudgeError

SCANNED = {"id": "scanTime", "severity": "INFO", "finding": "61"}


def tls_report(*rows):
    return json.dumps([{"id": i, "severity": s, "finding": f} for i, s, f in rows] + [SCANNED])


def test_testssl_marks_down_what_is_neither_good_nor_information():
    report = tls_report(
        ("TLS1_2", "OK", "offered"),
        ("TLS1_3", "OK", "offered with final"),
        ("TLS1", "INFO", "not offered"),
        ("LUCKY13", "LOW", "potentially vulnerable, uses TLS CBC ciphers"),
    )
    verdict = tls.parse("out1:587", report)
    assert verdict.summary == "TLS 1.2, TLS 1.3"
    assert [f.told for f in verdict.findings] == ["LUCKY13 LOW: potentially vulnerable, uses TLS CBC ciphers"]


@pytest.mark.parametrize(
    "report",
    [
        '[{"id": "TLS1_2"',
        json.dumps([{"id": "TLS1_2", "severity": "OK", "finding": "offered"}]),
        tls_report(("scanProblem", "FATAL", "Can't connect")),
    ],
)
def test_half_a_report_of_testssl_is_no_verdict(report):
    with pytest.raises(JudgeError):
        tls.parse("out1:587", report)


SSH = """\
(gen) software: OpenSSH 10.0p2
(cve) CVE-2002-0640 -- (CVSSv2: 10.0) execute arbitrary code
(kex) curve25519-sha256 -- [info] available since OpenSSH 7.4
(mac) umac-128@openssh.com -- [warn] using encrypt-and-MAC mode
                           `- [info] available since OpenSSH 6.2
                           `- [fail] using weak something
"""


def test_ssh_audit_marks_down_algorithms_and_versions():
    verdict = ssh.parse("out1", SSH)
    assert verdict.summary == "OpenSSH 10.0p2, 2 algorithms"
    assert [f.told for f in verdict.findings] == [
        "CVE-2002-0640 (CVSSv2: 10.0) execute arbitrary code",
        "mac umac-128@openssh.com warn: using encrypt-and-MAC mode",
        "mac umac-128@openssh.com fail: using weak something",
    ]


def test_an_sshd_that_does_not_answer_is_no_verdict():
    with pytest.raises(JudgeError):
        ssh.parse("out1", "[exception] cannot connect to 198.18.221.11 port 22")


LYNIS = """\
warning[]=NETW-2705|Couldn't find 2 responsive nameservers|-|-|
suggestion[]=SSH-7408|Consider hardening SSH configuration|MaxAuthTries (set 6 to 3)|-|
hardening_index=71
report_datetime_end=2026-11-22 19:00:00
"""


def test_lynis_marks_down_warnings_and_suggestions():
    verdict = lynis.parse("out1", LYNIS)
    assert verdict.summary == "hardening index 71"
    assert [f.told for f in verdict.findings] == [
        "NETW-2705 warning: Couldn't find 2 responsive nameservers",
        "SSH-7408 suggestion: Consider hardening SSH configuration (MaxAuthTries (set 6 to 3))",
    ]


def test_a_lynis_that_was_cut_short_is_no_verdict():
    with pytest.raises(JudgeError):
        lynis.parse("out1", LYNIS.partition("report_datetime_end")[0])


def test_systemd_marks_down_units_from_medium_on():
    good, bad = units.parse(
        "out1",
        "→ Overall exposure level for nginx.service: 2.4 OK 🙂\n"
        "→ Overall exposure level for ssh.service: 9.6 UNSAFE 😨\n",
    )
    assert (good.place, good.summary, good.findings) == ("out1 nginx.service", "2.4 OK", ())
    assert bad.findings == (Finding("ssh.service", "9.6 UNSAFE", 9.6),)


@pytest.mark.parametrize("said", ["", "→ Overall exposure level for a.service: 1.0 OK\nFAILED b.service\n"])
def test_a_unit_without_a_mark_is_no_verdict(said):
    with pytest.raises(JudgeError):
        units.parse("out1", said)


def test_checkdmarc_marks_down_errors_and_warnings_wherever_they_stand():
    report = {
        "domain": "example.org",
        "dnssec": False,
        "mx": {"hosts": [{"hostname": "mx1.example.org"}], "warnings": ["few"]},
        "dmarc": {"tags": {"p": {"value": "reject"}}},
        "bimi": {"error": "no record"},
    }
    verdict = domains.parse("example.org", json.dumps(report))
    assert verdict.summary == "DMARC reject, DNSSEC no"
    assert [f.told for f in verdict.findings] == [
        "mx few",
        "bimi no record",
        "dnssec the zone is not signed, or not provably",
    ]


def test_nmap_tells_open_ports_and_whether_it_got_to_its_end():
    said = "Host: 198.18.221.11 ()\tPorts: 25/open/tcp//smtp///, 53/closed/udp//domain///\n# (1 host up)"
    assert ports.parse(said) == {("tcp", 25)}
    with pytest.raises(JudgeError):
        ports.parse("# Nmap done -- 1 IP address (0 hosts up)")


def test_who_may_relay_is_a_finding_and_silence_is_none():
    closed = "|_smtp-open-relay: Server doesn't seem to be an open relay, all tests failed"
    relay = "|_smtp-open-relay: Server is an open relay (2/16 tests)"
    assert list(ports.relays(closed, 1)) == []
    assert [f.says for f in ports.relays(f"{closed}\n{relay}", 2)] == ["Server is an open relay (2/16 tests)"]
    with pytest.raises(JudgeError):
        list(ports.relays(closed, 2))


WHY = Reason("systemd-analyze", "ssh.service *", "sessions", where="out*", at_most=9.7)


@pytest.mark.parametrize(
    ("judge", "place", "finding", "fits"),
    [
        ("systemd-analyze", "out1 ssh.service", Finding("ssh.service", "9.6 UNSAFE", 9.6), True),
        ("systemd-analyze", "out1 ssh.service", Finding("ssh.service", "9.8 UNSAFE", 9.8), False),
        ("systemd-analyze", "lb1 ssh.service", Finding("ssh.service", "9.6 UNSAFE", 9.6), False),
        ("lynis", "out1", Finding("ssh.service", "9.6 UNSAFE", 9.6), False),
        ("systemd-analyze", "out1 cron.service", Finding("cron.service", "9.6 UNSAFE", 9.6), False),
    ],
)
def test_an_explanation_fits_its_judge_finding_place_and_mark(judge, place, finding, fits):
    assert (reason_for(judge, place, finding, (WHY,)) is WHY) == fits


def test_explanations_that_nothing_needs_are_told_for_the_judges_that_were_asked():
    other = Reason("nmap", "*", "none")
    assert unneeded((WHY, other), [WHY], ["systemd-analyze", "nmap"]) == [other]
    assert unneeded((WHY, other), [], ["nmap"]) == [other]


def test_no_explanation_fits_everything_a_judge_may_say():
    assert [r for r in REASONS if r.finding.strip("*? ") == ""] == []


def test_the_page_shows_what_is_not_explained_and_keeps_the_other_sections():
    marked = [page.Marked("out1", Finding("a", "x|y"), None), page.Marked("out2", Finding("b", "z"), WHY)]
    told = page.section("About.", "judge 1", [], marked)
    assert "| a x\\|y | out1 | **not explained** |" in told
    assert "| b z | out2 | sessions |" in told
    old = page.merged("", {"One": "first", "Two": "second"}, ["One", "Two"])
    new = page.merged(old, {"Two": told}, ["One", "Two"])
    assert "## One\n\nfirst\n" in new
    assert "second" not in new

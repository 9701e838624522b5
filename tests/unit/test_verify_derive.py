"""From needs to expectations: nothing that a role declares goes unverified."""

from dataclasses import fields

import pytest

from mailwright.model import needs as n
from mailwright.model.errors import UnknownError
from mailwright.model.role import Check, Result, Role, Settings
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence, Fault
from mailwright.verify.sockets import parse

EVERYTHING = n.Needs(
    packages=(n.Package("postfix"),),
    users=(n.User("filter"),),
    directories=(n.Directory("/etc/filter"),),
    files=(n.File("/etc/filter/conf", b"x"),),
    absent=(n.Absent("/etc/filter/old"),),
    sysctls=(n.Sysctl("net.core.somaxconn", "4096", "bursts"),),
    units=(n.Unit("filter.service"), n.Unit("filter.timer")),
    ports=(n.Port(25, "tcp", "public", "SMTP"), n.Port(1, "vrrp", "fleet", "VRRP")),
    scrapes=(n.Scrape("filter", 9100),),
    backups=(n.BackupPath("/var/lib/filter", "what it learnt"),),
    records=(n.Record("m1.brightpost.example.", "A", "203.0.113.11", "its address"),),
    certificates=(n.Certificate("m1", ("m1.brightpost.example.",)),),
)


@pytest.fixture
def expected(plan_of):
    return {e.name: e for e in expectations(plan_of(needs=EVERYTHING))}


def test_there_is_one_expectation_a_need(expected):
    assert list(expected) == [
        "release",
        "packages-whole",
        "listeners",
        "restarts",
        "sysctls-on-disk",
        "package-postfix",
        "user-filter",
        "directory-/etc/filter",
        "file-/etc/filter/conf",
        "absent-/etc/filter/old",
        "sysctl-net.core.somaxconn",
        "unit-filter.service",
        "unit-filter.timer",
        "port-25/tcp-public",
        "timer-filter.timer",
        "scrape-filter",
        "backup-/var/lib/filter",
        "certificate-m1",
        "outside-25/tcp",
    ]


ELSEWHERE = {
    "records": "asked of the world by `mailwright dns check`",
    "milters": "part of the MTA's configuration, which is a file",
    "reaches": "part of the firewall, which is a file",
}


def test_every_kind_of_need_is_thought_of():
    """A new kind of need gets an expectation, or a reason above why it has none."""
    verified = {f.name for f in fields(n.Needs) if getattr(EVERYTHING, f.name)}
    assert verified | set(ELSEWHERE) == {f.name for f in fields(n.Needs)}


def test_a_report_names_machine_role_and_remedy(expected):
    e = expected["file-/etc/filter/conf"]
    assert e.id == "m1-file-/etc/filter/conf"
    assert e.report(Fault("mode 0644", "mode 0600")).splitlines() == [
        "m1: file-/etc/filter/conf (declared by other)",
        "  expected: mode 0644",
        "  found:    mode 0600",
        "  remedy:   mailwright apply INVENTORY --limit m1",
    ]


def test_a_need_of_two_roles_is_one_expectation(plan_of):
    role = Role(
        "twin", Settings, apply=lambda _: None, needs=lambda _: n.Needs(packages=(n.Package("postfix"),))
    )
    names = [e.name for e in expectations(plan_of(role, needs=EVERYTHING))]
    assert names.count("package-postfix") == 1
    assert len(names) == len(set(names))


def evidence(listening="", **results):
    sockets = parse(listening)
    return Evidence(None, sockets, sockets, {k.replace("_", "-"): v for k, v in results.items()})


def test_ports_and_scrapes_are_judged_from_the_sockets(expected):
    listening = "tcp LISTEN 0 1 *:25 *:*\ntcp LISTEN 0 1 *:9100 *:*"
    metrics = Result(0, "HTTP/1.0 200 OK\r\n\r\nfilter_up 1\n", "")
    nothing, served = evidence(), evidence(listening, scrape_filter=metrics)
    for name in ("port-25/tcp-public", "scrape-filter"):
        assert expected[name].judge(nothing).found == "nothing listens"
        assert expected[name].judge(served) is None
    assert expected["listeners"].judge(served).found == "tcp *:9100"


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (
            Result(0, "X509v3 Subject Alternative Name:\n    DNS:m1.brightpost.example, DNS:x.example\n", ""),
            None,
        ),
        (Result(0, "    DNS:other.example\n", ""), "not in the certificate"),
        (Result(0, "    DNS:m1.brightpost.example.evil.example\n", ""), "not in the certificate"),
        (Result(1, "", "Could not open file"), "Could not open file"),
    ],
)
def test_certificates(expected, result, found):
    fault = expected["certificate-m1"].judge(evidence(certificate_m1=result))
    assert (fault and fault.found) == found


def test_a_command_without_an_answer_is_unknown(expected):
    with pytest.raises(UnknownError):
        expected["certificate-m1"].judge(evidence())


def test_checks_of_roles(plan_of):
    def judge(result):
        return None if result.stdout == "signed\n" else f"it said {result.stdout.strip()}"

    check = Check("signs", "ask", judge, "look at its key")
    role = Role("signer", Settings, apply=lambda _: None, checks=lambda _: [check])
    e = {e.name: e for e in expectations(plan_of(role))}["check-signer-signs"]
    assert (e.command, e.role, e.remedy) == ("ask", "signer", "look at its key")
    assert e.judge(evidence(check_signer_signs=Result(0, "signed\n", ""))) is None
    assert e.judge(evidence(check_signer_signs=Result(0, "no\n", ""))) == Fault("signs", "it said no")
    with pytest.raises(UnknownError, match="no answer in time"):
        e.judge(evidence(check_signer_signs=Result(124, "signed\n", "")))

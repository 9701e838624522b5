"""The report of a verification as data, as JSON and as lines."""

import json
from datetime import UTC, datetime
from functools import partial
from io import StringIO

import pytest
from rich.console import Console

from mailwright.model.fleet import Machine
from mailwright.verify.report import CheckReport, MachineReport, Report, as_json, brief, counts, text, worst
from mailwright.verify.reporter import Live

check = partial(CheckReport, machines=("out1",), role="postfix")
PASS = check("out1-a", "a", outcome="pass", note="with other numbers")
FAIL = check(
    "out1-b", "b", outcome="fail",
    expected="one", found="two\nthree", remedy="mailwright apply", declared="prod.yaml:7",
)  # fmt: skip
UNKNOWN = check("out1-c", "c", outcome="unknown", found="no answer", role="")
SKIPPED = check("out1-d", "d", outcome="skipped", found="out1 did not answer")


def report(*checks, together=()):
    machine = MachineReport(
        "out1", "out1.example.org", ("base", "postfix"), "Debian 13", ("192.0.2.1", "2001:db8::1"), ("smtp",),
        1.23456, checks,
    )  # fmt: skip
    began = datetime(2026, 11, 22, 15, 0, 0, 999, tzinfo=UTC)
    return Report("prod", "inventory/prod.yaml", "ab" * 32, began, 2.0, (machine,), together)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([PASS, FAIL, UNKNOWN, SKIPPED], "fail"),
        ([PASS, UNKNOWN, SKIPPED], "unknown"),
        ([PASS, SKIPPED], "pass"),
        ([SKIPPED], "skipped"),
        ([], "skipped"),
    ],
)
def test_a_verdict_is_the_worst_outcome_and_nothing_unseen_passes(checks, verdict):
    assert worst(checks) == verdict
    assert report(*checks).machines[0].verdict == verdict


def test_what_several_machines_must_be_counts_in_the_verdict_of_the_fleet():
    assert report(PASS, together=(FAIL,)).verdict == "fail"


def test_json_says_all_of_it_with_a_version():
    told = json.loads(as_json(report(PASS, FAIL, together=(UNKNOWN,))))
    assert (told["version"], told["fleet"], told["file"], told["digest"], told["began"], told["verdict"]) == (
        1, "prod", "inventory/prod.yaml", "ab" * 32, "2026-11-22T15:00:00+00:00", "fail",
    )  # fmt: skip
    assert told["counts"] == {"fail": 1, "unknown": 1, "pass": 1}
    (machine,) = told["machines"]
    assert machine["addresses"] == ["192.0.2.1", "2001:db8::1"]
    assert (machine["release"], machine["pools"], machine["seconds"]) == ("Debian 13", ["smtp"], 1.235)
    assert machine["checks"][1] == {
        "id": "out1-b",
        "name": "b",
        "machines": ["out1"],
        "role": "postfix",
        "outcome": "fail",
        "expected": "one",
        "found": "two\nthree",
        "remedy": "mailwright apply",
        "declared": "prod.yaml:7",
        "note": "",
    }
    assert [c["id"] for c in told["together"]] == ["out1-c"]


def test_json_is_one_line_unless_it_is_for_people():
    assert "\n" not in as_json(report(FAIL))
    assert "\n" in as_json(report(FAIL), indent=2)


def test_a_failure_is_told_with_expectation_finding_place_and_remedy():
    assert text(FAIL).splitlines() == [
        "out1: b (declared by postfix)",
        "  expected: one",
        "  found:    two",
        "            three",
        "  declared: prod.yaml:7",
        "  remedy:   mailwright apply",
    ]
    assert brief(FAIL) == "out1: b (declared by postfix): two"
    assert text(UNKNOWN) == "out1: c (holds of every machine)\n  found:    no answer"


def test_a_test_of_the_repository_is_told_as_such():
    assert (
        brief(CheckReport("x", "test_x", (), "", "fail", found="no"))
        == "test_x (a test of this repository): no"
    )


def test_outcomes_that_nobody_had_are_not_counted():
    assert counts([PASS, PASS, SKIPPED]) == {"pass": 2, "skipped": 1}


OUT1 = Machine.model_validate({"name": "out1", "fqdn": "out1.example.org", "ipv4": "192.0.2.1"})


class Terminal:
    """A console whose text can be read."""

    def __init__(self, **more):
        self.out = StringIO()
        self.console = Console(file=self.out, highlight=False, markup=False, soft_wrap=True, **more)

    def lines(self):
        return self.out.getvalue().splitlines()


def test_a_machine_has_its_line_when_it_ends_and_details_come_last():
    terminal, told = Terminal(), report(PASS, FAIL, UNKNOWN, SKIPPED, together=(PASS,))
    live = Live(terminal.console)
    live.begin([OUT1], together=True)
    live.machine(told.machines[0])
    assert terminal.lines() == ["out1          failed    1 ok, 1 failed, 1 unknown, 1 skipped  (1.2 s)"]
    live.end(told)
    assert terminal.lines()[1:4] == [
        "all together  ok        1 ok  (2.0 s)",
        "",
        "out1: b (declared by postfix)",
    ]
    assert terminal.lines()[-1] == "2 checks passed, 1 machine failed, all together ok  (2.0 s)"

"""`mailwright verify --watch` prints what changed, survives what goes wrong, and ends with a verdict."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from mailwright.command.suites import Verification
from mailwright.command.watching import News, watch
from mailwright.model.errors import MailwrightError
from mailwright.verify.report import CheckReport, Report
from mailwright.verify.reporter import Live


def check(outcome, found="", name="a"):
    return CheckReport(f"out1-{name}", name, ("out1",), "postfix", outcome, found=found)


def told(*rounds):
    """What each round after the first has to tell, as (outcome, what was found)."""
    news = News([rounds[0]] if rounds[0] else [])
    return [[(c.outcome, c.found) for c in news.of([one] if one else [])] for one in rounds[1:]]


def test_nothing_changed_is_no_news():
    assert told(check("pass"), check("pass"), check("pass", "another date")) == [[], []]
    assert told(check("fail", "x"), check("fail", "x")) == [[]]


def test_a_fault_its_next_sentence_and_its_end_are_news():
    rounds = [check("pass"), check("fail", "x"), check("fail", "y"), check("pass")]
    assert told(*rounds) == [[("fail", "x")], [("fail", "y")], [("pass", "")]]


def test_a_silent_machine_changes_nothing_in_what_is_known_of_its_other_checks():
    assert told(check("fail", "x"), check("skipped"), check("fail", "x")) == [[], []]
    assert told(check("fail", "x"), check("skipped"), check("pass")) == [[], [("pass", "")]]


def test_what_was_never_seen_is_news_once_it_is_not_well():
    assert told(check("skipped"), check("pass")) == [[("pass", "")]]
    assert told(None, check("pass")) == [[]]
    assert told(None, check("unknown", "no answer")) == [[("unknown", "no answer")]]


def test_a_fault_that_nobody_looks_for_any_more_comes_to_its_end():
    assert told(check("fail", "x"), None, None) == [[("skipped", "is not looked at any more")], []]
    assert told(check("pass"), None) == [[]]


class Rounds:
    """Gives one verification after another, and is interrupted at the end."""

    def __init__(self, *rounds):
        self.rounds = list(rounds)
        self.out, self.kept, self.paused = StringIO(), [], []
        self.live = Live(Console(file=self.out, highlight=False, markup=False, soft_wrap=True))

    def verify(self, listener):
        if not self.rounds:
            raise KeyboardInterrupt
        found = self.rounds.pop(0)
        if isinstance(found, Exception):
            raise found
        began = datetime(2026, 11, 22, tzinfo=UTC)
        report = Report("prod", "prod.yaml", "0" * 64, began, 0.5, (), (found,))
        listener.begin([], together=True)
        listener.end(report)
        return Verification(report, None)

    def watch(self):
        return watch(self.verify, self.live, 90, self.kept.append, self.paused.append)

    def lines(self):
        return self.out.getvalue().splitlines()


def test_the_first_round_is_told_whole_and_the_next_ones_by_their_changes():
    rounds = Rounds(check("pass"), check("pass"), check("fail", "x"), check("fail", "x"))
    assert rounds.watch() == 1
    assert rounds.lines()[0].startswith("all together  ok")
    assert rounds.lines()[-2:] == ["failed  out1: a (declared by postfix)", "  found:    x"]
    assert len([line for line in rounds.lines() if "all together" in line]) == 2  # the line and the sum
    assert rounds.paused == [90, 90, 90, 90]
    assert [done.report.verdict for done in rounds.kept] == ["pass", "fail"]


@pytest.mark.parametrize(("last", "status"), [("pass", 0), ("fail", 1), ("unknown", 3), ("skipped", 3)])
def test_the_exit_status_is_that_of_the_last_round(last, status):
    assert Rounds(check("fail"), check(last)).watch() == status


def test_ended_before_anything_is_known_it_is_unknown():
    assert Rounds().watch() == 3


def test_a_round_that_cannot_be_made_is_told_once_and_left_out(capsys):
    trouble = MailwrightError("prod.yaml:3: half saved")
    rounds = Rounds(check("fail", "x"), trouble, trouble, check("fail", "x"), trouble)
    assert rounds.watch() == 1
    assert capsys.readouterr().err.count("prod.yaml:3: half saved") == 2


def test_a_last_round_that_could_not_be_made_is_no_success():
    assert Rounds(check("pass"), MailwrightError("out1: another host key")).watch() == 1
    assert Rounds(check("pass"), MailwrightError("half saved"), check("pass")).watch() == 0


def test_a_first_round_that_cannot_be_made_ends_it():
    with pytest.raises(MailwrightError):
        Rounds(MailwrightError("prod.yaml:3: no")).watch()

"""Pins what a machine is asked in its one command, and which check gets which answer."""

import base64
import gzip
import re

from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.verify.expectation import Expectation
from mailwright.verify.gather import evidence

OBSERVATION = """\
mailwright-observation 1
clock 1000.0
uptime 500.0
uid 0
release ID=debian
release VERSION_ID="12"
path d root root 755 1.0 1.0 /
mailwright-observation end
"""


class Machine:
    """Answers each command of a script by its own words."""

    def __init__(self):
        self.asked = []

    def __call__(self, command):
        text = re.search(r"echo ([A-Za-z0-9+/=]+) [|]", command)[1]
        script = gzip.decompress(base64.b64decode(text)).decode()
        self.asked = re.split(r"^frame \d+ \d+ ", script, flags=re.MULTILINE)[1:]
        said = ["", OBSERVATION, *(words.split("\n")[0] for words in self.asked[2:-1]), ""]
        return Result(
            0, "".join(f"mailwright-frame {i} 0 o{coded(words)} e .\n" for i, words in enumerate(said)), ""
        )


def coded(words):
    return base64.b64encode(words.encode()).decode()


def expected(name, command):
    return Expectation("m1", "", name, lambda _: None, "", command)


def test_what_several_checks_judge_is_asked_once_and_answers_each_of_them():
    machine = Machine()
    checks = [expected("fresh", "status"), expected("greets", "greet"), expected("whole", "status")]
    found = evidence(machine, Needs(), checks)
    assert [words.split("\n")[0] for words in machine.asked[2:-1]] == ["status", "greet"]
    assert {name: result.stdout for name, result in found.results.items()} == {
        "fresh": "status",
        "greets": "greet",
        "whole": "status",
    }


def test_an_answer_knows_when_its_question_was_put(monkeypatch):
    """A fleet is asked bit by bit, long after it was made out what is expected of it."""
    times = iter((5000.0, 9000.0))
    monkeypatch.setattr("mailwright.verify.gather.time.time", lambda: next(times))
    checks, machine = [expected("the clock", "date")], Machine()
    assert [evidence(machine, Needs(), checks).results["the clock"].asked for _ in range(2)] == [
        5000.0,
        9000.0,
    ]

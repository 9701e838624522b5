"""A pyinfra run followed from outside, against pyinfra's own pretended hosts."""

import pytest

from mailwright.command.hosts import MachineResult, Run, note_result, read_plan
from mailwright.converge.events import Event
from mailwright.model.errors import ConvergeError

INVENTORY = """\
machines = ["@fake/a", "@fake/b", ("gone", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})]
"""

DEPLOY = """\
import logging
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import operation

@operation()
def write(text, done=()):
    host.log("+" + text)
    yield from done or [f"echo {text}"]

@operation()
def nothing():
    yield from ()

print("a stray line on standard output")
"""


@pytest.fixture
def run(tmp_path):
    """Returns a function: what deploy.py does, and on which machines, to a planned run."""

    def begin(body, machines=("@fake/a", "@fake/b"), *, dry=False):
        (tmp_path / "inventory.py").write_text(INVENTORY)
        (tmp_path / "deploy.py").write_text(DEPLOY + body)
        return Run(tmp_path, tmp_path / "inventory.py", machines, dry=dry)

    return begin


def planned(run, machines=("@fake/a", "@fake/b")):
    return {p.name: p for p in read_plan(run.events(), machines)}


def test_a_plan_has_each_change_with_its_diff_and_counts_the_rest(run):
    body = 'write("one", name="role: one")\nnothing(name="role: two")\n'
    with run(body, dry=True) as dry:
        plans = planned(dry)
    for plan in plans.values():
        assert (plan.changes, plan.unchanged, plan.problem) == ([("role: one", "+one")], 1, "")


def test_nothing_happens_before_go(run, tmp_path):
    # pyinfra's pretended hosts run nothing, so the operation leaves its mark itself.
    body = "def mark():\n    Path('done').touch()\n    yield 'true'\n"
    body += "from pyinfra.operations import python\n"
    body += "python.call(name='role: mark', function=lambda: Path('done').touch())\n"
    with run(body) as left_alone:
        assert planned(left_alone)["@fake/a"].changes
    assert not (tmp_path / "done").exists()
    with run(body) as begun:
        planned(begun)
        begun.go()
        events = list(begun.events())
    assert (tmp_path / "done").exists()
    assert {e.machine for e in events if e.kind == "finished" and e.changed} == {"@fake/a", "@fake/b"}
    assert events[-1].kind == "ended"


def test_a_machine_that_cannot_be_planned_leaves_the_others_alone(run):
    body = 'if host.name == "@fake/a":\n    raise ValueError("no secret dkim/x")\n'
    body += 'write("one", name="role: one")\n'
    with run(body) as begun:
        plans = planned(begun)
        assert plans["@fake/a"].problem == "ValueError: no secret dkim/x"
        assert plans["@fake/b"].changes == [("role: one", "+one")]
        begun.go()
        events = list(begun.events())
    assert [e.machine for e in events if e.kind == "finished"] == ["@fake/b"]


def test_what_an_operation_finds_wrong_refuses_its_machine(run):
    body = 'if host.name == "@fake/a":\n    host.log("this is Debian 11", logger.error)\n'
    body += 'write("one", name="role: one")\n'
    with run(body) as begun:
        plans = planned(begun)
        begun.go()
        events = list(begun.events())
    assert plans["@fake/a"].problem == "this is Debian 11"
    assert {e.machine for e in events if e.kind == "started"} == {"@fake/b"}


def test_an_unreachable_machine_is_told_and_the_others_go_on(run):
    machines = ("@fake/a", "gone")
    with run('write("one", name="role: one")\n', machines) as begun:
        plans = planned(begun, machines)
        begun.go()
        events = list(begun.events())
    assert plans["gone"].problem.startswith("Could not connect")
    assert [e.machine for e in events if e.kind == "finished"] == ["@fake/a"]


def test_when_nobody_answers_each_is_told(run):
    with run("", ("gone",)) as begun:
        assert planned(begun, ("gone",))["gone"].problem.startswith("Could not connect")


def test_an_operation_that_fails_is_told_with_what_it_said(run):
    body = "def fail():\n    raise ValueError('disk full')\n"
    body += "from pyinfra.operations import python\n"
    body += "if host.name == '@fake/a':\n    python.call(name='role: one', function=fail)\n"
    body += "write('two', name='role: two')\n"
    results = {name: MachineResult(name) for name in ("@fake/a", "@fake/b")}
    with run(body) as begun:
        planned(begun)
        begun.go()
        for event in begun.events():
            note_result(results, event)
    assert results["@fake/a"].problem.startswith("role: one: ")
    assert "disk full" in results["@fake/a"].problem
    assert (results["@fake/a"].changed, results["@fake/b"].changed) == (0, 1)


def test_a_deploy_that_does_not_load_is_one_line_a_machine(run):
    with run("import nosuchmodule\n") as begun:
        problems = {p.problem for p in planned(begun).values()}
    assert problems == {"ModuleNotFoundError: No module named 'nosuchmodule'"}


def test_an_inventory_that_does_not_load_is_one_line(run, tmp_path):
    begun = run("")
    (tmp_path / "inventory.py").write_text("raise ValueError('no fleet')")
    with (
        Run(tmp_path, tmp_path / "inventory.py", ()) as broken,
        pytest.raises(ConvergeError, match="no fleet"),
    ):
        list(broken.events())
    with begun:
        pass


def test_a_run_that_dies_says_its_last_words(run):
    body = "import os, sys\nprint('killed by me', file=sys.stderr, flush=True)\nos._exit(9)\n"
    with run(body) as begun, pytest.raises(ConvergeError, match="ended early: killed by me"):
        list(begun.events())


def test_events_survive_the_pipe():
    event = Event("failed", "m1", "role: one", 'it\'s\n"ö"\x00', changed=True, seconds=1.5)
    assert Event.read(event.line()) == event
    assert event.line().count("\n") == 1

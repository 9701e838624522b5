"""What `drain`, `undrain` and `apply --rolling` make of a fleet: words, order, consent, exit status."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from mailwright.command import apply as apply_module
from mailwright.command import around, drain, main, rolling, suites, turns, undrain
from mailwright.command.suites import Verification
from mailwright.converge.events import Event
from mailwright.model.errors import UnknownError
from mailwright.model.role import Result
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.queue import Mta, Queue, QueueError
from mailwright.rolling.terms import ROLLING, Terms
from mailwright.verify.report import CheckReport, MachineReport, Report
from tests.unit.rolling_world import World, fleet

ALL = ("out1", "out2", "out3", "lb1", "lb2", "mx1", "util1")


class FakeRun:
    """A deploy that changes one file on each machine that does not have it yet."""

    def __init__(self, desk, machines, *, dry=False):
        self.desk, self.machines, self.dry = desk, machines, dry
        self.part = self.plan()

    def plan(self):
        for name in self.machines:
            if name in self.desk.lost:
                yield Event("unreachable", name, text="no route to host")
            else:
                changed = name not in self.desk.new
                yield Event("planned", name, "greeter: files", self.desk.text if changed else "", changed)

    def events(self):
        return self.part

    def go(self):
        assert not self.dry
        self.desk.log.append(f"deploy {' '.join(self.machines)}")
        if self.desk.interrupt in self.machines:
            raise KeyboardInterrupt
        self.desk.new.update(self.machines)
        self.part = iter(Event("finished", m, "greeter: files", changed=True) for m in self.machines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Desk:
    """An operator's desk before a pretended fleet."""

    def __init__(self, world):
        self.world = world
        self.new, self.lost, self.red, self.log = set(), set(), {}, []
        self.text = "+hello"
        self.interrupt = None
        self.queue = Queue()
        self.handed = []

    def verified(self, _inventory, names):
        return Verification(report(*map(self._suite, names)), self.world.fleet)

    def _suite(self, name):
        check = partial(CheckReport, machines=(name,), role="postfix", remedy="mend it")
        outcome, what, found = self.red.get(name, ("pass", "greets", ""))
        checks = [check(f"{name}-{i}", f"check-{i}", outcome="pass") for i in range(6)]
        checks.append(check(f"{name}-{what}", what, outcome=outcome, expected="220", found=found))
        return MachineReport(
            name, f"{name}.example.org", ("postfix",), "Debian 13", (), (), 0.1, tuple(checks)
        )


def report(*machines):
    return Report("prod", "prod.yaml", "0" * 64, datetime(2026, 11, 22, tzinfo=UTC), 0.2, machines)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    made = Desk(World(fleet()))
    site = Site(made.world.fleet, (), GivenSecrets({}))
    (tmp_path / "prod.py").touch()
    (tmp_path / "prod.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for module in (drain, undrain, apply_module):
        monkeypatch.setattr(module, "open_site", lambda _: site)
    for module in (drain, undrain, turns):
        monkeypatch.setattr(module, "traffic_of", lambda _: made.world.traffic())
    for module in (apply_module, rolling):
        monkeypatch.setattr(module, "Run", lambda _r, _s, machines, **more: FakeRun(made, machines, **more))
        monkeypatch.setattr(module, "repository", lambda _: tmp_path)
    monkeypatch.setattr(suites, "verified", made.verified)
    monkeypatch.setattr(around, "refuse_unseen", lambda _: None)
    monkeypatch.setattr(drain, "Mta", FakeMta)
    FakeMta.desk = made
    return made


class FakeMta:
    """Postfix on a machine, as the desk says."""

    desk = None

    @classmethod
    def of(cls, plan, _run):
        made = cls()
        made.machine = plan.machine
        return made

    def look(self):
        if isinstance(self.desk.queue, Exception):
            raise self.desk.queue
        return self.desk.queue

    def wait_until_empty(self, patience, _say):
        raise QueueError(f"{self.machine.name}: after {patience:.0f} s 2 messages in the queue")

    hand_over_to_one = Mta.hand_over_to_one

    def hand_over(self, peer, _patience, _say):
        self.desk.handed.append(peer.name)
        if peer.name == "out2":
            raise QueueError("out2 takes no queue from out1")


# --- drain and undrain


def test_drain_says_what_the_queue_holds_and_how_to_go_back(desk, capsys):
    desk.queue = Queue({"active": 1, "deferred": 2}, {"under 5 min": 3})
    assert main.run(["drain", "prod.yaml", "out1", "--reason", "new disk"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "out1: out of the traffic",
        "out1: 3 messages in the queue (3 under 5 min), which it goes on delivering",
    ]
    assert said.err.splitlines()[-1] == "to take it back: mailwright undrain prod.yaml out1"
    assert desk.world.drained["lb1"] == {"out1": "new disk"}


def test_a_drained_machine_whose_queue_cannot_be_read_is_drained_all_the_same(desk, capsys):
    desk.queue = UnknownError("no route to host")
    assert main.run(["drain", "prod.yaml", "out1"]) == 0
    assert "out1: what its queue holds is not known: no route to host" in capsys.readouterr().err


def test_a_queue_that_is_waited_for_in_vain_is_no_success(desk, capsys):
    assert main.run(["drain", "prod.yaml", "out1", "--queue", "wait", "--wait", "90s"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "out1: after 90 s 2 messages in the queue"
    assert "out1" in desk.world.drained["lb2"]


def test_a_queue_is_handed_to_the_first_that_takes_it(desk):
    assert main.run(["drain", "prod.yaml", "out1", "--queue", "hand-over"]) == 0
    assert desk.handed == ["out2", "out3"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["out9"], "the fleet has no machine out9"),
        (["util1"], "util1 cannot be drained: it is in no pool"),
        (["mx1"], "incoming: without mx1 nobody would be left serving"),
        (["out1", "--wait", "soon"], "--wait soon: no duration; for example 90s, 5m or 1h"),
        (["out1", "--reason", "a\nb"], "--reason: one line of text"),
        (["out1", "--reason", " rolling "], "--reason rolling: the next rolling run would take it back"),
    ],
)
def test_what_cannot_be_drained_is_one_line(desk, capsys, arguments, words):
    assert main.run(["drain", "prod.yaml", *arguments]) == 1
    assert capsys.readouterr().err.startswith(words)
    assert desk.world.log == []


def test_undrain_takes_back_whatever_it_was_drained_for(desk, capsys):
    desk.world.traffic().leave(["out1"], Terms(ROLLING))
    desk.world.traffic().leave(["lb1"], Terms("new disk"))
    assert main.run(["undrain", "prod.yaml", "out1"]) == 0
    assert main.run(["undrain", "prod.yaml", "lb1"]) == 0
    assert desk.world.traffic().out() == {}
    assert capsys.readouterr().out.splitlines() == [
        "out1: in the traffic again",
        "lb1: in the traffic again",
    ]


# --- apply --rolling


def apply(*arguments):
    return main.run(["apply", "--rolling", "--no-dns", "--yes", "prod.yaml", *arguments])


def test_everything_is_planned_before_anything_is_done_and_then_goes_one_by_one(desk, capsys):
    assert apply() == 0
    order = "in this order: lb2, then lb1, then out1, then out2, then out3, then mx1, then util1"
    assert order in capsys.readouterr().out
    assert desk.log == [f"deploy {name}" for name in ("lb2", "lb1", "out1", "out2", "out3", "mx1", "util1")]
    assert desk.world.traffic().out() == {}


def test_a_second_apply_finds_nothing_to_do_and_tells_no_balancer_anything(desk, capsys):
    desk.new = set(ALL)
    assert apply() == 0
    assert capsys.readouterr().err.splitlines()[-1] == "nothing to do"
    assert desk.world.log == []


def test_only_what_changes_leaves_the_traffic(desk):
    desk.new = set(ALL) - {"out2"}
    assert apply() == 0
    assert sorted(desk.world.log) == [
        "lb1 drain out2 rolling",
        "lb1 undrain out2",
        "lb2 drain out2 rolling",
        "lb2 undrain out2",
    ]


def test_a_red_suite_is_told_with_what_is_drained_and_how_to_go_on(desk, capsys):
    desk.red = {"out1": ("fail", "check-postfix-greets", "silence")}
    assert apply("--limit", "sending") == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("out1  failed  1 changed")
    assert said.err.splitlines()[-6:] == [
        "out1: the suite is failed: out1: check-postfix-greets (declared by postfix): silence",
        "not begun: out2, out3",
        "drained: out1; the others serve",
        "to look at it: mailwright verify prod.yaml --limit out1",
        "to take it back as it is: mailwright undrain prod.yaml out1",
        "to go on, once it is mended: mailwright apply --rolling prod.yaml",
    ]
    assert desk.log == ["deploy out1"]


def test_a_suite_that_leaves_something_unknown_is_red(desk, capsys):
    desk.red = {"out1": ("unknown", "release", "it did not answer")}
    assert apply("--limit", "out1") == 1
    assert (
        "out1: the suite is unknown: out1: release (declared by postfix): it did not answer"
        in capsys.readouterr().err
    )


@pytest.mark.usefixtures("desk")
def test_a_machine_without_a_suite_is_red(capsys, monkeypatch):
    monkeypatch.setattr(suites, "verified", lambda *_: Verification(report(), fleet()))
    assert apply("--limit", "out1") == 1
    assert "out1: its suite did not run" in capsys.readouterr().err


def test_the_next_run_goes_on_with_what_a_stopped_one_left_even_without_changes(desk, capsys):
    desk.new = set(ALL)
    desk.world.traffic().leave(["out1"], Terms(ROLLING))
    assert apply() == 0
    assert "out1  was left drained by a run that was stopped: it is gone on with" in capsys.readouterr().out
    assert desk.world.traffic().out() == {}
    assert desk.log == []


def test_what_a_stopped_run_left_is_named_where_the_limit_leaves_it_out(desk, capsys):
    desk.world.traffic().leave(["out1"], Terms(ROLLING))
    assert apply("--limit", "out2") == 0
    assert "out1  was left drained by a run that was stopped, and stays so" in capsys.readouterr().err
    assert desk.world.traffic().out() == {"out1": ROLLING}


def test_nothing_begins_while_a_machine_cannot_be_planned(desk, capsys):
    desk.lost = {"out2"}
    assert apply("--limit", "sending") == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "out2 cannot be planned, so that nothing was begun; to leave that out: --limit out1 --limit out3"
    )
    assert desk.world.log == []


def test_other_changes_than_were_shown_are_not_made(desk, capsys, monkeypatch):
    verify = desk.verified

    def edited(*arguments):
        desk.text = "+something else"
        return verify(*arguments)

    monkeypatch.setattr(suites, "verified", edited)
    assert apply("--limit", "sending") == 1
    assert "out2: other changes are due than were shown (greeter: files)" in capsys.readouterr().err
    assert desk.new == {"out1"}
    assert desk.world.traffic().out() == {}


def test_an_interrupted_run_says_what_it_leaves_drained(desk, capsys):
    desk.interrupt = "out2"
    assert apply("--limit", "sending") == main.INTERRUPTED
    assert "drained: out2; the others serve" in capsys.readouterr().err


def test_options_of_a_rolling_run_are_for_a_rolling_run(desk, capsys):
    assert main.run(["apply", "prod.yaml", "--batch", "2"]) == 1
    assert capsys.readouterr().err == "--batch, --cut and --force are for --rolling\n"
    assert desk.log == []


def test_a_batch_is_deployed_at_once(desk):
    assert apply("--limit", "sending", "--batch", "2") == 0
    assert desk.log == ["deploy out1 out2", "deploy out3"]


def test_a_balancer_without_the_program_is_one_that_was_never_deployed():
    world = World(fleet())
    balancers = world.traffic().balancers
    balancers._runners = {"lb1": lambda _: Result(127, "", "timeout: failed to run command")}
    assert balancers.ask(["lb1"]).states["lb1"].absent

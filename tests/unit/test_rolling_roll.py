"""A rolling run: what is red stops it, what is killed is healed by the next, and the fleet always serves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwright.model.errors import ConvergeError
from mailwright.rolling.order import batches
from mailwright.rolling.roll import Report, Rolling
from mailwright.rolling.terms import ROLLING, Terms
from tests.unit.rolling_world import Killed, World, fleet

NAMES = ("out1", "out2", "out3", "lb1", "lb2")


class Machines:
    """What a deploy does to pretended machines, and what their suites say."""

    def __init__(self, world):
        self.world = world
        self.new = set()
        self.log = []
        self.red = {}
        """What the suite says of a machine, as long as it is asked."""
        self.broken = {}
        """What the deploy says of a machine."""
        self.kill_at = None
        self.served = {}
        """Whether a machine was in the traffic while it was changed."""

    def point(self, what):
        """A point at which the controller may be killed."""
        self.log.append(what)
        if self.kill_at is not None:
            if not self.kill_at:
                raise Killed
            self.kill_at -= 1

    def change(self, names, leave):
        due = [name for name in names if name not in self.new]
        if not due:
            return {}
        self.point(f"plan {' '.join(due)}")
        leave()
        for name in due:
            self.point(f"change {name}")
            self.served[name] = name in self.world.members and self.world.serves(name)
            if name not in self.broken:
                self.new.add(name)
        self.point(f"changed {' '.join(due)}")
        return {name: self.broken.get(name, "") for name in due}

    def prove(self, names):
        self.point(f"prove {' '.join(names)}")
        return {name: self.red.get(name, "") for name in names}


@pytest.fixture
def world():
    return World(fleet())


@pytest.fixture
def machines(world):
    return Machines(world)


def roll(machines, names=NAMES, size=1, **terms):
    """One run as `apply --rolling` begins it: what is due, and what an earlier one has left drained."""
    traffic = machines.world.traffic()
    out = traffic.out()
    due = [name for name in names if name not in machines.new or out.get(name) == ROLLING]
    holding = {name: len(state.holds) for name, state in traffic.everybody().states.items()}
    report = Report()
    turns = batches(machines.world.fleet, due, size, holding=holding, out=out)
    Rolling(traffic, machines.change, machines.prove, Terms(ROLLING, **terms), traffic.say).run(turns, report)
    return report


def test_one_machine_after_the_other_is_changed_out_of_the_traffic_and_taken_back(world, machines):
    report = roll(machines)
    assert report == Report(done=["lb2", "lb1", "out1", "out2", "out3"])
    assert not any(machines.served.values())
    assert (world.drained, world.retired, world.emptiest) == ({"lb1": {}, "lb2": {}}, {}, 2)
    assert world.holder == "lb2"


def test_a_second_run_touches_nothing(world, machines):
    roll(machines)
    world.log.clear()
    assert roll(machines) == Report()
    assert world.log == []


def test_a_red_suite_stops_the_run_and_leaves_its_machine_drained(world, machines):
    machines.red = {"out1": "smtpd does not greet"}
    report = roll(machines)
    assert report == Report(
        left=["out2", "out3"], done=["lb2", "lb1"], failed={"out1": "smtpd does not greet"}
    )
    assert {"out2", "out3"}.isdisjoint(machines.new)
    assert world.traffic().out() == {"out1": ROLLING}


def test_a_suite_that_turns_green_in_time_is_green(machines):
    prove, asked = machines.prove, []

    def late(names):
        asked.append(names)
        return dict.fromkeys(names, "starting") if len(asked) < 3 else prove(names)

    machines.prove = late
    assert roll(machines, ["out1"]).done == ["out1"]


def test_a_deploy_that_fails_stops_the_run_unproved(world, machines):
    machines.broken = {"out2": "files: disk full"}
    report = roll(machines, ["out1", "out2", "out3"], 2)
    assert (report.done, report.failed, report.left) == (["out1"], {"out2": "files: disk full"}, ["out3"])
    assert world.traffic().out() == {"out2": ROLLING}


def test_a_run_that_is_impossible_stops_before_anybody_is_drained(world, machines):
    def impossible(_names, _leave):
        raise ConvergeError("other changes than were shown")

    machines.change = impossible
    report = roll(machines)
    assert report.failed == {"lb2": "other changes than were shown"}
    assert world.log == []


def test_the_standby_that_is_red_leaves_the_active_balancer_at_work(world, machines):
    machines.red = {"lb2": "haproxy is not running"}
    assert roll(machines).left == ["lb1", "out1", "out2", "out3"]
    assert (world.holder, world.retired) == ("lb1", {"lb2": ROLLING})


def test_sessions_that_never_end_stop_the_run_before_the_change(world, machines):
    world.sessions, world.endless = {("lb1", "out1"): 1}, {"out1"}
    report = roll(machines, ["out1", "out2"], wait=5)
    assert "1 session open at lb1" in report.failed["out1"]
    assert machines.new == set()


def test_the_last_serving_member_stops_the_run(world, machines):
    world.down = {"out1", "out3"}
    assert "nobody would be left serving" in roll(machines, ["out2"]).failed["out2"]
    assert world.traffic().out() == {}


def test_who_serves_a_pool_alone_is_changed_in_its_place(world, machines):
    report = roll(machines, ["mx1", "util1"])
    assert report.done == ["mx1", "util1"]
    assert world.log == []
    assert world.said == ["mx1: serves incoming alone and is changed without being drained"]


def test_what_somebody_drained_on_purpose_is_changed_and_stays_drained(world, machines):
    world.traffic().leave(["out2"], Terms("new disk"))
    report = roll(machines)
    assert report.kept_out == {"out2": "new disk"}
    assert "out2" in report.done
    assert world.traffic().out() == {"out2": "new disk"}


def test_a_machine_that_no_balancer_finds_well_afterwards_stops_the_run(world, machines):
    prove = machines.prove

    def goes_down(names):
        world.down = set(names)
        return prove(names)

    machines.prove = goes_down
    assert "outgoing 587 is DOWN at lb1" in roll(machines, ["out1", "out2"]).failed["out1"]


def test_the_next_run_takes_back_what_a_red_one_left(world, machines):
    machines.red = {"out1": "smtpd does not greet"}
    roll(machines)
    machines.red = {}
    assert roll(machines).done == ["out1", "out2", "out3"]
    assert world.traffic().out() == {}


@settings(deadline=None)
@given(kill_at=st.integers(0, 25), told=st.integers(0, 12), size=st.integers(1, 3), purpose=st.booleans())
def test_a_run_killed_at_any_point_is_healed_by_the_next(kill_at, told, size, purpose):
    world = World(fleet())
    machines = Machines(world)
    if purpose:
        world.traffic().leave(["out3"], Terms("new disk"))
    machines.kill_at, world.kill_before = kill_at, told
    try:
        roll(machines, size=size)
    except Killed:
        machines.kill_at = world.kill_before = None
        report = roll(machines, size=size)
        assert (report.failed, report.left) == ({}, [])
    assert machines.new == set(NAMES)
    assert world.traffic().out() == ({"out3": "new disk"} if purpose else {})
    assert not any(machines.served.values())
    assert world.emptiest >= 1

"""Machines leave the traffic and come back: with balancers that are dead, sessions that never end, kills."""

from __future__ import annotations

import pytest

from mailwright.model.errors import DrainError
from mailwright.rolling.terms import ROLLING, Terms
from tests.unit.rolling_world import Killed, World, fleet

BY_HAND = Terms("new disk")
RUN = Terms(ROLLING)


@pytest.fixture
def world():
    return World(fleet())


def leaves(world, name, terms=BY_HAND):
    world.traffic().leave([name], terms)


def refused(world, name, terms=BY_HAND):
    with pytest.raises(DrainError) as refusal:
        leaves(world, name, terms)
    return str(refusal.value)


# --- members


def test_a_member_leaves_at_every_balancer_and_its_sessions_end(world):
    world.sessions = {("lb1", "out1"): 2}
    leaves(world, "out1")
    assert sorted(world.log) == ["lb1 drain out1 new disk", "lb2 drain out1 new disk"]
    assert world.said == ["out1: 2 sessions open at lb1", "out1: 1 session open at lb1"]


def test_sessions_at_a_balancer_that_has_lost_the_addresses_are_no_clients(world):
    world.sessions, world.endless = {("lb2", "out1"): 3}, {"out1"}
    leaves(world, "out1")
    assert world.said == []


def test_while_nobody_holds_the_addresses_all_sessions_count(world):
    world.holder, world.sessions = None, {("lb1", "out1"): 1, ("lb2", "out1"): 1}
    leaves(world, "out1", Terms("new disk", force=True))
    assert world.said == ["out1: 1 session open at lb1; out1: 1 session open at lb2"]


def test_a_member_that_left_leaves_again_with_another_reason_but_not_for_a_run(world):
    leaves(world, "out1")
    leaves(world, "out1", RUN)
    assert world.drained["lb1"] == {"out1": "new disk"}
    leaves(world, "out1", Terms("new kernel"))
    assert world.drained["lb1"] == {"out1": "new kernel"}


def test_a_machine_behind_no_balancer_is_left_alone(world):
    leaves(world, "util1")
    assert world.log == []


def test_sessions_that_do_not_end_leave_it_drained_and_are_counted(world):
    world.sessions, world.endless = {("lb1", "out1"): 3}, {"out1"}
    said = refused(world, "out1", Terms("new disk", wait=5))
    assert said.startswith("after 5 s: out1: 3 sessions open at lb1. New sessions go elsewhere")
    assert all("out1" in drained for drained in world.drained.values())


def test_sessions_that_do_not_end_are_cut_on_request_and_not_before_their_time(world):
    world.sessions, world.endless = {("lb1", "out1"): 3}, {"out1"}
    leaves(world, "out1", Terms("new disk", wait=5, cut=True))
    assert world.log[-1] == "lb1 cut out1"
    assert world.now >= 5


def test_the_last_serving_member_stays_unless_forced(world):
    leaves(world, "out1")
    world.down = {"out2"}
    world.log.clear()
    assert "outgoing: without out3 nobody would be left serving" in refused(world, "out3")
    assert world.log == []
    leaves(world, "out3", Terms("new disk", force=True))
    assert "out3" in world.drained["lb1"]


def test_a_pool_keeps_as_many_as_it_says():
    world = World(fleet(keep=2))
    leaves(world, "out1")
    assert "without out2 out3 would be left serving, and it keeps 2" in refused(world, "out2")


def test_a_member_that_serves_nobody_anyway_may_always_be_drained(world):
    leaves(world, "out1")
    leaves(world, "out2")
    world.down = {"out1"}
    leaves(world, "out1", Terms("another reason"))
    assert world.drained["lb1"]["out1"] == "another reason"


def test_a_dead_balancer_is_named_and_does_not_count(world):
    world.silent, world.holder = {"lb1": "no route to host"}, "lb2"
    leaves(world, "out1")
    assert world.drained == {"lb1": {}, "lb2": {"out1": "new disk"}}
    assert world.said == ["lb1: no route to host: not told, but the others hold the addresses"]


def test_a_silent_balancer_that_may_hold_the_addresses_counts(world):
    world.silent = {"lb1": "connection refused"}
    said = refused(world, "out1")
    assert "lb1: connection refused; no other balancer holds 203.0.113.100" in said
    assert world.drained["lb2"] == {}
    leaves(world, "out1", Terms("new disk", force=True))
    assert "out1" in world.drained["lb2"]


def test_nobody_is_drained_when_no_balancer_answers(world):
    world.silent = {"lb1": "no route to host", "lb2": "timed out"}
    said = refused(world, "out1", Terms("new disk", force=True))
    assert said == "out1: no balancer in front answers: lb1: no route to host; lb2: timed out"


def test_a_balancer_that_dies_meanwhile_is_waited_for_until_another_has_the_addresses(world):
    world.sessions = {("lb1", "out1"): 9}
    pause = world.pause

    def dies(seconds):
        pause(seconds)
        world.silent = {"lb1": "no route to host"}
        world.holder = "lb2" if world.now > 3 else None

    world.pause = dies
    leaves(world, "out1")
    assert world.said[-1] == "sessions cannot be counted: lb1: no route to host"
    assert 3 < world.now < 9


def test_a_drain_that_a_reload_has_overtaken_is_told_again(world):
    status, deaf = world.status, {"lb1"}

    def overtaken(name, member):
        return "UP" if name in deaf and member == "out1" else status(name, member)

    def pause(_):
        if "lb1 drain out1" in world.log:
            deaf.clear()

    world.status, world.pause = overtaken, pause
    leaves(world, "out1")
    assert world.said == ["out1: lb1 still sends it sessions"]
    assert world.log[2:] == ["lb1 drain out1"]
    assert world.drained["lb1"] == {"out1": "new disk"}


def test_before_its_balancers_are_deployed_a_member_serves_nobody(world):
    world.bare, world.holder = {"lb1", "lb2"}, None
    leaves(world, "out1", RUN)
    world.traffic().join("out1", only=ROLLING)
    assert world.log == []


def test_what_a_balancer_says_that_nobody_understands_is_silence(world):
    world.state = lambda _: {"holds": []}
    assert "its state cannot be read" in refused(world, "out1")


def test_a_member_comes_back_at_every_balancer(world):
    leaves(world, "out1")
    world.traffic().join("out1")
    assert world.drained == {"lb1": {}, "lb2": {}}


def test_a_member_that_nobody_finds_well_is_not_back(world):
    leaves(world, "out1")
    world.down = {"out1"}
    with pytest.raises(DrainError, match="outgoing 587 is DOWN at lb1"):
        world.traffic().join("out1")


def test_a_member_is_not_wholly_back_while_a_balancer_is_silent(world):
    leaves(world, "out1")
    world.silent, world.holder = {"lb1": "no route to host"}, "lb2"
    with pytest.raises(DrainError, match="back at all balancers but those that are silent: lb1: no route"):
        world.traffic().join("out1")
    assert world.drained["lb2"] == {}


def test_a_run_takes_nothing_back_that_somebody_drained_on_purpose(world):
    leaves(world, "out1")
    leaves(world, "out1", RUN)
    world.traffic().join("out1", only=ROLLING)
    assert world.drained["lb1"] == {"out1": "new disk"}


def test_somebody_may_keep_out_what_a_run_has_drained(world):
    leaves(world, "out1", RUN)
    leaves(world, "out1")
    world.traffic().join("out1", only=ROLLING)
    assert world.drained["lb2"] == {"out1": "new disk"}


def test_a_drain_that_was_killed_between_two_balancers_is_finished_by_the_next(world):
    world.kill_before = 1
    with pytest.raises(Killed):
        leaves(world, "out1")
    world.kill_before = None
    leaves(world, "out1")
    assert all("out1" in drained for drained in world.drained.values())


# --- balancers


def test_a_balancer_leaves_its_addresses_to_the_other_and_takes_none_back(world):
    leaves(world, "lb1")
    assert world.holder == "lb2"
    assert world.said == ["lb2 holds 203.0.113.100, 203.0.113.101"]
    world.traffic().join("lb1")
    assert (world.holder, world.retired) == ("lb2", {})


@pytest.mark.parametrize("wrong", ["silent", "retired", "bare"])
def test_a_balancer_stays_when_nobody_can_take_its_place(world, wrong):
    setattr(world, wrong, {"lb2": "it is not there"})
    assert "no other balancer can take the addresses of lb1" in refused(world, "lb1")
    assert world.log == []


def test_a_balancer_that_finds_no_member_well_is_no_heir(world):
    world.down = {"out1", "out2", "out3"}
    said = refused(world, "lb1")
    assert "outgoing: no other balancer can take the addresses of lb1 (lb2: it finds no member well)" in said


@pytest.mark.parametrize("word", ["FAULT", "STOP"])
def test_a_balancer_whose_keepalived_would_take_nothing_is_no_heir(world, word):
    world.vrrp = {"lb2": word}
    assert f"addresses of lb1 (lb2: its keepalived says {word})" in refused(world, "lb1")
    assert world.log == []


def test_a_balancer_whose_keepalived_stays_at_fault_is_not_back(world):
    leaves(world, "lb1")
    world.vrrp = {"lb1": "FAULT"}
    with pytest.raises(DrainError, match="lb1: after 60 s outgoing: its keepalived says FAULT"):
        world.traffic().join("lb1")


def test_a_balancer_whose_addresses_nobody_takes_is_put_back(world):
    world.do_retire = lambda name, why: (world.retired.update({name: why}), setattr(world, "holder", None))
    assert "nobody holds 203.0.113.100, 203.0.113.101" in refused(world, "lb1")
    assert (world.holder, world.retired) == ("lb1", {})


def test_a_balancer_that_was_retired_on_purpose_stays_so_after_a_run(world):
    leaves(world, "lb1")
    leaves(world, "lb1", RUN)
    world.traffic().join("lb1", only=ROLLING)
    assert world.retired == {"lb1": "new disk"}


def test_two_holders_of_one_address_are_no_end_of_it(world):
    leaves(world, "lb1")
    state = world.state
    world.state = lambda name: state(name) | {"holds": ["203.0.113.100", "203.0.113.101"]}
    with pytest.raises(DrainError, match=r"203\.0\.113\.100 is held by lb1 and lb2"):
        world.traffic().join("lb1")

"""Whatever happens, in whatever order: no signature fails, no selector is used twice, and it has an end."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from maildns.rotation import State
from mailwright.dkim.rotation import Rotation
from tests.unit.dkim_world import DOMAIN, HOSTS, TIMING, World, fleet

KILLS = st.none() | st.integers(1, 30)
"""At which effect a command is killed, if at all."""


class Life(RuleBasedStateMachine):
    @initialize(standby=st.booleans())
    def begin(self, standby):
        self.world = World(fleet(standby=standby))

    @rule(seconds=st.sampled_from([1, 59, 60, 61, 240, 299, 300, 301, 1000, 1300, 1301, 500, 5000, 60_000]))
    def time_passes(self, seconds):
        self.world.now += seconds

    @rule(kill_at=KILLS)
    def the_timer_runs(self, kill_at):
        self.world.kill_after(kill_at)
        self.world.command(Rotation.begin_due)

    @rule(kill_at=KILLS, algorithm=st.sampled_from([None, "rsa", "ed25519"]))
    def somebody_rotates(self, kill_at, algorithm):
        self.world.kill_after(kill_at)
        self.world.command(lambda rotation: rotation.request(algorithm))

    @precondition(lambda self: self.world.kept.rings)
    @rule(kill_at=KILLS, which=st.integers(0, 10), urgent=st.booleans())
    def somebody_retires_a_key(self, kill_at, which, urgent):
        keys = self.world.kept.rings[DOMAIN].keys
        selector = keys[-1 - which % len(keys)].selector
        self.world.kill_after(kill_at)
        self.world.command(lambda rotation: rotation.retire(rotation.domains[0], selector, urgent=urgent))

    @rule()
    def somebody_applies(self):
        self.world.apply()

    @rule(host=st.sampled_from(HOSTS))
    def a_host_goes_or_comes(self, host):
        self.world.away ^= {host}

    @rule()
    def the_secondary_stops_or_goes_on_to_answer_us(self):
        self.world.secondary_answers = not self.world.secondary_answers

    @rule()
    def the_secondary_stops_or_goes_on_to_follow(self):
        self.world.secondary_follows = not self.world.secondary_follows
        self.world.sync()

    @invariant()
    def no_signature_fails_and_nothing_goes_too_soon(self):
        assert self.world.broken() == []

    @invariant()
    def a_selector_is_one_key(self):
        for ring in self.world.kept.rings.values():
            selectors = [key.selector for key in ring.keys]
            assert len(selectors) == len(set(selectors))

    def teardown(self):
        self.world.settle()
        assert self.world.broken() == []
        ring = self.world.kept.rings[DOMAIN]
        for algorithm in ("rsa", "ed25519"):
            (signer,) = ring.of(algorithm, State.SWITCHING, State.SIGNING)
            assert all(signer.selector in self.world.signs(host) for host in HOSTS)
            assert not ring.of(algorithm, State.MADE, State.SWITCHING, State.RETIRING, State.REVOKED)
            coming = ring.coming(algorithm)
            assert (coming is not None and coming.standby) == self.world.fleet.dkim.standby
        assert self.world.secrets == {
            k.selector for k in ring.keys if k.state in (State.SIGNING, State.PUBLISHED)
        }


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def whole_life(kill_at, standby, ask):
    """A world in which `ask` has been asked for, and a timer has run until all was done."""
    world = World(fleet(standby=standby))
    world.command()
    world.kill_at = kill_at
    killed = world.command(ask) is None and world.command(ask) is None
    assert not killed
    for _ in range(9):
        world.now += 350
        world.command(Rotation.begin_due)
    return world


def states(world):
    return [(k.selector, k.algorithm, k.state) for k in world.kept.rings[DOMAIN].keys]


def rotate(rotation):
    rotation.request()


def emergency(rotation):
    rotation.retire(rotation.domains[0], "r1", urgent=True)


@pytest.mark.parametrize("standby", [False, True])
@pytest.mark.parametrize("ask", [rotate, emergency])
def test_killed_at_any_effect_of_a_whole_life_it_ends_the_same(standby, ask):
    reference = whole_life(None, standby, ask)
    assert len(reference.saves) > 5
    for kill_at in range(1, reference.counted + 1):
        world = whole_life(kill_at, standby, ask)
        assert states(world) == states(reference), kill_at
        assert (world.secrets, world.broken()) == (reference.secrets, []), kill_at


@pytest.mark.parametrize("kill_at", range(1, 12))
def test_withdrawing_a_key_that_was_never_shown_may_be_killed_anywhere(kill_at):
    world = World(fleet())
    world.command()
    world.kill_after(2)
    world.command(lambda rotation: rotation.request("ed25519"))  # a selector is reserved and nothing else
    (made,) = [k for k in world.kept.rings[DOMAIN].keys if k.state is State.MADE]
    world.kill_after(kill_at)
    world.command(lambda rotation: rotation.retire(rotation.domains[0], made.selector, urgent=False))
    world.settle()
    ring = world.kept.rings[DOMAIN]
    assert world.broken() == []
    assert world.secrets == {k.selector for k in ring.keys if k.state in (State.SIGNING, State.PUBLISHED)}


def retired():
    """A world in which r1 retires, a second before it may be revoked."""
    world = World()
    world.command(lambda rotation: rotation.request("rsa"))
    before = world.kept
    world.now += 301
    world.command()
    world.now += TIMING.queue + TIMING.ttl
    assert world.kept.rings[DOMAIN].key("r1").state is State.RETIRING
    return world, before


def test_a_key_that_an_old_checkout_had_hosts_sign_with_again_is_held_anew():
    world, before = retired()
    world._deploy(before)
    world.now += 1
    rotation = world.command()
    assert "out1 is not seen to sign" in rotation.held[0]
    assert world.kept.rings[DOMAIN].key("r1").state is State.RETIRING
    assert "r1" not in world.signs("out1")
    world.now += TIMING.queue + TIMING.ttl + 1
    assert world.command().held == []
    assert (world.kept.rings[DOMAIN].key("r1").state, world.broken()) == (State.REVOKED, [])


def test_a_key_is_held_for_a_host_that_is_away_with_its_queue():
    world, _ = retired()
    world.now += 1
    world.away.add("out2")
    assert world.command().held == ["out2 is not seen to sign as it should: not seen"]
    world.away.clear()
    world.now += TIMING.queue
    world.command()
    assert world.kept.rings[DOMAIN].key("r1").state is State.RETIRING, "its queue may have as long again"


def test_a_lost_host_that_is_named_holds_nothing():
    world, _ = retired()
    world.now += 1
    world.away.add("out2")
    assert world.command(without=["out2"]).held == []
    assert world.kept.rings[DOMAIN].key("r1").state is State.REVOKED

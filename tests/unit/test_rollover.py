"""A roll-over of pinned keys: never is a key served that a cache can lack, wherever it is killed or raced."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from mailwright.model.errors import ConvergeError, DnsError, MailwrightError, SecretError
from mailwright.rollover.effects import Keys, Sight
from mailwright.rollover.roll import MARGIN, PATIENCE, Roll

TTL = 300
NEW = (f"new{i}" for i in itertools.count())


class KilledError(BaseException):
    """As SIGKILL: nothing runs after it."""


@dataclass
class World:
    """Secrets, two name servers, two machines and every cache there could be: what is served is in each."""

    now: float = 1000.0
    keys_: Keys = field(default_factory=lambda: Keys(frozenset({"first"})))
    shown: list[frozenset[str]] = field(default_factory=lambda: [frozenset({"first"})] * 2)
    history: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    """Since when which set was shown everywhere."""
    serving: list[str] = field(default_factory=lambda: ["first", "first"])
    done: list[str] = field(default_factory=list)
    kill_at: int | None = None
    """The effect that is not come back from; its deed is done by then or not."""
    before: bool = False
    calls: int = 0
    down: bool = False
    unfit: bool = False
    during: dict[int, tuple] = field(default_factory=dict)
    """What happens in the first wait after so many effects."""

    def __post_init__(self):
        self.history.append((-TTL, self.shown[0]))

    def _effect(self, name, deed=lambda: None):
        self.calls += 1
        doomed = self.calls == self.kill_at
        if doomed and self.before:
            raise KilledError
        deed()
        self.done.append(name)
        self.check()
        if doomed:
            raise KilledError

    def cached(self):
        """Every set that some resolver may hold now."""
        ends = [start for start, _ in self.history[1:]] + [self.now + 1]
        return [shown for (_, shown), end in zip(self.history, ends, strict=True) if end + TTL > self.now]

    def check(self):
        for each in self.cached():
            assert set(self.serving) <= each, (self.now, self.serving, each)

    def _show(self, values):
        self.shown = [values, values]
        self.history.append((self.now, values))

    # --- effects

    def keys(self):
        return self.keys_

    def require_fit(self):
        if self.unfit:
            raise SecretError("the next chain is missing")

    def make_next(self):
        def deed():
            if not self.keys_.coming:
                self.keys_ = Keys(self.keys_.used, frozenset({next(NEW)}))

        self._effect("make_next", deed)

    def publish(self, *, old):
        k = self.keys_
        self._effect(
            f"publish old={old}",
            lambda: self._show(k.used | k.coming | (k.old if old else frozenset())),
        )

    def look(self, wanted):
        wrong = tuple(f"ns{i} lacks it" for i, held in enumerate(self.shown) if not wanted <= held)
        return Sight(int(self.now), TTL, wrong)

    def note_announced(self, at):
        assert at <= self.now

    def promote(self, keys):
        assert keys == self.keys_

        def deed():
            self.keys_ = Keys(keys.coming, old=keys.used)

        self._effect("promote", deed)

    def deploy(self):
        def deed():
            (key,) = self.keys_.used
            self.serving = ["first" if self.down else key, key]

        self._effect("deploy", deed)
        return ("out2: no answer",) if self.down else ()

    def not_served(self):
        (key,) = self.keys_.used
        return tuple(f"m{i} serves {each}" for i, each in enumerate(self.serving) if each != key)

    def forget_old(self):
        def deed():
            self.keys_ = Keys(self.keys_.used, self.keys_.coming)

        self._effect("forget_old", deed)


def run(world):
    def wait(pause):
        assert 0 < pause.seconds <= pause.left
        for deed in world.during.pop(len(world.done), ()):
            deed()
        world.now += pause.seconds
        world.check()

    Roll(world, nullcontext, lambda: world.now, wait).run()


def finished(world):
    (key,) = world.keys_.used
    assert world.keys_ == Keys(frozenset({key}))
    assert (world.shown, world.serving) == ([{key}] * 2, [key] * 2)
    assert key != "first"
    return key


def test_a_next_key_is_known_for_a_ttl_before_it_is_served_and_the_old_one_goes_last():
    world = World()
    run(world)
    finished(world)
    assert world.done == [
        "make_next",
        "publish old=True",
        "promote",
        "deploy",
        "publish old=False",
        "forget_old",
    ]
    assert world.now == 1000 + TTL + MARGIN


def test_caches_are_what_this_test_says_they_are():
    world = World()
    world._show(frozenset({"first", "b"}))
    world.serving = ["b", "b"]
    with pytest.raises(AssertionError):
        world.check()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("effect", range(1, 7))
def test_killed_at_any_effect_the_same_command_goes_on(effect, before):
    world = World(kill_at=effect, before=before)
    with pytest.raises(KilledError):
        run(world)
    announced = world.keys_.coming or (world.keys_.old and world.keys_.used)
    world.now += 1
    run(world)
    key = finished(world)
    if announced:
        assert {key} == set(announced), "a second key was made where one was on its way"


def test_killed_while_it_waits_it_waits_anew():
    world = World()

    def die():
        raise KilledError

    world.during[2] = (die,)
    with pytest.raises(KilledError):
        run(world)
    world.now += TTL - 1
    began = world.now
    run(world)
    finished(world)
    assert world.now >= began + TTL


def test_a_server_that_loses_the_key_while_caches_run_out_begins_the_wait_anew():
    world = World()

    def lose():
        world.shown[1] = frozenset({"first"})
        world.history.append((world.now + 20, frozenset({"first"})))  # what its clients hold from then on
        world.now += 20

    world.during[2] = (lose,)
    run(world)
    finished(world)
    assert world.done.count("publish old=True") == 2


def test_a_promoted_key_that_a_server_lacks_is_not_handed_out_before_it_is_known_again():
    world = World(keys_=Keys(frozenset({"second"}), old=frozenset({"first"})))
    run(world)  # `check` fails if it is served too early
    assert world.done[0] == "publish old=True"
    finished(world)


def test_a_machine_that_is_down_keeps_both_keys_published():
    world = World(down=True)
    with pytest.raises(ConvergeError, match="out2: no answer; both keys stay published, run this again"):
        run(world)
    assert (world.keys_.old, world.shown[0] > {"first"}) == ({"first"}, True)
    world.down = False
    run(world)
    finished(world)


def test_a_machine_that_serves_something_else_is_waited_for_and_told_of():
    world = World()
    world.deploy = lambda: ()
    with pytest.raises(ConvergeError, match="m0 serves first; m1 serves first; both keys stay"):
        run(world)
    assert world.now >= 1000 + TTL + PATIENCE


def test_what_cannot_be_served_is_refused_before_anything_happens():
    world = World(unfit=True)
    with pytest.raises(SecretError):
        run(world)
    assert world.done == []


def test_a_key_in_use_that_is_not_published_is_refused_before_anything_happens():
    world = World(shown=[frozenset({"first"}), frozenset()])
    with pytest.raises(DnsError, match="not published everywhere: ns1 lacks it; `mailwright dns apply`"):
        run(world)
    assert world.done == []


def test_a_race_that_is_lost_while_waiting_is_noticed():
    world = World()

    def other():
        (key,) = world.keys_.coming
        world.keys_ = Keys(frozenset({key}))
        world._show(frozenset({"first", key}))

    world.during[2] = (other,)
    run(world)
    assert "promote" not in world.done


def test_a_next_key_that_somebody_exchanges_while_waiting_is_not_promoted():
    world = World()

    def other():
        world.keys_ = Keys(world.keys_.used, frozenset({"unknown"}))

    world.during[2] = (other,)
    with pytest.raises(MailwrightError, match="exchanged meanwhile"):
        run(world)
    assert "promote" not in world.done

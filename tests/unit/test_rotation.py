"""The state machine of DKIM keys: what each transition asks for, and what it leaves behind."""

import pytest

from maildns.rotation import Key, Ring, RotationError, Sight, State, Timing

NOW = 1_800_000_000
TIMING = Timing(ttl=300, negative=60, queue=1000, revoked=500, max_age=50_000)
OLD = Key("r1", "rsa", State.SIGNING, NOW - 10_000)
HOSTS = ("out1", "out2")


def seen(at, *, lacking=(), silent=()):
    return Sight(at, lacking, silent)


def published(at=NOW, **new):
    """A ring with a successor that every server has shown since `at`."""
    return Ring((OLD, Key("r2", "rsa", State.PUBLISHED, at, at, 300, **new)))


@pytest.mark.parametrize("at", [NOW, NOW + 300])
def test_nobody_signs_with_a_key_that_has_not_been_seen_for_longer_than_the_ttl(at):
    with pytest.raises(RotationError, match="long enough"):
        published().switch("r2", seen(at), TIMING)


def test_after_the_ttl_hosts_may_switch():
    ring = published().switch("r2", seen(NOW + 301), TIMING)
    assert ring.signer("rsa").selector == "r2"
    assert [k.state for k in ring.keys] == [State.SIGNING, State.SWITCHING]


@pytest.mark.parametrize(
    ("what", "sight"),
    [("ns2 lacks it", {"lacking": ("ns2 lacks it",)}), ("ns2 is away", {"silent": ("ns2 is away",)})],
)
def test_one_server_that_does_not_show_the_key_holds_the_switch(what, sight):
    with pytest.raises(RotationError, match=what):
        published().switch("r2", seen(NOW + 5000, **sight), TIMING)


def test_a_server_that_loses_the_key_makes_the_waiting_begin_anew():
    ring = published().saw("r2", seen(NOW + 100, lacking=("ns2",)), TIMING)
    assert ring.key("r2").seen is None
    ring = ring.saw("r2", seen(NOW + 200), TIMING)
    assert ring.switch_at(ring.key("r2"), TIMING) == NOW + 200 + 301


def test_a_server_that_is_silent_for_a_while_does_not():
    ring = published().saw("r2", seen(NOW + 100, silent=("ns2",)), TIMING)
    assert ring.key("r2").seen == NOW


def test_a_ttl_that_is_lowered_meanwhile_does_not_shorten_the_waiting():
    ring = published().saw("r2", seen(NOW + 1), TIMING)
    lowered = Timing(ttl=30, negative=30, queue=1000, revoked=500, max_age=50_000)
    assert ring.switch_at(ring.key("r2"), lowered) == NOW + 301


def test_in_a_hurry_only_what_nobody_knew_has_to_be_forgotten():
    ring = published().hurry("r1")
    assert ring.switch_at(ring.key("r2"), TIMING) == NOW + 61


def test_a_standby_key_is_not_switched_to_before_it_is_promoted():
    ring = published(standby=True)
    with pytest.raises(RotationError, match="standby"):
        ring.switch("r2", seen(NOW + 5000), TIMING)
    assert ring.promote("r2").switch("r2", seen(NOW + 5000), TIMING).signer("rsa").selector == "r2"


def test_every_host_must_be_proved_before_the_old_key_retires():
    ring = published().switch("r2", seen(NOW + 301), TIMING)
    with pytest.raises(RotationError, match="out2"):
        ring.switched("r2", NOW + 400, HOSTS, ["out1"])
    ring = ring.switched("r2", NOW + 400, HOSTS, HOSTS)
    assert [(k.state, k.since) for k in ring.keys] == [
        (State.RETIRING, NOW + 400),
        (State.SIGNING, NOW + 400),
    ]


def retiring(**old):
    return Ring(
        (Key("r1", "rsa", State.RETIRING, NOW, None, 300, **old), Key("r2", "rsa", State.SIGNING, NOW))
    )


def test_a_key_is_held_for_the_longest_queue_and_the_ttl():
    with pytest.raises(RotationError, match="mail on its way"):
        retiring().revoke("r1", NOW + 1300, TIMING)
    assert retiring().revoke("r1", NOW + 1301, TIMING).key("r1").state is State.REVOKED


def test_a_key_in_wrong_hands_is_not_held():
    assert retiring(urgent=True).revoke("r1", NOW, TIMING).key("r1").state is State.REVOKED


def test_a_revoked_key_stays_to_be_seen_until_it_may_be_deleted():
    ring = retiring().revoke("r1", NOW + 1301, TIMING)
    with pytest.raises(RotationError, match="seen revoked"):
        ring.delete("r1", NOW + 9999, TIMING)
    ring = ring.saw("r1", seen(NOW + 1400), TIMING)
    with pytest.raises(RotationError, match="seen revoked"):
        ring.delete("r1", NOW + 1900, TIMING)
    assert ring.delete("r1", NOW + 1901, TIMING).key("r1").state is State.DELETED


@pytest.mark.parametrize("state", State)
def test_a_selector_is_never_used_twice(state):
    ring = Ring((Key("r0", "rsa", state, NOW), OLD))
    for again in (lambda: ring.begin("r0", "rsa", NOW), lambda: ring.adopt("r0", "ed25519", NOW)):
        with pytest.raises(RotationError, match="used before"):
            again()


def test_one_successor_at_a_time():
    with pytest.raises(RotationError, match="r2 is on its way"):
        published().begin("r3", "rsa", NOW)


def test_a_key_that_never_signed_can_be_withdrawn_and_one_that_may_have_signed_cannot():
    assert published().withdraw("r2", NOW).key("r2").state is State.REVOKED
    switching = published().switch("r2", seen(NOW + 301), TIMING)
    with pytest.raises(RotationError, match="switching"):
        switching.withdraw("r2", NOW)


def test_a_key_is_due_by_its_age_unless_it_is_being_exchanged():
    assert Ring((OLD,)).rotate_at("rsa", TIMING) == OLD.since + 50_000
    assert published(standby=True).rotate_at("rsa", TIMING) == OLD.since + 50_000
    assert published().rotate_at("rsa", TIMING) is None
    assert retiring().rotate_at("rsa", TIMING) is None


def test_a_hurry_does_not_wait_for_the_key_before():
    assert retiring().hurry("r2").rotate_at("rsa", TIMING) == NOW


def test_a_key_without_successor_retires_once_no_host_signs_with_its_algorithm():
    with pytest.raises(RotationError, match="out2"):
        Ring((OLD,)).stop("r1", NOW, HOSTS, ["out1"])
    assert Ring((OLD,)).stop("r1", NOW, HOSTS, HOSTS).key("r1").state is State.RETIRING

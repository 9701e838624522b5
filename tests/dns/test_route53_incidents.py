"""Route 53 when somebody else is faster, Amazon busy or slow, or an answer lost."""

from __future__ import annotations

import pytest

from maildns.provider import ConflictError, ProviderError
from tests.dns.amazon import Fault
from tests.dns.route53 import CHANGE, LIST, Clock, an_a, apply, planned, simple, table, target_at, texts

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.parametrize("ours", ["replaced", "deleted", "created"])
def test_amazon_itself_refuses_an_edit_in_the_moment_between_reading_and_writing(hosted, hand, amazon, ours):
    name = f"a.{hosted.zone}"
    if ours != "created":
        apply(hosted, an_a(hosted), an_a(hosted, "b"))
    wanted = {"replaced": [an_a(hosted, value="192.0.2.2")], "deleted": [], "created": [an_a(hosted)]}[ours]
    plan = planned(hosted, an_a(hosted, "b", "192.0.2.7"), *wanted)
    amazon.before_change = lambda: hand.change(hosted.zone, "UPSERT", simple(name, value="192.0.2.66"))
    with pytest.raises(ConflictError, match="nothing was done, plan again"):
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    values = {key: r.rdata for key, r in table(hosted).items()}
    assert values[name, "A"] == {"192.0.2.66"}
    assert values.get((f"b.{hosted.zone}", "A"), {"192.0.2.1"}) == {"192.0.2.1"}


def test_the_first_batches_stand_when_a_later_one_is_refused(hosted, hand, amazon):
    """The next plan is what is left."""
    many = texts(hosted, 20, 3000)
    plan = planned(hosted, *many)
    last = plan.changes[-1].unit

    def edit_after_the_first() -> None:
        amazon.before_change = lambda: hand.change(hosted.zone, "CREATE", simple(last, "TXT", '"theirs"'))

    amazon.before_change = edit_after_the_first
    with pytest.raises(
        ProviderError, match=r"changed by somebody else .* \(1 of 2 batches were made before\)"
    ):
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    left = planned(hosted, *many)
    assert [c.key for c in left.conflicts] == [(last, "TXT")]
    assert 0 < len(left.changes) < len(plan.changes)
    hosted.provider.apply(hosted.zone, left.changes, left.etag)
    assert {c.key for c in planned(hosted, *many).changes} == set()


# Answers that are late, lost or not what one hoped for


@pytest.mark.parametrize("fault", [{"code": "BadGateway", "status": 502}, {"cut": True}], ids=["502", "cut"])
def test_a_batch_that_was_made_and_whose_answer_was_lost_is_made_once_and_no_error(hosted, amazon, fault):
    apply(hosted, an_a(hosted), an_a(hosted, "gone"))
    plan = planned(hosted, an_a(hosted, value="192.0.2.2"), an_a(hosted, "b"))
    amazon.calls.clear()
    amazon.faults.append(Fault(CHANGE, made=True, **fault))
    hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 2  # sent again by boto3, refused by Amazon: it was no longer so
    assert planned(hosted, an_a(hosted, value="192.0.2.2"), an_a(hosted, "b")).changes == ()


def test_a_batch_that_was_made_before_amazon_was_too_busy_to_say_so_is_no_error(hosted, amazon):
    plan = planned(hosted, an_a(hosted))
    amazon.faults += [Fault(CHANGE, cut=True, made=True), Fault(CHANGE, "Throttling", times=99)]
    hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert planned(hosted, an_a(hosted)).changes == ()


@pytest.mark.parametrize("fault", [{"code": "BadGateway", "status": 502}, {"cut": True}], ids=["502", "cut"])
def test_a_batch_that_was_not_made_for_all_attempts_says_that_nothing_was_done(hosted, amazon, fault):
    plan = planned(hosted, an_a(hosted))
    amazon.calls.clear()
    amazon.faults.append(Fault(CHANGE, times=99, **fault))
    with pytest.raises(ProviderError, match="nothing was done") as error:
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert not isinstance(error.value, ConflictError)
    assert "\n" not in str(error.value)
    assert amazon.calls[CHANGE] == 10
    assert (f"a.{hosted.zone}", "A") not in table(hosted)


def test_when_nobody_can_say_whether_a_batch_was_made_the_error_says_so(hosted, amazon):
    plan = planned(hosted, an_a(hosted))
    amazon.faults.append(Fault(CHANGE, cut=True, made=True, times=99))

    def and_then_nothing_more() -> None:
        amazon.faults.append(Fault(LIST, "AccessDenied", 403, times=1))

    amazon.before_change = and_then_nothing_more
    with pytest.raises(ProviderError, match="whether it was done is unknown, plan again"):
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert planned(hosted, an_a(hosted)).changes == ()


def test_an_edit_right_after_a_batch_whose_answer_was_lost_is_not_called_nothing_done(hosted, hand, amazon):
    plan = planned(hosted, an_a(hosted), an_a(hosted, "b"))

    def and_then_an_edit() -> None:  # before the second attempt, after the first was made
        amazon.before_change = lambda: hand.change(
            hosted.zone, "UPSERT", simple(f"b.{hosted.zone}", value="192.0.2.66")
        )

    amazon.faults.append(Fault(CHANGE, cut=True, made=True))
    amazon.before_change = and_then_an_edit
    with pytest.raises(
        ProviderError, match=r"whether it was done is unknown.*: b\.\S+ A.* not as sent"
    ) as error:
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert "nothing was done" not in str(error.value)
    assert table(hosted)[f"a.{hosted.zone}", "A"].rdata == {"192.0.2.1"}
    assert table(hosted)[f"b.{hosted.zone}", "A"].rdata == {"192.0.2.66"}


@pytest.mark.parametrize("code", ["Throttling", "PriorRequestNotComplete"])
def test_a_busy_amazon_is_asked_again(hosted, amazon, code):
    for action in (LIST, CHANGE):
        amazon.faults.append(Fault(action, code, times=4))
    apply(hosted, an_a(hosted))
    amazon.calls.clear()
    amazon.faults.append(Fault(LIST, code, message="Rate exceeded", times=99))
    with pytest.raises(ProviderError, match=f"{code}: Rate exceeded .still after 10 attempts."):
        hosted.provider.fetch(hosted.zone)
    assert amazon.calls[LIST] == 10


def test_each_batch_is_awaited_on_all_servers_before_the_next(amazon):
    clock = Clock()
    hosted = target_at(amazon, clock=clock, pause=clock.pause)
    amazon.pending = 5
    many = texts(hosted, 20, 3000)
    plan = planned(hosted, *many)
    asked: list[int] = []
    amazon.before_change = lambda: setattr(
        amazon, "before_change", lambda: asked.append(amazon.calls["GetChange"])
    )
    hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert asked == [5]
    assert amazon.calls["GetChange"] == 10
    assert clock.waits == [2, 4, 8, 10, 10] * 2


def test_an_amazon_that_does_not_finish_is_told_from_one_that_did_nothing(amazon):
    clock = Clock()
    hosted = target_at(amazon, clock=clock, pause=clock.pause, deadline=60)
    amazon.pending = 10**6
    plan = planned(hosted, *texts(hosted, 20, 3000))
    said = r"was changed, but after 60 s Amazon has not .*; plan again later$"
    with pytest.raises(ProviderError, match=said):
        hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 1
    assert clock.now < 80

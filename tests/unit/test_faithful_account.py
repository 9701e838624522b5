"""The account of what a client handed in: what is lost, what is there twice, and why."""

import json

import pytest

from tests.lab.faithful.account import Arrival, account
from tests.lab.faithful.figures import longest_gap, statistics, worst_delay
from tests.lab.faithful.journal import read


def attempt(key, outcome, at, took=1, queue=""):
    text = f"2.0.0 Ok: queued as {queue}" if queue else "no"
    common = {"id": key, "to": "198.51.100.100"}
    more = {"outcome": outcome, "stage": "content", "code": 250 if queue else 0, "text": text}
    return json.dumps({"at": at, "event": "attempt", **common, "began": at - took, **more}) + "\n"


def content(key, at):
    return json.dumps({"at": at, "event": "content", "id": key, "to": "198.51.100.100"}) + "\n"


CASES = {
    "answered and there": (["accepted"], ["Q"], set()),
    "answered and not there": (["accepted"], [], {"lost"}),
    "answered, and only the copy of a cut try is there": (["unknown", "accepted"], ["X"], {"lost"}),
    "answered after a cut try, both are there": (["unknown", "accepted"], ["X", "Q"], {"resent"}),
    "answered after a cut try that was not taken": (["unknown", "accepted"], ["Q"], set()),
    "answered after a lost try, and there twice": (["lost", "accepted"], ["X", "Q"], {"unexplained"}),
    "there twice without a reason": (["accepted"], ["X", "Q"], {"unexplained"}),
    "there twice out of one queue file": (["accepted"], ["Q", "Q"], {"redelivered"}),
    "answered after a 4xx to the content, there twice": (
        ["deferred", "accepted"],
        ["X", "Q"],
        {"denied"},
    ),
    "answered after a 4xx to the content, there once": (["deferred", "accepted"], ["Q"], set()),
    "more copies than cut tries": (["unknown", "accepted"], ["X", "Y", "Q"], {"unexplained"}),
    "never answered and there": (["unknown"], ["X"], {"unanswered"}),
    "never answered and not there": (["unknown"], [], set()),
    "refused": (["refused"], [], {"refused"}),
    "refused and yet there": (["refused"], ["X"], {"refused", "unexplained", "unanswered"}),
    "there, from a host that does not tell its queue id": (["accepted"], [""], set()),
    "twice, from hosts that do not tell": (["accepted"], ["", ""], {"unexplained"}),
}
KINDS = {"lost", "resent", "redelivered", "denied", "unexplained", "unanswered", "refused"}


@pytest.mark.parametrize(("outcomes", "queues", "kinds"), CASES.values(), ids=CASES)
def test_each_message_has_its_place_in_the_account(outcomes, queues, kinds):
    lines = [attempt("m", o, 10 + i, queue="Q" if o == "accepted" else "") for i, o in enumerate(outcomes)]
    found = account(read(lines), [Arrival("m", 20, queue) for queue in queues])
    assert {kind for kind in KINDS if getattr(found, kind)} == kinds
    assert found.kept == (not kinds & {"lost", "unexplained", "denied"})


def test_the_account_is_told_in_one_line():
    lines = [attempt("a", "accepted", 1, queue="A"), attempt("b", "accepted", 2, queue="B")]
    assert str(account(read(lines), [Arrival("a", 3, "A")])) == "2 answered 250, 1 lost"


def test_copies_of_another_client_are_none_of_this_one_s():
    assert account(read([]), [Arrival("m", 3, "A")]).kept


def test_a_killed_client_may_have_been_taken_at_its_word():
    lines = [content("a", 1), attempt("a", "accepted", 2, queue="A"), content("b", 3), '{"at": 4, "eve']
    found = read(lines)
    assert found["a"].unknown == 0
    assert found["b"].unknown == 1
    assert account(found, [Arrival("a", 3, "A"), Arrival("b", 4, "B")]).unanswered == {"b"}


def test_figures_tell_of_outages_and_of_what_one_retry_did_not_cure():
    lines = [
        attempt("a", "accepted", 11, queue="A"),
        attempt("b", "lost", 12),
        attempt("b", "accepted", 15, queue="B"),
        attempt("c", "deferred", 12),
        attempt("c", "unknown", 14),
        attempt("c", "accepted", 16, queue="C"),
        attempt("d", "refused", 16),
    ]
    found = read(lines)
    figures = statistics(found)
    assert (figures.messages, figures.accepted, figures.refused) == (4, 3, 1)
    assert (figures.failed_attempts, figures.unknown, figures.not_cured) == (3, 1, 1)
    assert (figures.worst_delay, figures.longest_gap, figures.seconds) == (5, 4, 6)
    assert (longest_gap(found, 15.5, 17), longest_gap(found, 16.5)) == (1, 0)
    assert (worst_delay(found, 0, 10.5), worst_delay(found, 15.5, 17)) == (1, 5)


def test_figures_of_nothing_are_nothing():
    assert statistics({}).plain == dict.fromkeys(statistics({}).plain, 0)

"""A batch and its fate: answers that never come, edits in between, and what is told of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from maildns.planning.ownership import is_marker_name
from maildns.planning.plan import plan_zone
from maildns.provider import Change, ConflictError, ProviderError
from maildns.providers.cloudflare.writes import Limits, operations
from maildns.records import rrset
from tests.dns.at_cloudflare.zone import SPF, ZONE, A, comments, make, plan, publish
from tests.dns.cloudflare import add, delete

pytestmark = pytest.mark.usefixtures("zone")


@pytest.mark.parametrize("mishap", ["done, 502", "done, cut", "done, hang"])
def test_a_batch_that_was_carried_out_unanswered_is_not_sent_again(cloudflare, clock, mishap):
    provider = make(cloudflare, clock, timeout=0.3 if "hang" in mishap else 5.0)
    made = plan(provider, [A, SPF])
    cloudflare.mishaps["batch"].append(mishap)
    provider.apply(ZONE, made.changes, made.etag)
    assert cloudflare.calls["batch"] == 1
    assert plan(provider, [A, SPF]).changes == ()


@pytest.mark.parametrize("mishap", ["502", "cut"])
def test_a_batch_that_was_not_carried_out_is_sent_again(cloudflare, provider, mishap):
    cloudflare.mishaps["batch"] += [mishap, mishap]
    publish(provider, [A, SPF])
    assert cloudflare.calls["batch"] == 3


def test_a_server_that_stays_broken_is_one_line_and_nothing_is_done(cloudflare, zone, provider):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"] += ["502"] * 10
    with pytest.raises(
        ProviderError, match=r"^changing cf\.example\. at Cloudflare: HTTP 502; nothing was done$"
    ):
        provider.apply(ZONE, made.changes, made.etag)
    assert zone.records == {}
    assert cloudflare.calls["batch"] == 4


def test_a_batch_that_arrives_after_it_was_given_up_is_not_done_twice(cloudflare, zone, provider):
    """The first copy takes effect while the second is under way, which is refused as identical."""
    made = plan(provider, [A, SPF])
    lost = operations(made.changes, provider._state(ZONE), Limits.of_plan("free"), comments=True)
    cloudflare.mishaps["batch"].append("502")
    cloudflare.before_batch.append(lambda: zone.batch(vars(lost)))
    provider.apply(ZONE, made.changes, made.etag)
    assert (len(zone.records), cloudflare.calls["batch"]) == (2, 2)
    assert plan(provider, [A, SPF]).changes == ()


def test_what_somebody_else_did_beside_a_doubtful_batch_is_told_record_by_record(cloudflare, zone, provider):
    made = plan(provider, [A, SPF])
    cloudflare.mishaps["batch"].append("done, 502")
    fetch = cloudflare.answer

    def edit_before_the_next_reading(method, path, query, body, token):
        if method == "GET" and cloudflare.calls["batch"] == 1:
            cloudflare.answer = fetch
            (record,) = zone.at("mail.cf.example")
            zone.delete(record["id"])
        return fetch(method, path, query, body, token)

    cloudflare.answer = edit_before_the_next_reading
    with pytest.raises(ProviderError, match=r"There is cf\.example\. TXT.* and not mail\.cf\.example\. A"):
        provider.apply(ZONE, made.changes, made.etag)


def test_when_nobody_can_be_asked_afterwards_that_is_said(cloudflare, provider):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"].append("done, cut")
    cloudflare.before_batch.append(lambda: cloudflare.mishaps["records"].extend(["502"] * 4))
    with pytest.raises(ProviderError, match="what became of it is not known"):
        provider.apply(ZONE, made.changes, made.etag)
    assert plan(provider, [A]).changes == ()  # it was done, and the next plan sees so


def test_an_edit_in_the_moment_between_reading_and_writing_is_a_conflict(cloudflare, zone, provider):
    """Our record goes, or the very record that we add comes: the batch as a whole is refused."""
    publish(provider, [A])
    b = rrset(f"b.{ZONE}", "A", 300, ["192.0.2.2"])
    moved = rrset(A.name, "A", 300, ["192.0.2.9"])
    for edit in (
        lambda: delete(zone, (f"mail.{ZONE} 300 A 192.0.2.1",)),
        lambda: add(zone, (f"b.{ZONE} 300 A 192.0.2.2",)),
    ):
        made = plan(provider, [moved, b])
        cloudflare.before_batch.append(edit)
        with pytest.raises(
            ConflictError, match="changed by somebody else meanwhile; nothing was done, plan again"
        ):
            provider.apply(ZONE, made.changes, made.etag)
        assert "192.0.2.9" not in comments(zone)
        publish(provider, [A])


def test_a_later_batch_is_refused_where_its_sets_moved_and_what_was_done_is_told(cloudflare, zone, clock):
    provider = make(cloudflare, clock, operations=10)
    wanted = [rrset(f"n{n:02}.{ZONE}", "A", 300, ["192.0.2.1"]) for n in range(25)]
    made = plan(provider, wanted)
    cloudflare.before_batch.append(lambda: add(zone, (f"n24.{ZONE} 300 A 192.0.2.66",)))
    with pytest.raises(ProviderError, match=r"\(2 of 3 batches were taken before\)"):
        provider.apply(ZONE, made.changes, made.etag)
    left = plan(provider, wanted)
    assert [c.key for c in left.conflicts] == [(f"n24.{ZONE}", "A")]
    assert {c.key[0] for c in left.changes if not is_marker_name(c.key[0], ZONE)} == {
        f"n{n}.{ZONE}" for n in range(20, 24)
    }
    assert "192.0.2.66" in comments(zone)


def test_a_refusal_is_the_apis_own_words_and_nothing_is_done(zone, provider):
    add(zone, (f"x.{ZONE} 300 NS ns.example.net.",))
    made = plan(provider, [A])
    forbidden = Change(None, rrset(f"x.{ZONE}", "A", 300, ["192.0.2.5"]), "", unit="x")
    with pytest.raises(
        ProviderError, match=r"NS records with that host already exist \(81056\); nothing was done"
    ):
        provider.apply(ZONE, [*made.changes, forbidden], made.etag)
    assert list(comments(zone)) == ["ns.example.net"]


def test_more_at_one_name_than_a_batch_holds_is_told_beforehand(cloudflare, zone, clock):
    provider = make(cloudflare, clock, operations=10)
    made = plan(provider, [rrset(f"many.{ZONE}", "A", 300, [f"192.0.2.{n}" for n in range(11)])])
    with pytest.raises(ProviderError, match=r"many\.cf\.example\.: 11 records to write at once"):
        provider.apply(ZONE, made.changes, made.etag)
    assert zone.records == {}


def test_the_size_of_a_batch_follows_from_the_zones_plan(cloudflare, clock):
    for plan_name, batches in (("free", 2), ("enterprise", 1)):
        zone = cloudflare.account.add(f"{plan_name}.example", plan_name)
        zone.most_records = 1000  # as zones on the free plan had before September 2024
        provider, name = make(cloudflare, clock), f"{plan_name}.example."
        wanted = [rrset(f"n{n}.{name}", "A", 300, ["192.0.2.1"]) for n in range(201)]
        made = plan_zone(provider.fetch(name), wanted, "us")
        before = cloudflare.calls["batch"]
        provider.apply(name, made.changes, made.etag)
        assert cloudflare.calls["batch"] - before == batches


def test_a_value_that_takes_anothers_place_keeps_the_record_and_its_tags(cloudflare, clock):
    zone = cloudflare.account.add("paid.example", "pro")
    zone.post({"name": "mail", "type": "A", "content": "192.0.2.1", "ttl": 300, "tags": ["team:mail"]})
    provider = make(cloudflare, clock)
    for value in ("192.0.2.1", "192.0.2.2"):
        wanted = [rrset("mail.paid.example.", "A", 300, [value])]
        made = plan_zone(provider.fetch("paid.example."), wanted, "us")
        provider.apply("paid.example.", made.changes, made.etag)
    (record,) = zone.records.values()
    assert (record["content"], record["tags"]) == ("192.0.2.2", ["team:mail"])


def test_many_threads_read_and_write_through_one_provider(cloudflare, clock):
    names = [f"z{n}.example." for n in range(120)]
    for name in names:
        cloudflare.account.add(name.removesuffix("."))
    provider = make(cloudflare, clock)
    barrier = threading.Barrier(8)

    def work(name: str) -> None:
        if name in names[:8]:
            barrier.wait(10)
        wanted = [rrset(f"mail.{name}", "A", 300, ["192.0.2.1"])]
        made = plan_zone(provider.fetch(name), wanted, "us")
        provider.apply(name, made.changes, made.etag)
        assert plan_zone(provider.fetch(name), wanted, "us").changes == ()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, names))
    assert cloudflare.calls["zones"] == 3
    assert cloudflare.calls["batch"] == 120

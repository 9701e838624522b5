"""As fast as Cloudflare allows: waits are waited, windows are not exceeded, the operator is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from maildns.provider import ConflictError, ProviderError
from maildns.providers.cloudflare.pace import RESERVE, Pace, retry_after
from tests.dns.at_cloudflare.zone import ZONE, A, comments, make, plan, publish
from tests.dns.cloudflare import add
from tests.dns.cloudflare_fake.server import REQUESTS

pytestmark = pytest.mark.usefixtures("zone")


@pytest.mark.parametrize("wait", ["7", "90", "900"])
def test_a_wait_that_is_asked_for_is_waited_however_long(cloudflare, clock, wait):
    said = []
    provider = make(cloudflare, clock, say=said.append)
    cloudflare.mishaps["records"].append(f"429 {wait}")
    cloudflare.mishaps["batch"].append(f"429 {wait}")
    publish(provider, [A])
    assert clock.slept == [float(wait)] * 2
    assert said == [f"waiting {wait} s for Cloudflare's rate limit"] * 2
    assert cloudflare.calls["batch"] == 2


def test_without_a_time_each_wait_is_longer_and_none_beyond_the_window(cloudflare, provider, clock):
    cloudflare.mishaps["records"] += ["429"] * 10
    provider.fetch(ZONE)
    assert all(a < b for a, b in zip(clock.slept[:7], clock.slept[1:7], strict=False))
    assert all(wait < 400 for wait in clock.slept)
    assert len(clock.slept) == 10


def test_refusals_without_end_are_one_line(cloudflare, provider):
    cloudflare.mishaps["records"] += ["429"] * 50
    with pytest.raises(ProviderError, match="no more requests"):
        provider.fetch(ZONE)


def test_a_batch_that_is_refused_without_end_says_what_was_done(cloudflare, provider):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"] += ["429"] * 50
    with pytest.raises(ProviderError, match="too many requests; nothing was done"):
        provider.apply(ZONE, made.changes, made.etag)
    cloudflare.mishaps["batch"].clear()
    cloudflare.mishaps["batch"] += ["502", "429 86400"]
    with pytest.raises(ProviderError, match=r"another 86400 s .*; what became of it is not known"):
        provider.apply(ZONE, made.changes, made.etag)


def test_a_wait_of_more_than_an_hour_is_left_to_the_operator(cloudflare, provider, clock):
    cloudflare.mishaps["records"].append("429 86400")
    with pytest.raises(ProviderError, match="for another 86400 s"):
        provider.fetch(ZONE)
    assert clock.slept == []


def test_a_batch_refused_for_its_rate_is_refused_for_good_when_the_zone_moved_meanwhile(
    cloudflare, zone, provider, clock
):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"].append("429 30")
    sleep = clock.sleep

    def edited_while_we_waited(seconds: float) -> None:
        sleep(seconds)
        add(zone, (f"b.{ZONE} 300 A 192.0.2.2",))

    object.__setattr__(provider._api.pace, "sleep", edited_while_we_waited)
    with pytest.raises(ConflictError, match="nothing was done"):
        provider.apply(ZONE, made.changes, made.etag)
    assert list(comments(zone)) == ["192.0.2.2"]


def test_a_window_that_is_nearly_used_up_is_waited_out_before_anything_is_refused(
    cloudflare, provider, clock
):
    """The dashboard used it up."""
    cloudflare.used[provider.token] = (clock.now, REQUESTS - 20)
    for _ in range(40):
        provider.fetch(ZONE)
    assert len(clock.slept) == 1
    assert cloudflare.calls["records"] == 40


def test_threads_wait_together_and_are_counted_once(cloudflare, clock):
    said = []
    provider = make(cloudflare, clock, say=said.append)
    provider.fetch(ZONE)
    cloudflare.mishaps["records"] += ["429 60"]
    with ThreadPoolExecutor(8) as pool:
        assert len({s.etag for s in pool.map(provider.fetch, [ZONE] * 24)}) == 1
    assert len(said) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("12", 12.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_a_wait_is_a_number_or_a_date(header, seconds):
    assert retry_after({"retry-after": header}) == seconds
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    assert 500 < (retry_after({"retry-after": later}) or 0) <= 600


def test_the_reserve_is_left_to_others(clock):
    pace = Pace(clock=clock, sleep=clock.sleep)
    pace.answered({"ratelimit": f'"default";r={RESERVE + 1};t=30'})
    pace.wait()
    pace.answered({"ratelimit": f'"burst";r=50;t=2, "default";r={RESERVE};t=30'})
    pace.wait()
    assert clock.slept == [30.0]

"""How often Cloudflare is asked: as seldom as its API allows, and never faster than it allows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from maildns.planning.plan import plan_zone
from maildns.providers.cloudflare import Cloudflare
from maildns.records import RRset, rrset

ZONES = 1000
AT_ONCE = 4


def wanted(zone: str, ip: str = "192.0.2.1") -> list[RRset]:
    """Eight records, as a sending domain has them."""
    return [
        rrset(f"mail.{zone}", "A", 3600, [ip]),
        rrset(f"mail.{zone}", "AAAA", 3600, ["2001:db8::1"]),
        rrset(zone, "MX", 3600, [f"10 mail.{zone}"]),
        rrset(zone, "TXT", 3600, [f"v=spf1 ip4:{ip} -all"]),
        rrset(f"_dmarc.{zone}", "TXT", 3600, ["v=DMARC1; p=reject"]),
        rrset(f"r1._domainkey.{zone}", "TXT", 3600, ["v=DKIM1; k=rsa; p=" + "A" * 392]),
        rrset(f"_smtp._tls.{zone}", "TXT", 3600, [f"v=TLSRPTv1; rua=mailto:tls@{zone.rstrip('.')}"]),
        rrset(f"_mta-sts.{zone}", "TXT", 3600, ["v=STSv1; id=20260101"]),
    ]


def test_a_thousand_domains_are_planned_and_published_in_the_fewest_calls_within_the_rate(cloudflare, clock):
    """20 pages of zones and one of records for each zone; then one reading and one batch for each."""
    names = [f"d{n:04}.example." for n in range(ZONES)]
    for name in names:
        cloudflare.account.add(name.removesuffix("."))
    said: list[str] = []
    provider = Cloudflare(
        cloudflare.token(), endpoint=cloudflare.endpoint, clock=clock, sleep=clock.sleep, say=said.append
    )

    def plan(name: str):
        return plan_zone(provider.fetch(name), wanted(name), "us")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        plans = list(pool.map(plan, names))
        assert sum(not c.key[0].count("._maildns.") for p in plans for c in p.changes) == 8 * ZONES
        assert dict(cloudflare.calls) == {"zones": ZONES / 50, "records": ZONES}

        cloudflare.calls.clear()
        list(pool.map(lambda p: provider.apply(p.zone, p.changes, p.etag), plans))
        assert dict(cloudflare.calls) == {"records": ZONES, "batch": ZONES}

        cloudflare.calls.clear()
        assert not any(p.changes for p in pool.map(plan, names))
        assert dict(cloudflare.calls) == {"records": ZONES}
    assert sum(len(zone.records) for zone in cloudflare.account.zones.values()) == 8 * ZONES
    assert cloudflare.refused == 0  # 4,020 requests, and the rate was never exceeded
    assert 3 <= len(said) <= 4 * AT_ONCE


def test_a_zone_is_found_on_the_first_page_that_has_it(cloudflare, clock):
    for n in range(120):
        cloudflare.account.add(f"d{n:03}.example")
    provider = Cloudflare(cloudflare.token(), endpoint=cloudflare.endpoint, clock=clock, sleep=clock.sleep)
    for name, pages in (("d000", 1), ("d049", 1), ("d050", 2), ("d001", 2), ("d119", 3), ("d051", 3)):
        provider.fetch(f"{name}.example.")
        assert cloudflare.calls["zones"] == pages


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (99, 1), (100, 1), (101, 2), (200, 2)])
def test_the_empty_page_at_the_end_is_not_asked_for(cloudflare, clock, count, pages):
    zone = cloudflare.account.add("pages.example")
    for n in range(count):
        zone.post({"name": f"n{n}", "type": "A", "content": "192.0.2.1"})
    provider = Cloudflare(
        cloudflare.token(), endpoint=cloudflare.endpoint, page=100, clock=clock, sleep=clock.sleep
    )
    assert len(provider.fetch("pages.example.").rrsets) == count
    assert cloudflare.calls["records"] == pages

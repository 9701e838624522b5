"""The zone of these tests, and what is done in it."""

from __future__ import annotations

from maildns.planning.plan import plan_zone
from maildns.providers.cloudflare import Cloudflare
from maildns.records import rrset

ZONE = "cf.example."
A = rrset(f"mail.{ZONE}", "A", 300, ["192.0.2.1"])
SPF = rrset(ZONE, "TXT", 300, ["v=spf1 a -all"])


def make(cloudflare, clock, **options: object) -> Cloudflare:
    options = {"token": cloudflare.token(), "endpoint": cloudflare.endpoint, "timeout": 5.0} | options
    return Cloudflare(clock=clock, sleep=clock.sleep, **options)


def plan(provider, desired, owner="us", **options):
    return plan_zone(provider.fetch(ZONE), desired, owner, **options)


def publish(provider, desired, owner="us", **options):
    made = plan(provider, desired, owner, **options)
    assert not made.blocked, made
    provider.apply(ZONE, made.changes, made.etag)
    assert plan(provider, desired, owner).changes == ()
    return made


def comments(zone) -> dict[str, str | None]:
    return {r["content"]: r["comment"] for r in zone.records.values()}

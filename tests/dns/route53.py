"""Route 53 as a target of the provider contract."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from maildns.planning.plan import ZonePlan, plan_zone
from maildns.providers.route53 import Route53
from maildns.records import RRset, rrset
from tests.dns.amazon import Amazon, serve
from tests.dns.target import Lines, Target

CANNOT = {"text-4000": "Route 53 takes 4000"}
"""With its quotes, a text of 4,000 octets is longer than a value may be."""

CHANGE, LIST, ZONES = "ChangeResourceRecordSets", "ListResourceRecordSets", "ListHostedZones"

_numbers = itertools.count()


@pytest.fixture(scope="session", name="route53_server")
def route53_server_fixture() -> Iterator[Amazon]:
    yield from serve(Amazon())


@pytest.fixture(name="amazon")
def amazon_fixture(route53_server: Amazon, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Amazon:
    """The account as it is without incidents, and credentials for it in the environment."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    route53_server.faults.clear()
    route53_server.calls.clear()
    route53_server.users.clear()
    route53_server.pending, route53_server.before_change = 0, None
    return route53_server


@pytest.fixture
def route53_target(amazon: Amazon) -> Target:
    return target_at(amazon)


@pytest.fixture(name="hosted")
def hosted_fixture(amazon: Amazon) -> Target:
    """A fresh hosted zone, for what only Route 53 has."""
    return target_at(amazon)


@pytest.fixture(name="hand")
def hand_fixture(amazon: Amazon, hosted: Target) -> Hand:
    """Somebody else, who makes sets that records cannot express."""
    somebody = Hand(amazon)
    somebody.ids[hosted.zone] = next(i for i, z in amazon.zones.items() if z.name == hosted.zone)
    return somebody


@pytest.fixture(name="hurried")
def hurried_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 sleeps between attempts; here only the number of attempts matters."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr("botocore.retries.bucket.TokenBucket.acquire", lambda *_, **__: True)


def target_at(amazon: Amazon, **options: Any) -> Target:
    """A fresh hosted zone."""
    zone = f"cloud{next(_numbers)}.example."
    hand = Hand(amazon)
    hand.create(zone)
    provider = Route53(endpoint=amazon.endpoint, **options)
    return Target(
        zone, provider, partial(hand.add, zone), partial(hand.delete, zone), frozenset({zone}), CANNOT
    )


class Hand:
    """Somebody else at the same account: composed apart from the code under test."""

    def __init__(self, amazon: Amazon) -> None:
        self.client = boto3.client("route53", endpoint_url=amazon.endpoint, region_name="us-east-1")
        self.ids: dict[str, str] = {}

    def create(self, zone: str, **options: Any) -> str:
        made = self.client.create_hosted_zone(Name=zone, CallerReference=f"{next(_numbers)}", **options)
        self.ids[zone] = made["HostedZone"]["Id"]
        return self.ids[zone].removeprefix("/hostedzone/")

    def sets(self, zone: str) -> dict[tuple[str, str], dict[str, Any]]:
        pages = self.client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=self.ids[zone])
        return {(r["Name"], r["Type"]): r for page in pages for r in page["ResourceRecordSets"]}

    def change(self, zone: str, action: str, *sets: dict[str, Any]) -> None:
        changes = [{"Action": action, "ResourceRecordSet": each} for each in sets]
        for start in range(0, len(changes), 400):
            batch = {"Changes": changes[start : start + 400]}
            self.client.change_resource_record_sets(HostedZoneId=self.ids[zone], ChangeBatch=batch)

    def add(self, zone: str, lines: Lines) -> None:
        held, wanted = self.sets(zone), {}
        for name, ttl, type_, value in _read(lines):
            key = (name, type_)
            known = wanted.get(key) or held.get(key, {}).get("ResourceRecords", [])
            wanted[key] = [*known, {"Value": value}]
            held[key] = {"Name": name, "Type": type_, "TTL": ttl, "ResourceRecords": wanted[key]}
        self.change(zone, "UPSERT", *(held[key] for key in wanted))

    def delete(self, zone: str, lines: Lines) -> None:
        held = self.sets(zone)
        for name, _, type_, value in _read(lines):
            each = held[name, type_]
            left = [r for r in each["ResourceRecords"] if r["Value"] != value]
            assert len(left) < len(each["ResourceRecords"]), (each, value)
            if left:
                self.change(zone, "UPSERT", {**each, "ResourceRecords": left})
            else:
                self.change(zone, "DELETE", each)


def _read(lines: Lines) -> Iterator[tuple[str, int, str, str]]:
    for line in lines:
        name, ttl, type_, value = line.split(maxsplit=3)
        yield name.lower().replace("*", "\\052"), int(ttl), type_, value


def planned(hosted: Target, *desired: RRset) -> ZonePlan:
    return plan_zone(hosted.provider.fetch(hosted.zone), desired, "us")


def apply(hosted: Target, *desired: RRset) -> None:
    plan = planned(hosted, *desired)
    assert not plan.blocked, plan
    hosted.provider.apply(hosted.zone, plan.changes, plan.etag)
    assert planned(hosted, *desired).changes == ()


def an_a(hosted: Target, name: str = "a", value: str = "192.0.2.1") -> RRset:
    return rrset(f"{name}.{hosted.zone}", "A", 300, [value])


def texts(hosted: Target, count: int, size: int, letter: str = "y") -> list[RRset]:
    return [rrset(f"_k{n}.{hosted.zone}", "TXT", 300, [letter * size]) for n in range(count)]


def table(hosted: Target) -> dict[tuple[str, str], RRset]:
    return {r.key: r for r in hosted.provider.fetch(hosted.zone).rrsets}


def simple(name: str, type_: str = "A", value: str = "192.0.2.9", **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": type_, "TTL": 60, "ResourceRecords": [{"Value": value}], **more}


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

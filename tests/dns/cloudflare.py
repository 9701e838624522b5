"""Cloudflare's API, faked on loopback: targets of the provider contract, in both kinds of ownership."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from maildns.providers.cloudflare import Cloudflare
from maildns.providers.cloudflare.codec import fields_of
from maildns.records import canonical_value
from tests.dns.cloudflare_fake.account import Zone
from tests.dns.cloudflare_fake.server import Fake, serving
from tests.dns.target import Lines, Target

CANNOT = {
    "text-0": "no empty text",
    "ttl-0": "TTL 0 is outside 60 to 86400",
    "ttl-1": "TTL 1 is outside 60 to 86400",
    "ttl-2147483647": "TTL 2147483647 is outside 60 to 86400",
}

_numbers = itertools.count(1)


@pytest.fixture(name="cloudflare")
def cloudflare_fixture() -> Iterator[Fake]:
    with serving() as each:
        yield each


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def cloudflare_target(cloudflare: Fake) -> Target:
    return target(cloudflare, comments=True)


@pytest.fixture
def cloudflare_records_target(cloudflare: Fake) -> Target:
    """Ownership in records, small pages and small batches."""
    return target(cloudflare, comments=False, page=100, operations=200)


def target(fake: Fake, plan: str = "pro", **options: object) -> Target:
    """A fresh zone and a token for it alone."""
    name = f"cf{next(_numbers)}.example"
    zone = fake.account.add(name, plan)
    provider = Cloudflare(fake.token(name), endpoint=fake.endpoint, **options)  # type: ignore[arg-type]
    return Target(
        f"{name}.", provider, lambda lines: add(zone, lines), lambda lines: delete(zone, lines), cannot=CANNOT
    )


def add(zone: Zone, lines: Lines, **fields: object) -> None:
    """Somebody at the dashboard, which is another client of the same API."""
    for line in lines:
        name, ttl, type_, value = line.split(maxsplit=3)
        zone.post({"name": name, "type": type_, "ttl": int(ttl), **_typed(type_, value), **fields})


def delete(zone: Zone, lines: Lines) -> None:
    for line in lines:
        name, _, type_, value = line.split(maxsplit=3)
        (record,) = (
            r for r in zone.at(name.lower().removesuffix("."), type_) if _same(r, _typed(type_, value))
        )
        zone.delete(record["id"])


def _typed(type_: str, value: str) -> dict[str, object]:
    """The value in the dashboard's fields, as it was typed."""
    if type_ == "MX":
        priority, host = value.split()
        return {"priority": int(priority), "content": host}
    if type_ in {"SRV", "CAA", "TLSA"}:
        return fields_of(type_, canonical_value(type_, value))
    return {"content": value}


def _same(record: dict[str, object], typed: dict[str, object]) -> bool:
    return all(record[field] == value for field, value in typed.items())

"""What Cloudflare keeps: zones with their records, and tokens that see some of them.

Facts: a record is refused that is there already (81058), a CNAME beside addresses or another CNAME
(81053) and addresses beside a CNAME (81054), but not other types beside a CNAME; NS below the apex stand
alone (81056); a zone on the free plan holds 200 records, others 3,500; values of one name and type have
8,192 characters together. A batch is deletes, patches, puts, posts in that order, at most 200 on
the free plan and 3,500 on others, and the first error undoes all of it. SOA and NS at the apex are
Cloudflare's own and no records. PUT sets what it does not name to its default, PATCH leaves it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from tests.dns.cloudflare_fake.errors import ApiError, clash
from tests.dns.cloudflare_fake.records import normal

Raw = dict[str, Any]

_WRITTEN = ("name", "type", "content", "data", "priority", "ttl", "proxied", "comment", "tags")


class Zone:
    """One zone. `plan` is the `legacy_id` of its plan."""

    def __init__(self, number: int, name: str, plan: str) -> None:
        self.status = "active"
        self.id, self.name, self.plan = f"{number:032x}", name, plan
        self.paid = plan != "free"
        self.most_records = 3500 if self.paid else 200
        self.most_operations = 3500 if self.paid else 200
        self.records: dict[str, Raw] = {}
        self._names: dict[str, dict[str, Raw]] = {}
        self._count = itertools.count(1)

    def about(self) -> Raw:
        """As the list of zones has it."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "type": "full",
            "plan": {"id": "0" * 32, "name": self.plan.title(), "legacy_id": self.plan},
        }

    def post(self, body: Raw) -> Raw:
        record = normal(body, self.name, paid=self.paid)
        if len(self.records) >= self.most_records:
            raise clash(81045, "Record quota exceeded.")
        self._refuse_clash(record)
        number = next(self._count)
        record |= {
            "id": f"{self.id[-8:]}{number:024x}",
            "created_on": _time(number),
            "modified_on": _time(number),
        }
        self._keep(record)
        return record

    def put(self, id_: str, body: Raw) -> Raw:
        old = self.get(id_)
        record = normal(body, self.name, paid=self.paid)
        self._forget(old)
        self._refuse_clash(record)
        record |= {"id": id_, "created_on": old["created_on"], "modified_on": _time(next(self._count))}
        self._keep(record)
        return record

    def patch(self, id_: str, body: Raw) -> Raw:
        old = self.get(id_)
        if body.get("type", old["type"]) != old["type"]:
            raise clash(1004, "The type of a record cannot be changed.")
        return self.put(id_, {field: old[field] for field in _WRITTEN if field in old} | body)

    def delete(self, id_: str) -> Raw:
        record = self.get(id_)
        self._forget(record)
        return {"id": id_}

    def get(self, id_: str) -> Raw:
        if id_ not in self.records:
            raise ApiError(404, 81044, "Record does not exist.")
        return self.records[id_]

    def batch(self, body: Raw) -> Raw:
        lists = {name: body.get(name) or [] for name in ("deletes", "patches", "puts", "posts")}
        for unknown in set(body) - set(lists):
            raise clash(1004, f"{unknown} is not a list of operations.")
        if not 0 < sum(map(len, lists.values())) <= self.most_operations:
            raise clash(1004, f"A batch holds 1 to {self.most_operations} operations.")
        before = dict(self.records)
        try:
            return {
                "deletes": [self.delete(each["id"]) for each in lists["deletes"]],
                "patches": [self.patch(each["id"], each) for each in lists["patches"]],
                "puts": [self.put(each["id"], each) for each in lists["puts"]],
                "posts": [self.post(each) for each in lists["posts"]],
            }
        except (ApiError, KeyError):
            self.records, self._names = {}, {}
            for record in before.values():
                self._keep(record)
            raise

    def at(self, name: str, *types: str) -> list[Raw]:
        """The records of a name."""
        return [r for r in self._names.get(name, {}).values() if not types or r["type"] in types]

    def _keep(self, record: Raw) -> None:
        self.records[record["id"]] = record
        self._names.setdefault(record["name"], {})[record["id"]] = record

    def _forget(self, record: Raw) -> None:
        del self.records[record["id"]]
        del self._names[record["name"]][record["id"]]

    def _refuse_clash(self, record: Raw) -> None:
        name, type_ = record["name"], record["type"]
        same = self.at(name, type_)
        if any(_identity(each) == _identity(record) for each in same):
            raise clash(81058, "An identical record already exists.")
        if type_ == "CNAME" and self.at(name, "A", "AAAA", "CNAME"):
            raise clash(81053, "An A, AAAA, or CNAME record with that host already exists.")
        if type_ in {"A", "AAAA"} and self.at(name, "CNAME"):
            raise clash(81054, "A CNAME record with that host already exists.")
        if name != self.name and any((r["type"] == "NS") != (type_ == "NS") for r in self.at(name)):
            raise clash(81056, "NS records with that host already exist.")
        if sum(len(each["content"]) for each in (*same, record)) > 8192:
            raise clash(1004, "Combined content length of records with this name and type exceeds 8192.")


def _identity(record: Raw) -> tuple[Any, ...]:
    return record["content"], record.get("priority")


def _time(number: int) -> str:
    return f"2026-01-01T00:00:00.{number:06d}Z"


class Account:
    """Zones, and tokens to the names of zones that they are for (`None`: all)."""

    def __init__(self) -> None:
        self.zones: dict[str, Zone] = {}
        self.tokens: dict[str, set[str] | None] = {}

    def add(self, name: str, plan: str = "free") -> Zone:
        zone = Zone(len(self.zones) + 1, name, plan)
        self.zones[zone.id] = zone
        return zone

    def named(self, name: str) -> Zone:
        return next(zone for zone in self.zones.values() if zone.name == name.removesuffix("."))

    def seen_by(self, token: str) -> Iterable[Zone]:
        scope = self.tokens[token]
        return [zone for zone in self.zones.values() if scope is None or zone.name in scope]

    def zone(self, token: str, id_: str) -> Zone:
        if id_ not in self.zones:
            route = f"/zones/{id_}/dns_records"
            message = f"Could not route to {route}, perhaps your object identifier is invalid?"
            raise ApiError(404, 7003, message)
        if self.zones[id_] not in self.seen_by(token):
            raise ApiError(403, 10000, "Authentication error")
        return self.zones[id_]

"""Cloudflare's API through its SDK: zones, records, batches; every failure as one line.

The SDK is kept from some things it does by itself. It tries POST again, so that a batch that was
committed comes back as an error: `max_retries=0`, and who may try again is decided here. It follows
no Retry-After above a minute: `pace`, beside this, does. Its lists page until a page is empty and
its models make fractions of numbers: answers are taken raw, and say how many pages there are. And it
reads keys, addresses and headers from the environment, where `CLOUDFLARE_EMAIL` alone makes it drop
the token: what is sent is set here, header by header.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import httpx

from maildns.errors import RecordError
from maildns.provider import ProviderError
from maildns.providers.cloudflare.codec import name_of
from maildns.providers.cloudflare.pace import Pace
from maildns.providers.cloudflare.writes import Limits, Operations

if TYPE_CHECKING:
    from cloudflare import Cloudflare

ENDPOINT = "https://api.cloudflare.com/client/v4"

ZONES_A_PAGE = 50
"""The most that the API gives."""

TRIES = 4
"""How often a question is asked, or a batch sent whose fate is unknown, before we give up."""

SERVER_ERROR = 500
"""The first status that says nothing about what was done."""

_SENT = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length"}
"""Headers that httpx makes for every request."""

_TOKEN = re.compile(r"[!-~]+")
"""What can be a header; the error about one that cannot would show it."""


class UnsureError(ProviderError):
    """Nobody knows whether the request was carried out."""


class LimitedError(ProviderError):
    """The request came too early and was not carried out."""


class RefusedError(ProviderError):
    """The request was understood and not carried out."""


@dataclass(frozen=True)
class ZoneId:
    """A zone as the API knows it."""

    id: str
    limits: Limits


class Api:
    """One token's view of Cloudflare. Threads may share it: the zones are listed once, the pace is one."""

    def __init__(self, token: str, endpoint: str, timeout: float, page: int, pace: Pace) -> None:
        """Connect to nothing yet. `page` is how many records to ask for at a time."""
        self._token, self._endpoint, self._timeout = token, endpoint, timeout
        self._records_a_page = page
        self.pace = pace
        self._lock = threading.Lock()
        self._zones: dict[str, ZoneId] = {}
        self._zone_pages = 0
        self._all_zones = False

    def zone(self, zone: str) -> ZoneId:
        """The zone's id. Pages of the token's zones are read until it is among them, each page once.

        Raises:
            ProviderError: the token sees no such zone.
        """
        with self._lock:
            while zone not in self._zones and not self._all_zones:
                self._list_more_zones()
        if zone not in self._zones:
            raise ProviderError(
                f"Cloudflare's token sees no zone {zone}; "
                f"is it a zone of the account, and among those that the token is for?"
            )
        return self._zones[zone]

    def records(self, zone: str) -> list[Mapping[str, Any]]:
        """All records of a zone, whole: if it changed between two pages it is read again.

        Raises:
            ProviderError: they cannot be read.
        """
        path, what = f"/zones/{self.zone(zone).id}/dns_records", f"reading {zone}"
        for _ in range(TRIES):
            found: dict[str, Mapping[str, Any]] = {}
            page, last, totals = 0, False, set()
            while not last:
                page += 1
                answer, last = self._page(what, path, page, self._records_a_page)
                found |= {str(raw["id"]): raw for raw in answer["result"]}
                totals.add((answer.get("result_info") or {}).get("total_count"))
            if page == 1 or totals in ({len(found)}, {None}):
                return list(found.values())
        raise ProviderError(f"{what} at Cloudflare: it changes faster than it can be read; try again")

    def batch(self, zone: str, operations: Operations) -> None:
        """Carry out one batch, whole or not at all. Sent once.

        Raises:
            UnsureError, LimitedError, RefusedError: what became of it.
        """
        path = f"/zones/{self.zone(zone).id}/dns_records/batch"
        lists = {name: each for name, each in vars(operations).items() if each}
        self._ask(f"changing {zone}", lambda: self._sdk.post(path, cast_to=httpx.Response, body=lists))

    def _list_more_zones(self) -> None:
        answer, last = self._page("listing the zones", "/zones", self._zone_pages + 1, ZONES_A_PAGE)
        self._zone_pages, self._all_zones = self._zone_pages + 1, last
        for raw in answer["result"]:
            try:
                name = name_of(raw["name"])
            except RecordError:
                continue  # no name that a fleet file could hold
            # One name may be in two accounts, and only one of them is in force.
            if name not in self._zones or raw.get("status") == "active":
                plan = (raw.get("plan") or {}).get("legacy_id", "")
                self._zones[name] = ZoneId(raw["id"], Limits.of_plan(plan))

    def _page(self, what: str, path: str, page: int, size: int) -> tuple[Any, bool]:
        """One page of a list, and whether it is the last."""
        options: Any = {"params": {"page": page, "per_page": size}}
        ask = partial(self._sdk.get, path, cast_to=httpx.Response, options=options)
        answer = self._ask_until(what, ask)
        info = answer.get("result_info") or {}
        last = page >= int(info["total_pages"]) if "total_pages" in info else not answer["result"]
        return answer, last

    def _ask_until(self, what: str, ask: Callable[[], httpx.Response]) -> Any:  # noqa: ANN401 - JSON
        """Ask what changes nothing, again if need be."""
        failures = 0
        while True:
            try:
                return self._ask(what, ask)
            except LimitedError:
                continue  # the pace waits as long as it was told
            except UnsureError:
                failures += 1
                if failures == TRIES:
                    raise
                self.pace.back_off(failures)

    def _ask(self, what: str, ask: Callable[[], httpx.Response]) -> Any:  # noqa: ANN401 - JSON
        """One request, one line if it fails."""
        from cloudflare import APIConnectionError, APIStatusError, APITimeoutError  # noqa: PLC0415 - slow

        who = f"{what} at Cloudflare"
        self.pace.wait()
        try:
            answer = ask()
        except APITimeoutError:
            raise UnsureError(f"{who}: no answer within {self._timeout:g} s") from None
        except APIConnectionError as error:
            cause = error.__cause__
            raise UnsureError(f"{who}: {type(cause).__name__}: {cause}".rstrip(": ")) from None
        except APIStatusError as error:
            self._judge(who, error)
        self.pace.answered(answer.headers)
        try:
            content = answer.json()
        except ValueError:
            raise UnsureError(f"{who}: the answer is no JSON") from None
        if not (isinstance(content, Mapping) and content.get("success", True)):
            raise UnsureError(f"{who}: {_said(content) or 'the answer is not what the API promises'}")
        return content

    def _judge(self, who: str, error: Any) -> None:  # noqa: ANN401 - the SDK is imported late
        status = error.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS:
            self.pace.refused(error.response.headers)
            raise LimitedError(f"{who}: too many requests") from None
        if status >= SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
            raise UnsureError(f"{who}: HTTP {status}") from None
        said = _said(error.body) or f"HTTP {status}"
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN} or "(6003)" in said:
            said += "; the token needs Zone:Read and DNS:Edit on this zone"
        raise RefusedError(f"{who}: {said}") from None

    @cached_property
    def _sdk(self) -> Cloudflare:
        from cloudflare import Cloudflare  # noqa: PLC0415 - half a second, and most runs need other providers

        if not _TOKEN.fullmatch(self._token):
            raise ProviderError("Cloudflare's API token is none: there are blanks or other marks in it")
        web = httpx.Client(
            timeout=self._timeout, follow_redirects=False, event_hooks={"request": [self._only_ours]}
        )
        return Cloudflare(
            api_token=self._token,
            base_url=self._endpoint,
            max_retries=0,
            timeout=self._timeout,
            http_client=web,
        )

    def _only_ours(self, request: httpx.Request) -> None:
        """The last hand on a request: what the environment put into it goes out again."""
        for name in [name for name in request.headers if name.lower() not in _SENT]:
            del request.headers[name]
        request.headers["Authorization"] = f"Bearer {self._token}"
        request.headers["User-Agent"] = "maildns"


def _said(body: object) -> str:
    """What an error envelope says: `DNS Validation Error (1004): TTL must be ... (9021)`."""
    errors = body.get("errors") if isinstance(body, Mapping) else None
    links = [link for each in errors or () for link in (each, *(each.get("error_chain") or ()))]
    parts = [f"{str(link.get('message', '')).strip().rstrip('.')} ({link.get('code')})" for link in links]
    return " ".join(": ".join(parts).split())[:500]

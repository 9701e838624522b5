"""Cloudflare's API on loopback: its routes, envelopes, pages, tokens, rates and failures.

Facts: `GET /zones` gives 20 a page, 50 at most; `dns_records` 100 a page, 5,000,000 at most; a page past the
last is empty; `result_info` counts. A token is `Authorization: Bearer`; with the headers of the old
keys beside it, those are looked at instead (6003 with 6103); a header of another form is 6003 with
6111, an unknown token 9109. 1,200 requests in 5 minutes for each token, told by
`Ratelimit: "default";r=LEFT;t=SECONDS`; who exceeds them is refused for the 5 minutes that follow,
with `Retry-After` or without.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.dns.cloudflare_fake.account import Account, Zone
from tests.dns.cloudflare_fake.errors import ApiError

PREFIX = "/client/v4"
TOKEN = re.compile(r"[A-Za-z0-9_-]{40,80}")
REQUESTS, WINDOW = 1200, 300.0


class Fake:
    """The account, and everything that can go wrong on the way to it.

    `calls` counts requests by what they are ("zones", "records", "batch" ...). `mishaps` holds what
    happens to the next requests of a kind:

    - `429`, `429 90`: refused, with 90 seconds to wait or without saying so;
    - `502`: not carried out, `done, 502`: carried out, and a bad gateway all the same;
    - `307`: sent on to the same place under another name of the host;
    - `cut`, `done, cut`: the connection ends, before or after;
    - `done, hang`: carried out, and no answer until `release`.
    """

    def __init__(self) -> None:
        self.account = Account()
        self.calls: Counter[str] = Counter()
        self.mishaps: dict[str, deque[str]] = {"records": deque(), "batch": deque(), "zones": deque()}
        self.before_batch: deque[Callable[[], object]] = deque()
        """Called, one a batch, after it came and before it is looked at."""
        self.headers: list[dict[str, str]] = []
        self.clock: Callable[[], float] = time.monotonic
        self.tells_retry_after = True
        self.refused = 0
        """Requests that came too early."""
        self.release = threading.Event()
        self.lock = threading.RLock()
        self.used: dict[str, tuple[float, int]] = {}
        """Token to the start of its window and the requests since."""
        self._blocked: dict[str, float] = {}
        self.endpoint = ""

    def token(self, *zones: str) -> str:
        """A new token for these zones, or for all."""
        token = f"token{len(self.account.tokens):05}".ljust(40, "x")
        self.account.tokens[token] = {z.removesuffix(".") for z in zones} or None
        return token

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, token: str) -> dict[str, Any]:
        """The result of one request that is let through."""
        match = re.fullmatch(r"/zones(?:/([^/]+)/dns_records(?:/([^/]+))?)?", path)
        if match is None:
            raise ApiError(
                404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?"
            )
        if match[1] is None:
            return self._zones(query, token)
        zone = self.account.zone(token, match[1])
        if match[2] is None and method == "GET":
            return _page(list(zone.records.values()), query, 100, 5_000_000)
        return {"result": _write(zone, method, match[2], body)}

    def _zones(self, query: dict[str, str], token: str) -> dict[str, Any]:
        order, name = query.pop("order", "name"), query.pop("name", None)
        zones = [z.about() for z in self.account.seen_by(token) if name in {None, z.name}]
        return _page(sorted(zones, key=lambda zone: str(zone[order])), query, 20, 50)

    def admit(self, token: str) -> dict[str, str]:
        """Count a request; the headers that say how many are left."""
        now = self.clock()
        if now < self._blocked.get(token, 0.0):
            raise self._too_many(self._blocked[token] - now)
        since, count = self.used.get(token, (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        self.used[token] = (since, count + 1)
        if count + 1 > REQUESTS:
            self._blocked[token] = now + WINDOW
            raise self._too_many(WINDOW)
        left, reset = REQUESTS - count - 1, int(since + WINDOW - now) + 1
        return {
            "Ratelimit": f'"default";r={left};t={reset}',
            "Ratelimit-Policy": f'"default";q={REQUESTS};w={int(WINDOW)}',
        }

    def _too_many(self, wait: float) -> ApiError:
        self.refused += 1
        headers = {"Retry-After": str(int(wait) + 1)} if self.tells_retry_after else {}
        message = f"More than {REQUESTS} requests per {int(WINDOW)} seconds reached. Please wait and consider throttling your request speed"  # noqa: E501
        return ApiError(429, 971, message, headers=headers)


def _page(items: list[Any], query: dict[str, str], default: int, most: int) -> dict[str, Any]:
    try:
        page, size = int(float(query.pop("page", 1))), int(float(query.pop("per_page", default)))
    except ValueError:
        raise ApiError(400, 1004, "page and per_page are numbers") from None
    if query or page < 1 or not 1 <= size <= most:
        raise ApiError(400, 1004, f"parameters out of range: {query} {page} {size}")
    result = items[(page - 1) * size : page * size]
    info = {
        "page": page,
        "per_page": size,
        "count": len(result),
        "total_count": len(items),
        "total_pages": max(1, -(-len(items) // size)),
    }
    return {"result": result, "result_info": info}


def _write(zone: Zone, method: str, id_: str | None, body: Any) -> Any:
    if method not in {"DELETE", "GET"} and not isinstance(body, dict):
        raise ApiError(400, 9207, "Failed to parse request body, content-type must be application/json")
    match method, id_:
        case "POST", None:
            return zone.post(body)
        case "POST", "batch":
            return zone.batch(body)
        case "GET", str():
            return zone.get(id_)
        case "PUT", str():
            return zone.put(id_, body)
        case "PATCH", str():
            return zone.patch(id_, body)
        case "DELETE", str():
            return zone.delete(id_)
    raise ApiError(405, 7001, f"Method {method} not available for that URI.")


def _refuse_early(mishap: str) -> None:
    if mishap.startswith("429"):
        wait = {"Retry-After": mishap.split(" ", 1)[1]} if " " in mishap else {}
        raise ApiError(429, 971, "Please wait and consider throttling your request speed", headers=wait)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path.removeprefix(PREFIX), dict(parse_qsl(parts.query))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = "batch" if path.endswith("/batch") else "zones" if path == "/zones" else "records"
        with self.fake.lock:
            self.fake.calls[kind] += 1
            self.fake.headers.append(dict(self.headers))
            mishaps = self.fake.mishaps[kind]
            mishap = mishaps.popleft() if mishaps else ""
            status, envelope, headers = self._answer(path, query, raw, mishap)
        if mishap.endswith("hang"):
            self.fake.release.wait(30)
        if mishap.endswith("cut"):
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if mishap.endswith("502"):
            status, envelope, headers = 502, None, {}
        if mishap == "307":
            elsewhere = self.fake.endpoint.replace("127.0.0.1", "localhost")
            status, envelope, headers = 307, None, {"Location": elsewhere + path}
        self._send(status, envelope, headers)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names that http.server calls

    def _answer(
        self, path: str, query: dict[str, str], raw: bytes, mishap: str
    ) -> tuple[int, dict[str, Any] | None, dict[str, str]]:
        headers: dict[str, str] = {}
        try:
            token = self._authorised()
            headers = self.fake.admit(token)
            _refuse_early(mishap)
            if mishap and not mishap.startswith("done"):
                return 502, None, {}
            body = self._json(raw)
            if path.endswith("/batch") and self.fake.before_batch:
                self.fake.before_batch.popleft()()
            answer = self.fake.answer(self.command, path, query, body, token)
        except ApiError as error:
            return error.status, error.envelope(), headers | error.headers
        return 200, {"success": True, "errors": [], "messages": [], **answer}, headers

    def _authorised(self) -> str:
        if any(name.lower().startswith("x-auth-") for name in self.headers):
            chain = [(6103, "Invalid format for X-Auth-Key header")]
            raise ApiError(400, 6003, "Invalid request headers", chain)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not TOKEN.fullmatch(token):
            chain = [(6111, "Invalid format for Authorization header")]
            raise ApiError(400, 6003, "Invalid request headers", chain)
        if token not in self.fake.account.tokens:
            raise ApiError(403, 9109, "Invalid access token")
        return token

    def _json(self, raw: bytes) -> Any:
        if not raw or self.headers.get("Content-Type") != "application/json":
            return None
        try:
            return json.loads(raw)
        except ValueError:
            return None

    def _send(self, status: int, envelope: dict[str, Any] | None, headers: dict[str, str]) -> None:
        content = json.dumps(envelope).encode() if envelope else b"<html>Bad gateway</html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if envelope else "text/html")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self._headers_buffer.append(b"\r\n" + content)  # one segment: no waiting for an acknowledgement
        self.flush_headers()

    def log_message(self, *_: object) -> None:
        """Keep the tests' output to the tests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that hung up is part of the tests."""


@contextlib.contextmanager
def serving() -> Iterator[Fake]:
    """A fake that answers at `endpoint` until the end of the block."""
    fake = Fake()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    fake.endpoint = f"http://127.0.0.1:{server.server_port}{PREFIX}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.release.set()
        server.shutdown()
        server.server_close()

"""Route 53 on loopback: moto's server, with the rules that Amazon documents and moto does not keep in front.

moto answers and remembers; `amazon_rules` decides which changes reach it, whole or not at all. Tests inject
what a network and a busy service do.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.route53.models import ChangeList, route53_backends
from werkzeug.serving import make_server

from tests.dns.amazon_rules import Content, Wanted, refusals

NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"

Start = Callable[..., Any]


@dataclass
class Fault:
    """Something that happens to the next requests of one kind."""

    action: str
    code: str = ""
    status: int = 400
    message: str = "injected"
    times: int = 1
    made: bool = False
    """Whether the request is carried out and only its answer is lost."""
    cut: bool = False
    """No answer at all: the connection ends."""


@dataclass
class Amazon:
    """The account, and what tests do to it."""

    calls: Counter[str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)
    """The access keys that requests were signed with."""
    faults: list[Fault] = field(default_factory=list)
    pending: int = 0
    """How many questions a change stays PENDING for."""
    before_change: Callable[[], None] | None = None
    """Runs once, when the next change has arrived and is not yet looked at."""
    largest: tuple[int, int] = (0, 0)
    """The most elements and characters that a change has held."""
    endpoint: str = ""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _moto: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))
    _waiting: dict[str, int] = field(default_factory=dict)

    @property
    def zones(self) -> dict[str, Any]:
        """moto's own, by id."""
        return route53_backends[DEFAULT_ACCOUNT_ID]["aws"].zones

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        action = _action(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        with self._lock:
            self.calls[action] += 1
            self.users |= set(re.findall(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", "")))
            fault = self._fault(action)
        if fault and not fault.made:
            return _fail(environ, start, fault)
        if action == "ChangeResourceRecordSets":
            if self.before_change:
                hook, self.before_change = self.before_change, None
                hook()
            with self._lock:
                answer = self._change(environ, body, start)
        elif action == "GetChange":
            answer = self._get_change(environ, start)
        else:
            environ["wsgi.input"] = BytesIO(body)
            answer = b"".join(self._moto(environ, start))
        if fault:
            return _fail(environ, start, fault)
        return [answer]

    def _fault(self, action: str) -> Fault | None:
        found = next((f for f in self.faults if f.action == action and f.times), None)
        if found:
            found.times -= 1
        return found

    def _change(self, environ: dict[str, Any], body: bytes, start: Start) -> bytes:
        zone = self.zones.get(environ["PATH_INFO"].strip("/").split("/")[2])
        if zone is None:
            return _error(start, 404, "NoSuchHostedZone", "No hosted zone found")
        body = re.sub(rb"<Name>(.*?)</Name>", _as_stored, body)
        changes = list(_read(body))
        count, characters = _size(changes)
        refused = list(refusals(changes, _content(zone), zone.name, count, characters))
        if refused:
            return _error(start, 400, "InvalidChangeBatch", f"[{', '.join(refused)}]")
        self.largest = max(self.largest[0], count), max(self.largest[1], characters)
        # moto wants a DELETE to name a set that it remembers as written, in that order of values.
        zone.rr_changes = ChangeList()
        for action, name, type_, ttl, values in changes:
            if action == "DELETE" and values:
                same = {"Name": name, "Type": type_, "TTL": ttl, "ResourceRecords": _records(values)}
                zone.rr_changes.append({"Action": "UPSERT", "ResourceRecordSet": same})
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        answer = b"".join(self._moto(environ, lambda status, headers: None))  # noqa: ARG005 - WSGI's
        assert b"<ChangeInfo>" in answer, answer
        number = f"C{self.calls['ChangeResourceRecordSets']:012}"
        self._waiting[number] = self.pending
        return _answer(
            start,
            f"<ChangeResourceRecordSetsResponse {_XMLNS}>{self._info(number)}",
            "ChangeResourceRecordSetsResponse",
        )

    def _get_change(self, environ: dict[str, Any], start: Start) -> bytes:
        number = environ["PATH_INFO"].strip("/").split("/")[2]
        with self._lock:
            if number not in self._waiting:
                return _error(start, 404, "NoSuchChange", f"Could not find resource with ID: {number}")
            self._waiting[number] = max(0, self._waiting[number] - 1)
            return _answer(start, f"<GetChangeResponse {_XMLNS}>{self._info(number)}", "GetChangeResponse")

    def _info(self, number: str) -> str:
        status = "PENDING" if self._waiting[number] else "INSYNC"
        when = "2026-11-22T00:00:00.000Z"
        return (
            f"<ChangeInfo><Id>/change/{number}</Id><Status>{status}</Status>"
            f"<SubmittedAt>{when}</SubmittedAt></ChangeInfo>"
        )


def _content(zone: Any) -> Content:
    return {
        (each.name, each.type): None
        if each.alias_target or each.set_identifier
        else (int(each.ttl), frozenset(map(str, each.records)))
        for each in zone.rrsets
    }


def _read(body: bytes) -> Iterator[Wanted]:
    at = f"{{{NAMESPACE}}}"
    for change in ET.fromstring(body).iter(f"{at}Change"):  # noqa: S314 - from our own client
        rrset = change.find(f"{at}ResourceRecordSet")
        alias = rrset.find(f"{at}AliasTarget") is not None
        values = None if alias else tuple(value.text or "" for value in rrset.iter(f"{at}Value"))
        texts = [change.findtext(f"{at}Action"), *(rrset.findtext(f"{at}{t}") for t in ("Name", "Type"))]
        yield (*texts, int(rrset.findtext(f"{at}TTL") or 0), values)


def _size(changes: Iterable[Wanted]) -> tuple[int, int]:
    """Elements and characters; an UPSERT counts twice."""
    doubled = [(2 if c[0] == "UPSERT" else 1, c[4] or ()) for c in changes]
    return sum(n * len(v) for n, v in doubled), sum(n * sum(map(len, v)) for n, v in doubled)


def _records(values: Iterable[str]) -> list[dict[str, str]]:
    return [{"Value": value} for value in values]


def _as_stored(match: re.Match[bytes]) -> bytes:
    """A name as Amazon keeps and lists it: lower-case, all but letters, digits, `-` and `_` in octal."""
    tokens = re.findall(r"\\[0-3][0-7]{2}|.", match[1].decode().rstrip(".").lower())
    spelled = (t if re.fullmatch(r"[a-z0-9._-]|\\...", t) else f"\\{ord(t):03o}" for t in tokens)
    return f"<Name>{''.join(spelled)}.</Name>".encode()


def _action(method: str, path: str) -> str:
    parts = path.strip("/").split("/")[1:]
    if parts[0] == "change":
        return "GetChange"
    if len(parts) == 3:
        return "ChangeResourceRecordSets" if method == "POST" else "ListResourceRecordSets"
    return "CreateHostedZone" if method == "POST" else "ListHostedZones"


_XMLNS = f'xmlns="{NAMESPACE}"'


def _answer(start: Start, content: str, root: str, status: int = 200) -> bytes:
    start(f"{status} X", [("Content-Type", "text/xml")])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{content}</{root}>'.encode()


def _error(start: Start, status: int, code: str, message: str) -> bytes:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    content = f"<ErrorResponse {_XMLNS}>{error}<RequestId>0</RequestId>"
    return _answer(start, content, "ErrorResponse", status)


def _fail(environ: dict[str, Any], start: Start, fault: Fault) -> list[bytes]:
    if fault.cut:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        start("200 X", [])
        return []
    return [_error(start, fault.status, fault.code, fault.message)]


def serve(amazon: Amazon) -> Iterator[Amazon]:
    """The account at an endpoint of its own, as long as the generator lives."""
    server = make_server("127.0.0.1", 0, amazon, threaded=True, request_handler=_Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    amazon.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield amazon
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """Tests count the calls."""

"""Zone transfer (RFC 5936) that no server gives up on.

dnspython reads a transfer as fast as it parses it. knot closes the connection when a message is not
taken within half a second (knot.conf(5), tcp-io-timeout), and a busy machine parses a large
signed zone more slowly than that. So a thread takes the messages off the line, and we parse behind.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import dns.exception
import dns.message
import dns.rdatatype
import dns.xfr
import dns.zone

_LENGTH = struct.Struct("!H")


def transfer(server: str, port: int, zone: str, keyring: Any, timeout: float) -> dns.zone.Zone:  # noqa: ANN401
    """The whole content of a zone, names absolute.

    `timeout` is in seconds, for the connection and for each message.

    Raises:
        dns.exception.DNSException, OSError: as the server or the line has it; `EOFError` when the
            connection ends before the zone does.
    """
    content = dns.zone.Zone(zone, relativize=False)
    query, _ = dns.xfr.make_query(content, serial=None, keyring=keyring)
    wire = query.to_wire()
    with socket.create_connection((server, port), timeout) as line:
        line.sendall(_LENGTH.pack(len(wire)) + wire)
        try:
            _take(content, query, _Reader(line))
        finally:
            with contextlib.suppress(OSError):  # the server may have been first
                line.shutdown(socket.SHUT_RDWR)  # wakes the reader
    return content


def _take(content: dns.zone.Zone, query: dns.message.Message, messages: Iterator[bytes]) -> None:
    """Messages into content. That the first and the last are signed, dnspython sees to."""
    context = None
    with dns.xfr.Inbound(content, dns.rdatatype.AXFR) as inbound:
        done = False
        while not done:
            answer = dns.message.from_wire(
                next(messages),
                keyring=query.keyring,
                request_mac=query.mac,
                xfr=True,
                origin=content.from_wire_origin(),
                tsig_ctx=context,
                multi=True,
            )
            done = inbound.process_message(answer)
            context = answer.tsig_ctx


class _Reader:
    """The messages of a connection, taken off the line as they come."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._queue: SimpleQueue[bytes | Exception] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> bytes:
        item = self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    def _run(self) -> None:
        try:
            while True:
                (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
                self._queue.put(self._exactly(length))
        except (OSError, EOFError) as error:
            self._queue.put(error)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._line.recv(count - len(parts))
            if not part:
                raise EOFError("the server closed the connection in the middle")
            parts += part
        return bytes(parts)

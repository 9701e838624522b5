"""A name server that hands questions on to another, without TCP or with an offer of recursion."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dns.flags
import dns.message
import dns.query


@contextmanager
def relay(address: str, port: int, origin: str, *, tcp: bool, recursive: bool) -> Iterator[None]:
    """Answer at `address` what `origin` answers at the same port."""

    def answer(wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        found = dns.query.tcp(query, origin, port=port, timeout=5)
        if recursive:
            found.flags |= dns.flags.RA
        return found.to_wire(max_size=65535)

    class Datagram(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(answer(self.rfile.read()))

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            wire = answer(self.rfile.read(length))
            self.wfile.write(struct.pack("!H", len(wire)) + wire)

    with ExitStack() as stack:
        stack.enter_context(_serving(socketserver.ThreadingUDPServer((address, port), Datagram)))
        if tcp:
            stack.enter_context(_serving(socketserver.ThreadingTCPServer((address, port), Stream)))
        yield


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""How a checker reaches a server: to an address that our own lookups gave, never by name."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from maildns.errors import MaildnsError

Dial = Callable[[str, int], socket.socket]
"""(address, port) to a connection with a timeout set; raises OSError."""

TIMEOUT = 10.0
"""Seconds for a connection, and for each thing waited for on it."""

WHOLE = 60.0
"""Seconds for a whole conversation (RFC 8461 section 3.3): octet by octet it could last for days."""


class UnreachedError(MaildnsError):
    """Nothing is known of the server: it could not be reached, or it fell silent."""


class WrongError(MaildnsError):
    """The server was reached and did something wrong."""


def dial(address: str, port: int) -> socket.socket:
    """Connect by TCP."""
    return socket.create_connection((address, port), TIMEOUT)


@contextlib.contextmanager
def bounded(dial: Dial, where: str) -> Iterator[Dial]:
    """A `dial` whose connections are cut once the time for the whole conversation is over.

    Raises:
        UnreachedError: it was over; whatever went wrong, or seemed to go well, is of no account then.
    """
    lines: list[socket.socket] = []
    over = threading.Event()

    def cut() -> None:
        over.set()
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def dialled(address: str, port: int) -> socket.socket:
        line = dial(address, port)
        lines.append(line.dup())  # TLS takes the first one away
        return line

    timer = threading.Timer(WHOLE, cut)
    timer.daemon = True
    timer.start()
    try:
        yield dialled
    except Exception:
        if not over.is_set():
            raise
    finally:
        timer.cancel()
        for line in lines:
            line.close()
    if over.is_set():
        raise UnreachedError(f"{where} takes longer than {WHOLE:g} s")

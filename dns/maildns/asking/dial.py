"""How a checker reaches a server: to an address that our own lookups gave, never by name."""

from __future__ import annotations

import socket
from collections.abc import Callable

from maildns.errors import MaildnsError

Dial = Callable[[str, int], socket.socket]
"""(address, port) to a connection with a timeout set; raises OSError."""

TIMEOUT = 10.0
"""Seconds for a connection, and for each thing waited for on it."""


class UnreachedError(MaildnsError):
    """Nothing is known of the server: it could not be reached, or it fell silent."""


class WrongError(MaildnsError):
    """The server was reached and did something wrong."""


def dial(address: str, port: int) -> socket.socket:
    """Connect by TCP."""
    return socket.create_connection((address, port), TIMEOUT)

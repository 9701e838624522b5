"""What a machine's ports show to the controller from where it stands: a connection, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mailwright.model.errors import UnknownError

Start = Literal["", "implicit", "starttls"]
"""How TLS begins: never, with the first octet, or when the client asks for it."""


@dataclass(frozen=True)
class Visit:
    """A connection from the controller to a TCP port of a machine, with no login and no mail.

    Without `speaks` it is made and closed again. Otherwise the server's greeting is awaited, unless TLS comes
    first; with STARTTLS, EHLO is said before it; then the lines of `say`, each in its turn.
    """

    address: str
    port: int
    speaks: Literal["", "smtp", "tls"] = ""
    """`smtp`: the server greets (within TLS if that is `implicit`). `tls`: nothing but a handshake."""
    tls: Start = ""
    old: bool = False
    """Offer TLS 1.0 and 1.1 alone, with whatever cipher; otherwise 1.2 and 1.3 as OpenSSL has them."""
    say: tuple[str, ...] = ()
    patience: float = 8.0
    """Seconds for the connection alone: the kernel asks again after 1, 3 and 7."""


@dataclass(frozen=True)
class Reception:
    """What came of a visit."""

    outcome: Literal["open", "refused", "silent", "unreachable"]
    """`silent`: nobody answered in time. `unreachable`: the controller's own network has no way there."""
    own: str = ""
    """The address that the visit was made from."""
    replies: tuple[str, ...] = ()
    """The server's replies in turn, greeting and EHLO included; lines ended by LF."""
    version: str = ""
    """Of TLS, as agreed; empty without a handshake that came to its end."""
    cipher: str = ""
    certificate: bytes = b""
    """The server's, in DER."""
    trouble: str = ""
    """What ended the visit before its end."""
    late: bool = False
    """Whether that was time."""

    @property
    def said(self) -> str:
        """All replies as one text."""
        return "\n".join(self.replies)

    def require(self) -> Reception:
        """Itself, when the visit came to its end, or was ended by the server's word.

        Raises:
            UnknownError: it did not come about, or took too long.
        """
        if self.outcome != "open":
            raise UnknownError(f"the controller gets no connection there ({self.outcome})")
        if self.late:
            raise UnknownError(f"it took too long: {self.trouble}")
        return self


@dataclass(frozen=True)
class OutsideCheck:
    """Behaviour of a port as the controller sees it. `judge` is like that of a `Check`."""

    name: str
    visit: Visit
    judge: Callable[[Reception], str | None]
    remedy: str

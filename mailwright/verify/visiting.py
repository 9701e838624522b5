"""The controller's visits to ports of machines: all at once, each with a time limit, none of them a login."""

from __future__ import annotations

import errno
import socket
import ssl
import time
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mailwright.model.visit import Reception, Visit

_AT_ONCE = 12
_TALK = 20.0
"""Seconds for the whole of a visit. postscreen(8) lets a stranger wait for 6 before it greets."""
_MOST = 65_536
"""Octets of a reply."""
_NAME = "verify.mailwright.invalid"
_NO_WAY = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _context(lowest: ssl.TLSVersion, highest: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    # Whose certificate it is, the judge asks: what a self-signed one encrypts is looked at, too.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version, context.maximum_version = lowest, highest
    context.set_ciphers(ciphers)
    return context


_NEW = _context(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3, "DEFAULT")
# Python warns of them, and of warnings only one thread at a time can be silent: hence here, once.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    _OLD = _context(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0")


def visits(wanted: Iterable[Visit]) -> Mapping[Visit, Reception]:
    """Make visits, each one once."""
    unique = tuple(dict.fromkeys(wanted))
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(unique))), "visit") as pool:
        return dict(zip(unique, pool.map(visit, unique), strict=True))


def visit(wanted: Visit) -> Reception:
    """Make one visit. What goes wrong is told, not raised."""
    try:
        connection = socket.create_connection((wanted.address, wanted.port), timeout=wanted.patience)
    except TimeoutError:
        return Reception("silent", own=_own(wanted.address))
    except ConnectionRefusedError:
        return Reception("refused", own=_own(wanted.address))
    except OSError as error:
        no_way = error.errno in _NO_WAY
        return Reception("unreachable" if no_way else "silent", own=_own(wanted.address), trouble=str(error))
    with connection:
        talk = _Talk(connection, str(connection.getsockname()[0]))
        try:
            talk.hold(wanted)
        except TimeoutError:
            return talk.reception("no answer in time", late=True)
        except (OSError, EOFError, ValueError) as error:
            return talk.reception(str(error) or type(error).__name__)
        finally:
            talk.connection.close()
        return talk.reception()


def _own(address: str) -> str:
    """Where packets to an address are sent from; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((address, 9))
        except OSError:
            return ""
        return str(asked.getsockname()[0])


@dataclass
class _Talk:
    """A connection and what was heard on it."""

    connection: socket.socket
    own: str
    replies: list[str] = field(default_factory=list)
    version: str = ""
    cipher: str = ""
    certificate: bytes = b""
    until: float = field(default_factory=lambda: time.monotonic() + _TALK)
    rest: bytes = b""

    def hold(self, wanted: Visit) -> None:
        if wanted.tls == "implicit":
            self.encrypt(wanted)
        if wanted.speaks != "smtp":
            return
        self.hear()
        if wanted.tls == "starttls":
            self.say(f"EHLO {_NAME}")
            if self.say("STARTTLS").startswith("220"):
                self.encrypt(wanted)
            else:
                raise ValueError("STARTTLS is refused")
        for line in wanted.say:
            self.say(line)

    def encrypt(self, wanted: Visit) -> None:
        self.connection.settimeout(self.left())
        wrapped = (_OLD if wanted.old else _NEW).wrap_socket(self.connection)
        self.connection = wrapped
        self.version, self.cipher = wrapped.version() or "", (wrapped.cipher() or ("",))[0]
        self.certificate = wrapped.getpeercert(binary_form=True) or b""

    def say(self, line: str) -> str:
        self.connection.settimeout(self.left())
        self.connection.sendall(f"{line}\r\n".encode("ascii"))
        return self.hear()

    def hear(self) -> str:
        """A whole reply: its last line has a blank after the code (RFC 5321 section 4.2.1)."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            lines.append(self.line())
        self.replies.append("\n".join(lines))
        return self.replies[-1]

    def line(self) -> str:
        while b"\n" not in self.rest:
            if len(self.rest) > _MOST:
                raise ValueError("a reply without an end")
            self.connection.settimeout(self.left())
            more = self.connection.recv(4096)
            if not more:
                raise EOFError("it hung up")
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode("utf-8", errors="replace").rstrip("\r")

    def left(self) -> float:
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def reception(self, trouble: str = "", *, late: bool = False) -> Reception:
        return Reception(
            "open",
            self.own,
            tuple(self.replies),
            self.version,
            self.cipher,
            self.certificate,
            trouble,
            late,
        )

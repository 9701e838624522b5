"""The certificates that a mail server shows, after STARTTLS (RFC 3207) or at once, whatever their worth."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from maildns.asking.dial import Dial, UnreachedError, WrongError, bounded

PORT = 25
WRAPPED = frozenset({443, 465, 993})
"""Ports on which TLS begins with the connection (RFC 8314 section 3); on others it is asked for."""

_ONLY = {"ecdsa": "ECDHE+aECDSA", "rsa": "ECDHE+aRSA"}
"""Ciphers of TLS 1.2 that take a key of an algorithm (ciphers(1ssl))."""


def served_chain(
    host: str, address: str, helo: str, dial: Dial, *, port: int = PORT, algorithm: str | None = None
) -> tuple[bytes, ...]:
    """The certificates in DER, the server's own first.

    `host` is the MX's name without a final dot: it goes into the handshake (RFC 7672 section 8.1).
    `algorithm` (`ecdsa`, `rsa`): of the server's key, as a client asks that knows no other.

    Raises:
        UnreachedError: no connection, no greeting, it fell silent, or it takes too long.
        WrongError: it offers no STARTTLS or refuses it, or the handshake fails.
    """
    where = f"{host} ({address}) port {port}"
    with bounded(dial, where) as dialled, _said(where):
        if port in WRAPPED:
            with _context(algorithm).wrap_socket(dialled(address, port), server_hostname=host) as line:
                return _chain(line)
        with contextlib.closing(_Smtp(host, address, port, helo, dialled)) as session:
            session.ehlo_or_helo_if_needed()
            _start_tls(session, _context(algorithm), where)
            found = _chain(session.sock)
            with contextlib.suppress(OSError):  # smtplib's errors, too: we know what we came for
                session.quit()
            return found


def _context(algorithm: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # what the certificate is worth, TLSA says
    context.verify_mode = ssl.CERT_NONE
    if algorithm:  # from TLS 1.3 on ciphers say nothing of keys
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_ONLY[algorithm])
    return context


@contextlib.contextmanager
def _said(where: str) -> Iterator[None]:
    """Say what went wrong in one line, and whether it is the server that is wrong."""
    try:
        yield
    except smtplib.SMTPNotSupportedError:
        raise WrongError(f"{where} offers no STARTTLS") from None
    except ssl.SSLError as error:
        raise WrongError(f"{where}: the TLS handshake fails: {error.reason or error}") from None
    except smtplib.SMTPServerDisconnected:
        raise UnreachedError(f"{where} closes the connection") from None
    except smtplib.SMTPResponseException as error:
        raise UnreachedError(f"{where} answers {error.smtp_code}") from None
    except OSError as error:
        raise UnreachedError(f"{where}: {error.strerror or error}") from None


def _start_tls(session: smtplib.SMTP, context: ssl.SSLContext, where: str) -> None:
    try:
        session.starttls(context=context)
    except smtplib.SMTPResponseException as error:  # Postfix says 454 where its key cannot be read
        raise WrongError(f"{where} answers {error.smtp_code} to STARTTLS") from None


class _Smtp(smtplib.SMTP):
    """A session with an address; the name is for the handshake."""

    def __init__(self, host: str, address: str, port: int, helo: str, dial: Dial) -> None:
        self._address, self._at, self._dial = address, port, dial
        super().__init__(host, port, local_hostname=helo)

    def _get_socket(self, *_: object) -> socket.socket:  # what smtplib.SMTP_SSL overrides as well
        return self._dial(self._address, self._at)


def _chain(line: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - two generations of Python's ssl
    if hasattr(line, "get_unverified_chain"):  # Python 3.13
        return tuple(line.get_unverified_chain())
    certificates = line._sslobj.get_unverified_chain() or ()  # noqa: SLF001 - there from 3.10 on, unofficially
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in certificates)

"""Fetching a small document over HTTPS as an MTA-STS sender does (RFC 8461 section 3.3).

From an address that our own lookups gave, with the host's name in the TLS handshake and verified in its
certificate; no redirect is followed, no proxy is used, and no more is read than a policy can have.
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass

from maildns.asking.dial import Dial, UnreachedError, WrongError, bounded

PORT = 443
LIMIT = 64 * 1024
"""Octets of a document: what RFC 8461 section 3.3 suggests."""

_OK = 200


@dataclass(frozen=True)
class Document:
    """What was served."""

    content_type: str
    """Without parameters, lower-case; empty where none was said."""
    content: bytes


def fetch(host: str, address: str, path: str, context: ssl.SSLContext, dial: Dial) -> Document:
    """GET a document from `address`; `host` has no final dot.

    Raises:
        UnreachedError: no connection, it fell silent, or it takes too long.
        WrongError: a certificate that does not verify, a status other than 200, or too long a document.
    """
    with bounded(dial, f"{host} ({address}) port {PORT}") as dialled:
        return _fetched(host, address, path, context, dialled)


def _fetched(host: str, address: str, path: str, context: ssl.SSLContext, dial: Dial) -> Document:
    connection = _Connection(host, address, context, dial)
    try:
        connection.request("GET", path, headers={"User-Agent": "mailwright", "Accept": "text/plain"})
        answer = connection.getresponse()
        if answer.status != _OK:
            raise WrongError(f"https://{host}{path} answers {answer.status} instead of 200")
        content = answer.read(LIMIT + 1)
    except ssl.SSLCertVerificationError as error:
        raise WrongError(f"the certificate at {address} does not verify: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise WrongError(f"no TLS with {address}: {error.reason or error}") from None
    except OSError as error:
        raise UnreachedError(f"{host} ({address}) port {PORT}: {error.strerror or error}") from None
    except http.client.HTTPException as error:
        raise WrongError(f"{host} ({address}) does not speak HTTP: {type(error).__name__}") from None
    finally:
        connection.close()
    if len(content) > LIMIT:
        raise WrongError(f"https://{host}{path} is longer than {LIMIT} octets")
    return Document(answer.headers.get_content_type() if "Content-Type" in answer.headers else "", content)


class _Connection(http.client.HTTPSConnection):
    """Verified for the host's name, connected to the address."""

    def __init__(self, host: str, address: str, context: ssl.SSLContext, dial: Dial) -> None:
        super().__init__(host, PORT, context=context)
        self._address, self._tls, self._dial = address, context, dial

    def connect(self) -> None:
        """Replace looking the name up."""
        line = self._dial(self._address, PORT)
        try:
            self.sock = self._tls.wrap_socket(line, server_hostname=self.host)
        except BaseException:
            line.close()
            raise

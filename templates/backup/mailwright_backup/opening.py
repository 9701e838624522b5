"""Everything that restic opens the repository by: while none of it has changed, it opens as it did before.

restic makes a key of the password by scrypt, which takes much of a second of a processor and is meant to
(https://restic.readthedocs.io/en/stable/100_references.html#keys-encryption-and-mac). Who asks twice a minute
whether the store still takes this machine does not have it done each time: the same credentials with the same
config and the same keys open the same repository. So this can only confirm. Of all else, restic is the judge.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from mailwright_backup.memory import exchange
from mailwright_backup.wanted import Wanted

_MOST = 1 << 16
"""Octets of one answer; a config or a key has a few hundred."""
_NAME = re.compile(r"[0-9a-f]{64}")


def seal(wanted: Wanted, longest: float) -> str | None:
    """A digest of the machine's credentials and of what the store opens to them.

    `None`: the store is not one of HTTPS, refuses them, or does not answer within `longest` seconds.
    """
    try:
        location = Path(wanted.environment["RESTIC_REPOSITORY_FILE"]).read_text().strip()
        password = Path(wanted.environment["RESTIC_PASSWORD_FILE"]).read_bytes()
        url = urlsplit(location.removeprefix("rest:"))
        if url.scheme != "https":
            return None
        parts = (location.encode(), password, *_told(url, _authority(wanted), longest))
    except (LookupError, OSError, TypeError, ValueError, http.client.HTTPException):
        return None
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def remembered(wanted: Wanted) -> str | None:
    """The seal of when restic last opened the repository."""
    try:
        return _file(wanted).read_text().strip()
    except (OSError, ValueError):
        return None


def remember(wanted: Wanted, found: str) -> None:
    """Write down the seal of what restic has opened. Who cannot, has restic asked again."""
    try:
        wanted.home.mkdir(0o700, parents=True, exist_ok=True)
        exchange(_file(wanted), f"{found}\n", 0o600)
    except OSError:
        return


def _file(wanted: Wanted) -> Path:
    return wanted.home / "opened"


def _authority(wanted: Wanted) -> str | None:
    """Whose certificates are trusted, as restic is told."""
    words = iter(wanted.options)
    return next((next(words, None) for word in words if word == "--cacert"), None)


def _told(url: SplitResult, authority: str | None, longest: float) -> Iterator[bytes]:
    """What a store says of the repository: its config and all keys, in one connection.

    The requests are those of https://restic.readthedocs.io/en/stable/REST_backend.html.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        context.load_verify_locations(authority)
    else:
        context.load_default_certs()
    until = time.monotonic() + longest
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=longest, context=context)
    who = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    headers = {"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"}

    def get(place: str) -> bytes:
        if connection.sock:
            connection.sock.settimeout(max(0.1, until - time.monotonic()))
        connection.request("GET", url.path + place, headers=headers)
        answer = connection.getresponse()
        content = answer.read(_MOST)
        if answer.status != http.HTTPStatus.OK or not answer.isclosed():
            raise ValueError(place)
        return content

    try:
        yield get("config")
        names = sorted(map(str, json.loads(get("keys/"))))
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(name)
            yield name.encode()
            yield get(f"keys/{name}")
    finally:
        connection.close()

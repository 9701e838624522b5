"""SRV records by which mail programs find their servers (RFC 6186, RFC 8314 section 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maildns.errors import RecordError
from maildns.records import Entry, canonical_name

NOT_OFFERED = "0 0 0 ."
"""The service is decidedly not available at this domain (RFC 2782, RFC 6186 section 3.4)."""


@dataclass(frozen=True)
class Service:
    """A service that mail programs look for.

    Programs that find both a TLS port and one with STARTTLS take the one of the lower priority
    (RFC 6186 section 3.4): `base` prefers TLS from the first octet (RFC 8314 section 3).
    """

    label: str
    port: int
    base: int
    what: str


SERVICES = {
    "submissions": Service("_submissions", 465, 0, "submission over TLS"),
    "submission": Service("_submission", 587, 10, "submission with STARTTLS"),
    "imaps": Service("_imaps", 993, 0, "IMAP over TLS"),
    "imap": Service("_imap", 143, 10, "IMAP with STARTTLS"),
    "pop3s": Service("_pop3s", 995, 20, "POP3 over TLS"),
    "pop3": Service("_pop3", 110, 30, "POP3 with STARTTLS"),
}
"""By the name that the fleet file gives them."""

_ROOM = 10
"""Priorities between two services, thus the most hosts that one can have."""


def services(domain: str, name: str, hosts: Sequence[str]) -> Iterable[Entry]:
    """The records of one service: its hosts, most preferred first, or that it is not offered.

    Raises:
        RecordError: a host twice, or more than ten.
    """
    service = SERVICES[name]
    owner, about = f"{service.label}._tcp.{domain}", domain.removesuffix(".")
    names = [canonical_name(host) for host in hosts]
    if len(set(names)) != len(names) or len(names) > _ROOM:
        raise RecordError(f"{owner}: at most {_ROOM} hosts, each once: {', '.join(names)}")
    if not names:
        yield Entry(owner, "SRV", NOT_OFFERED, f"{about} offers no {service.what}: programs need not try")
    for place, host in enumerate(names):
        reason = f"mail programs find {service.what} for {about} here"
        yield Entry(owner, "SRV", f"{service.base + place} 1 {service.port} {host}", reason)

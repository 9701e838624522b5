"""A zone as a server gives it away (RFC 5936): whole, signed with TSIG or not, nothing left out."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.xfr

from maildns.provider import ProviderError
from maildns.providers.transfer import transfer
from maildns.records import RRset, from_rdata

TIMEOUT = 30.0
"""Seconds for the connection and for each message."""


@dataclass(frozen=True)
class TsigKey:
    """A shared key (RFC 8945)."""

    name: str
    secret: str = field(repr=False)
    """Base64."""
    algorithm: str = "hmac-sha256"

    @property
    def keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        """As dnspython takes it.

        Raises:
            ProviderError: the secret is not base64.
        """
        name = dns.name.from_text(self.name)
        try:
            secret = base64.b64decode(self.secret, validate=True)
        except ValueError:
            raise ProviderError(f"the TSIG key {self.name} is not base64") from None
        return {name: dns.tsig.Key(name, secret, algorithm=self.algorithm)}


def read_axfr(server: str, zone: str, key: TsigKey | None = None, *, port: int = 53) -> tuple[RRset, ...]:
    """Every set of a zone.

    Raises:
        ProviderError: nobody answers, or the zone or the key is not accepted.
    """
    keyring: Any = key.keyring if key else None
    try:
        content = transfer(server, port, zone, keyring, TIMEOUT)
    except dns.xfr.TransferError as error:
        code = dns.rcode.to_text(error.rcode)
        raise ProviderError(f"{server} gives {zone} away to nobody without leave: {code}") from None
    except (dns.exception.DNSException, OSError, EOFError) as error:
        why = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__} {error}"
        raise ProviderError(f"reading {zone} at {server} port {port}: {why}") from None
    sets = (
        RRset(
            name.canonicalize().to_text(),
            dns.rdatatype.to_text(each.rdtype),
            each.ttl,
            frozenset(from_rdata(rdata) for rdata in each),
        )
        for name, each in content.iterate_rdatasets()
    )
    return tuple(sorted(sets, key=lambda each: each.key))

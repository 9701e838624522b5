"""SPF policies (RFC 7208)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from maildns.errors import RecordError
from maildns.records import Entry, canonical_name

MAX_LOOKUPS = 10  # RFC 7208 section 4.6.4

_ALLS = ("-all", "~all", "?all")


@dataclass(frozen=True)
class Spf:
    """Who may send with a name as envelope sender or HELO.

    Addresses are published as they are, not by name: they cost the receiver no lookup.
    """

    addresses: tuple[IPv4Address | IPv6Address | IPv4Network | IPv6Network, ...] = ()
    include: tuple[str, ...] = ()
    own_address: bool = False
    """The `a` mechanism: the addresses of the name itself, what a HELO name needs."""
    all: Literal["-all", "~all", "?all"] = "-all"

    @property
    def text(self) -> str:
        """The record.

        Raises:
            RecordError: more than 10 lookups, a malformed include, or an `all` that lets anybody send.
        """
        if self.all not in _ALLS:
            raise RecordError(f"SPF ends in one of {', '.join(_ALLS)}, not {self.all!r}")
        lookups = len(self.include) + self.own_address
        if lookups > MAX_LOOKUPS:
            raise RecordError(f"SPF with {lookups} lookups; receivers stop at 10 (RFC 7208 section 4.6.4)")
        hosts = sorted(set(self.addresses), key=lambda a: (a.version, str(a)))
        terms = ["v=spf1"]
        terms += ["a"] if self.own_address else []
        terms += [f"ip{host.version}:{host}" for host in hosts]
        terms += [f"include:{canonical_name(name).removesuffix('.')}" for name in self.include]
        return " ".join([*terms, self.all])

    def entry(self, name: str, reason: str) -> Entry:
        """The policy as the TXT value of `name`."""
        return Entry(name, "TXT", self.text, reason)


NOBODY = Spf()
"""`v=spf1 -all`: nobody sends with this name."""


def is_spf(text: str) -> bool:
    """Whether receivers take this TXT value for an SPF record (RFC 7208 section 4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")

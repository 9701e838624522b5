"""What lints look at: records, sorted by what they mean, and what is known about them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from maildns.errors import RecordError
from maildns.policy.dmarc import Dmarc, is_dmarc
from maildns.policy.spf import Lookup, is_spf
from maildns.records import RrKey, RRset

DMARC, DKIM = "_dmarc.", "_domainkey"


@dataclass(frozen=True)
class Context:
    """What records alone do not show."""

    today: date
    since: Mapping[str, date | None] = field(default_factory=dict)
    """Domain to the day its DMARC policy was put in force; `None` where nobody wrote it down."""
    senders: Mapping[str, tuple[IPv4Address | IPv6Address, ...]] = field(default_factory=dict)
    """Domain in whose name mail is sent to the addresses it leaves from."""
    enforcing: frozenset[str] = frozenset()
    """Domains whose MTA-STS policy is enforced."""
    selectors: frozenset[str] | None = None
    """The names of all keys that hosts sign with or did; `None` where that is not known."""
    ours: frozenset[RrKey] | None = None
    """The sets whose TTL is ours to choose; `None` for all."""
    lookup: Lookup | None = None
    """DNS beyond the records at hand; `None` where nobody may be asked."""
    issued: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Host name to the authority that is to issue for it, as CAA records call it, and the method by which
    the name is proved (RFC 8657 section 4)."""


class View:
    """Records by meaning. Names are absolute and lower-case."""

    def __init__(self, rrsets: Iterable[RRset], context: Context) -> None:
        """Sort them once."""
        self.rrsets = tuple(sorted(rrsets, key=lambda each: each.key))
        self.context = context
        self._table = {each.key: each for each in self.rrsets}
        self._names = {each.name for each in self.rrsets}

    def values(self, name: str, type_: str) -> tuple[str, ...]:
        """The values of a set, sorted."""
        each = self._table.get((name, type_))
        return tuple(sorted(each.rdata)) if each else ()

    def spf(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each name with SPF records, and those."""
        for each in self.rrsets:
            texts = tuple(filter(is_spf, sorted(each.rdata))) if each.type == "TXT" else ()
            if texts:
                yield each.name, texts

    def dmarc(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each domain with DMARC records, and those; reports' authorisations are none."""
        for each in self.rrsets:
            if each.type == "TXT" and each.name.startswith(DMARC):
                texts = tuple(filter(is_dmarc, sorted(each.rdata)))
                if texts:
                    yield each.name.removeprefix(DMARC), texts

    @cached_property
    def policies(self) -> Mapping[str, Dmarc]:
        """Each domain with the DMARC policy that receivers apply."""
        found: dict[str, Dmarc] = {}
        for domain, texts in self.dmarc():
            if len(texts) == 1:
                with contextlib.suppress(RecordError):
                    found[domain] = Dmarc.parse(texts[0])
        return found

    def policy_for(self, domain: str) -> Dmarc | None:
        """The nearest policy at or above a domain."""
        while domain:
            if domain in self.policies:
                return self.policies[domain]
            domain = domain.partition(".")[2]
        return None

    def dkim_keys(self) -> Iterator[tuple[str, str]]:
        """Each text under a DKIM selector."""
        for each in self.rrsets:
            if each.type == "TXT" and DKIM in each.name.split("."):
                yield from ((each.name, text) for text in sorted(each.rdata))

    def lookup(self, name: str, type_: str) -> tuple[str, ...]:
        """As `maildns.policy.spf.Lookup`: the records at hand first, then the world.

        Where nobody may be asked, other names have a policy that costs nothing and lets nobody pass.
        """
        if name in self._names:
            return self.values(name, type_)
        if self.context.lookup:
            return self.context.lookup(name, type_)
        return ("v=spf1",) if type_ == "TXT" else ()

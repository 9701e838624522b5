"""Which addresses exist: who may send as them, and what becomes of mail to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet

FORWARDED = ("postmaster", "abuse", "root")
"""Local parts of every domain that reach the fleet's owner (RFC 2142 section 4, RFC 5321 section 4.5.1)."""


@dataclass(frozen=True)
class Addresses:
    """What becomes of mail to the domains that this machine takes mail for."""

    domains: tuple[Domain, ...]
    forwards: tuple[tuple[str, str], ...]
    """Address to local alias."""
    mailboxes: tuple[tuple[str, str], ...]
    """Address or `@domain` to a Maildir below `MAIL`."""

    @classmethod
    def of(cls, fleet: Fleet, domains: tuple[Domain, ...], accept: tuple[str, ...]) -> Addresses:
        """Sort every address of the fleet out: forwarded, kept, or (by its absence) refused."""
        here = {d.name.bare for d in domains}
        owner = fleet.owner.postmaster
        forwards = [
            (f"{name}@{d.name.bare}", f"{name}@localhost")
            for d in fleet.domains
            for name in FORWARDED
            if f"{name}@{d.name.bare}" != owner
        ]
        kept = [*_returns(fleet), *accept, owner, *_reports(fleet)]
        kept += [f"owner-{name}@{domain}" for domain in sorted(here) for name in FORWARDED]
        forwarded = {address for address, _ in forwards}
        mine = [a for a in dict.fromkeys(kept) if a.rpartition("@")[2] in here and a not in forwarded]
        return cls(domains, tuple(forwards), tuple((a, _maildir(a)) for a in mine))


def _returns(fleet: Fleet) -> Iterable[str]:
    """Where the bounces of the logins' mail go: their addresses, for all of a domain `bounces`."""
    for sender in fleet.senders:
        for address in sender.addresses:
            yield f"bounces{address}" if address.startswith("@") else address


def _reports(fleet: Fleet) -> Iterable[str]:
    """Where the domains ask for DMARC reports."""
    for domain in fleet.domains:
        yield from (uri.removeprefix("mailto:") for uri in (*domain.dmarc.rua, *domain.dmarc.ruf))


def _maildir(address: str) -> str:
    name, _, domain = address.rpartition("@")
    # quote() leaves dots, and an address has no two in a row nor one at an end; "@" is no file's first
    # letter otherwise.
    return f"{domain}/{quote(name, safe='+') or '@'}/"


def rights(fleet: Fleet) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each sender address, or `@domain`, with the logins that may use it."""
    table: dict[str, list[str]] = {}
    for sender in fleet.senders:
        for address in sender.addresses:
            table.setdefault(address.lower(), []).append(sender.login)
    # Postfix stops at the first address that matches, so who may use all of a domain is named with
    # each of its addresses too.
    return tuple(
        (address, tuple(dict.fromkeys([*logins, *table.get("@" + address.rpartition("@")[2], [])])))
        for address, logins in table.items()
    )


def only_ours(fleet: Fleet) -> tuple[str, ...]:
    """Names in whose envelope nobody else sends: those whose SPF says so."""
    domains = [d.name.bare for d in fleet.domains if d.spf.all == "-all" and not d.spf.include]
    return tuple(dict.fromkeys([*domains, *(m.fqdn.bare for m in fleet.machines)]))

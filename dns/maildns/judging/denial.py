"""Proofs that something does not exist: NSEC (RFC 4035 section 5.4) and NSEC3 (RFC 5155 section 8).

Pure, and told only of records whose signatures hold. What dnspython lacks of validation, it lacks here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import dns.dnssec
import dns.name
import dns.rdatatype
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

OPT_OUT = 0x01  # RFC 5155 section 3.1.2.1


class Denial(Protocol):
    """All signed denial records of one answer."""

    def types_at(self, name: dns.name.Name) -> frozenset[RdataType] | None:
        """The types that exist at a name; `None` where no record is about it.

        Empty for a name that exists only because there are names below it.
        """
        ...

    def absent(self, name: dns.name.Name) -> bool:
        """Whether it is proved that the name itself does not exist."""
        ...

    def opted_out(self, name: dns.name.Name) -> bool:
        """Whether an unsigned delegation may exist at the name without a proof."""
        ...


@dataclass(frozen=True)
class Nsec:
    """Denial by names in their canonical order (RFC 4034 section 6.1)."""

    records: Sequence[tuple[dns.name.Name, NSEC]]

    def types_at(self, name: dns.name.Name) -> frozenset[RdataType] | None:
        """As `Denial` says."""
        for owner, record in self.records:
            if owner == name:
                return types_of(record.windows)
            # Next comes a name below: this one has no records, yet exists (an empty non-terminal).
            if _between(owner, name, record.next) and record.next.is_subdomain(name):
                return frozenset()
        return None

    def absent(self, name: dns.name.Name) -> bool:
        """As `Denial` says."""
        return any(
            _between(owner, name, record.next)
            and not record.next.is_subdomain(name)
            and not (name.is_subdomain(owner) and _gives_away(types_of(record.windows)))
            for owner, record in self.records
        )

    def opted_out(self, _: dns.name.Name) -> bool:
        """NSEC knows no opting out."""
        return False


@dataclass(frozen=True)
class Nsec3:
    """Denial by hashed names."""

    records: Sequence[tuple[dns.name.Name, NSEC3]]

    def types_at(self, name: dns.name.Name) -> frozenset[RdataType] | None:
        """As `Denial` says."""
        for owner, record in self.records:
            if _own_hash(owner) == _hash(name, record):
                return types_of(record.windows)
        return None

    def absent(self, name: dns.name.Name) -> bool:
        """As `Denial` says."""
        return any(True for _ in self._covering(name))

    def opted_out(self, name: dns.name.Name) -> bool:
        """As `Denial` says."""
        return any(record.flags & OPT_OUT for record in self._covering(name))

    def _covering(self, name: dns.name.Name) -> Iterator[NSEC3]:
        for owner, record in self.records:
            first, here, last = _own_hash(owner), _hash(name, record), _next_hash(record)
            if first < here < last or (last <= first and (here > first or here < last)):
                yield record


def denies_name(denial: Denial, name: dns.name.Name, zone: dns.name.Name) -> bool:
    """Whether neither the name nor a wildcard for it exists."""
    closest = closest_encloser(denial, name, zone)
    return closest is not None and denial.absent(dns.name.Name((b"*", *closest.labels)))


def denies_type(denial: Denial, name: dns.name.Name, rdtype: RdataType, zone: dns.name.Name) -> bool:
    """Whether the name, or the wildcard that answers for it, has no such type and is no alias."""
    here = denial.types_at(name)
    if here is None:
        closest = closest_encloser(denial, name, zone)
        here = denial.types_at(dns.name.Name((b"*", *closest.labels))) if closest else None
    return here is not None and not here & {rdtype, RdataType.CNAME}


def denies_secure_delegation(denial: Denial, name: dns.name.Name, zone: dns.name.Name) -> tuple[bool, bool]:
    """About a name without DS records: (is that proved, is there an unsigned delegation).

    RFC 4035 section 5.2, and RFC 5155 section 8.9 for delegations that opted out.
    """
    here = denial.types_at(name)
    if here is not None:
        return RdataType.DS not in here, RdataType.NS in here and RdataType.SOA not in here
    closest = closest_encloser(denial, name, zone)
    opted_out = closest is not None and denial.opted_out(_next_closer(name, closest))
    return opted_out or denies_name(denial, name, zone), opted_out


def closest_encloser(denial: Denial, name: dns.name.Name, zone: dns.name.Name) -> dns.name.Name | None:
    """The nearest ancestor that exists, where it is proved that nothing is nearer (RFC 5155 section 8.3)."""
    if isinstance(denial, Nsec):
        return _closest_by_order(denial, name, zone)
    below = name
    while below != zone:
        above = below.parent()
        if denial.types_at(above) is not None:
            return above if denial.absent(below) else None
        below = above
    return None


def expanded(denial: Denial, name: dns.name.Name, labels: int) -> bool:
    """Whether a wildcard of so many labels may answer: nothing nearer exists (RFC 4035 section 5.3.4).

    That is the name with one label more than the wildcard's parent (RFC 5155 section 8.8): where it does not
    exist, neither does anything below it.
    """
    return denial.absent(name.split(labels + 2)[1])  # `labels` counts neither the root nor this one


def _closest_by_order(denial: Nsec, name: dns.name.Name, zone: dns.name.Name) -> dns.name.Name | None:
    """Of a name between two others, what it has in common with the nearer one exists."""
    for owner, record in denial.records:
        if denial.absent(name) and _between(owner, name, record.next):
            shared = max(
                (name.fullcompare(other)[2] for other in (owner, record.next)), default=len(zone.labels)
            )
            return name.split(shared)[1]
    return None


def types_of(windows: Iterable[tuple[int, bytes]]) -> frozenset[RdataType]:
    """A type bitmap (RFC 4034 section 4.1.2)."""
    return frozenset(
        RdataType.make(window * 256 + octet * 8 + bit)
        for window, bitmap in windows
        for octet, value in enumerate(bitmap)
        for bit in range(8)
        if value & (0x80 >> bit)
    )


def _gives_away(types: frozenset[RdataType]) -> bool:
    """Whether names below are another zone's: this record says nothing about them (RFC 6840 section 4.1)."""
    return RdataType.DNAME in types or (RdataType.NS in types and RdataType.SOA not in types)


def _between(first: dns.name.Name, name: dns.name.Name, last: dns.name.Name) -> bool:
    """The last record of a zone points back to the apex."""
    return bool(first < name < last or last <= first < name)


def _next_closer(name: dns.name.Name, closest: dns.name.Name) -> dns.name.Name:
    return name.split(len(closest.labels) + 1)[1]


def _hash(name: dns.name.Name, record: NSEC3) -> str:
    return dns.dnssec.nsec3_hash(name, record.salt, record.iterations, record.algorithm).upper()


def _own_hash(owner: dns.name.Name) -> str:
    return owner.labels[0].decode().upper()


def _next_hash(record: NSEC3) -> str:
    return base64.b32hexencode(record.next).decode().rstrip("=")

"""Hosts and mail exchangers: A, AAAA, PTR, MX, null MX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

from maildns.errors import RecordError
from maildns.records import Entry, canonical_name

Address = IPv4Address | IPv6Address

NULL_MX = "0 ."


def address(name: str, ip: Address, reason: str) -> Entry:
    """A or AAAA."""
    return Entry(name, "A" if ip.version == 4 else "AAAA", str(ip), reason)  # noqa: PLR2004 - the protocol


def reverse_name(ip: Address) -> str:
    """The name under in-addr.arpa or ip6.arpa that holds the PTR (RFC 1035 3.5, RFC 3596 2.5)."""
    return ip.reverse_pointer + "."


def pointer(ip: Address, name: str) -> Entry:
    """PTR: receivers refuse or downgrade mail from addresses without forward-confirmed reverse DNS."""
    return Entry(reverse_name(ip), "PTR", name, f"{ip} must give back the name it greets with")


def mx(domain: str, targets: Sequence[str], step: int = 10) -> Iterable[Entry]:
    """MX, most preferred target first (RFC 5321 section 5.1).

    Raises:
        RecordError: a target twice, or the root, which would make it a null MX.
    """
    names = [canonical_name(target) for target in targets]
    if len(set(names)) != len(names) or "." in names:
        raise RecordError(f"{domain}: MX targets must be different host names: {', '.join(names)}")
    for place, name in enumerate(names, start=1):
        rank = "takes" if place == 1 else f"is number {place} to take"
        reason = f"{name.removesuffix('.')} {rank} mail for {domain.removesuffix('.')}"
        yield Entry(domain, "MX", f"{place * step} {name}", reason)


def null_mx(name: str, reason: str) -> Entry:
    """Null MX: the name takes no mail, say so at once instead of timing out (RFC 7505)."""
    return Entry(name, "MX", NULL_MX, reason)


def alias(name: str, target: str, reason: str) -> Entry:
    """CNAME: the name is somebody else's host, under whatever addresses it has (RFC 1034 section 3.6.2)."""
    return Entry(name, "CNAME", target, reason)

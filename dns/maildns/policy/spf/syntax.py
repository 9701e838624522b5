"""The grammar of SPF records (RFC 7208 section 12), to the letter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from maildns.policy.spf.macros import MacroString, SpfSyntaxError, domain_spec, macro_string
from maildns.policy.spf.record import is_spf

__all__ = ["Directive", "Policy", "SpfSyntaxError", "parse"]

IPV4_BITS, IPV6_BITS = 32, 128

LOOKUP_MECHANISMS = frozenset({"include", "a", "mx", "ptr", "exists"})
"""Each costs one of the ten lookups, as does the redirect modifier (section 4.6.4)."""

_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9]*)(?![^:/])(.*)", re.DOTALL)
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?")
_NETWORK = {
    "ip4": re.compile(r"([0-9.]+)(?:/(0|[1-9][0-9]?))?"),
    "ip6": re.compile(r"([0-9A-Fa-f:.]+)(?:/(0|[1-9][0-9]{0,2}))?"),
}


@dataclass(frozen=True)
class Directive:
    """A mechanism and what matching it means."""

    text: str
    """As published."""
    qualifier: str
    """`+`, `-`, `?` or `~`."""
    mechanism: str
    """Lower-case."""
    domain: MacroString | None = None
    """Where it looks; `None` for the policy's own domain, and where no name is looked at."""
    network: IPv4Network | IPv6Network | None = None
    """Of `ip4` and `ip6`."""
    prefixes: tuple[int, int] = (IPV4_BITS, IPV6_BITS)
    """Of `a` and `mx`, for IPv4 and IPv6."""


@dataclass(frozen=True)
class Policy:
    """A record, read."""

    directives: tuple[Directive, ...]
    redirect: MacroString | None = None
    exp: MacroString | None = None

    @property
    def has_all(self) -> bool:
        """Whether some directive matches everybody, so that `redirect` is never followed (section 6.1)."""
        return any(each.mechanism == "all" for each in self.directives)


def parse(text: str) -> Policy:
    """Read a record.

    Raises:
        SpfSyntaxError: an error anywhere in it, which makes it a permanent error as a whole.
    """
    if not is_spf(text):
        raise SpfSyntaxError("not an SPF record: it does not begin with v=spf1")
    if not text.isascii():
        raise SpfSyntaxError("octets that are not ASCII (RFC 7208 section 3.1)")
    directives: list[Directive] = []
    known: dict[str, MacroString] = {}
    for term in filter(None, text.split(" ")[1:]):
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            directives.append(_directive(term))
            continue
        name = modifier[1].lower()
        if name not in ("redirect", "exp"):
            macro_string(modifier[2])
            continue
        if name in known:
            raise SpfSyntaxError(f"{name}= twice (RFC 7208 section 6)")
        known[name] = domain_spec(modifier[2])
    return Policy(tuple(directives), known.get("redirect"), known.get("exp"))


def _directive(term: str) -> Directive:
    match = _DIRECTIVE.fullmatch(term)
    if match is None:
        raise SpfSyntaxError(f"neither a mechanism nor a modifier: {term[:80]!r}")
    qualifier, mechanism, rest = match[1] or "+", match[2].lower(), match[3]
    if mechanism == "all" and not rest:
        return Directive(term, qualifier, mechanism)
    if mechanism in ("include", "exists") and rest.startswith(":"):
        return Directive(term, qualifier, mechanism, domain_spec(rest[1:]))
    if mechanism == "ptr" and (not rest or rest.startswith(":")):
        return Directive(term, qualifier, mechanism, domain_spec(rest[1:]) if rest else None)
    if mechanism in ("a", "mx"):
        return _address_directive(term, qualifier, mechanism, rest)
    if mechanism in ("ip4", "ip6") and rest.startswith(":"):
        return Directive(term, qualifier, mechanism, network=_network(term, mechanism, rest[1:]))
    raise SpfSyntaxError(f"not a mechanism of RFC 7208: {term[:80]!r}")


def _address_directive(term: str, qualifier: str, mechanism: str, rest: str) -> Directive:
    # No name ends in what a prefix length looks like: a top label has no slash.
    slash = re.search(r"(?:/[0-9]+)?(?://[0-9]+)?$", rest)
    name, lengths = (rest[: slash.start()], slash[0]) if slash else (rest, "")
    found = _DUAL_CIDR.fullmatch(lengths)
    if found is None or (name and not name.startswith(":")):
        raise SpfSyntaxError(f"not a name with prefix lengths: {term[:80]!r}")
    prefixes = (
        _prefix(term, found[1], IPV4_BITS),
        _prefix(term, found[2], IPV6_BITS),
    )
    return Directive(term, qualifier, mechanism, domain_spec(name[1:]) if name else None, prefixes=prefixes)


def _network(term: str, mechanism: str, text: str) -> IPv4Network | IPv6Network:
    match = _NETWORK[mechanism].fullmatch(text)
    if match is None:
        raise SpfSyntaxError(f"not an address with a prefix length: {term[:80]!r}")
    address, length = match.groups()
    try:
        if mechanism == "ip4":
            return IPv4Network((IPv4Address(address), _prefix(term, length, IPV4_BITS)), strict=False)
        return IPv6Network((IPv6Address(address), _prefix(term, length, IPV6_BITS)), strict=False)
    except AddressValueError:
        raise SpfSyntaxError(f"not an address of {mechanism}: {term[:80]!r}") from None


def _prefix(term: str, digits: str | None, bits: int) -> int:
    length = bits if digits is None else int(digits)
    if length > bits:
        raise SpfSyntaxError(f"a prefix length above {bits}: {term[:80]!r}")
    return length

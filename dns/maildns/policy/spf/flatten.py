"""Flattening: an include replaced by the addresses it stands for today, spread over several records.

It spares lookups and costs care: whoever runs the include may change it at any time, so it must be
done again on a schedule. What cannot be said in addresses stays an include.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_network,
)

from maildns.policy.spf.count import constant_target, evaluated, policy_of
from maildns.policy.spf.evaluate import MAX_HOSTS
from maildns.policy.spf.lookup import Lookup, askable
from maildns.policy.spf.macros import MacroString
from maildns.policy.spf.record import Spf, is_spf
from maildns.policy.spf.syntax import Directive, SpfSyntaxError, parse
from maildns.records import Entry, canonical_name

Network = IPv4Network | IPv6Network
Block = IPv4Address | IPv6Address | IPv4Network | IPv6Network

BUDGET = 450
"""Octets of name and text together, so that the answer fits a datagram of 512 (RFC 7208 section 3.4)."""

MOST_LOST = 1 / 3
"""The share of the addresses that may go from one time to the next without somebody having a look."""


@dataclass(frozen=True)
class Flattened:
    """What an include stands for."""

    networks: tuple[Network, ...] = ()
    """Disjoint, IPv4 first, in order."""
    kept: str = ""
    """Why it must stay an include; empty where it need not."""


class _UnsafeError(Exception):
    """Addresses cannot say what this policy says."""


def flatten(name: str, lookup: Lookup) -> Flattened:
    """Everybody who passes the policy of `name`, with all that it includes.

    Raises:
        SpfSyntaxError: a policy on the way is missing, malformed, there twice, or includes itself.
        LookupFailedError: DNS does not say; what is published now had better stay.
    """
    try:
        return Flattened(collapsed(_Flattener(lookup).passing(name.removesuffix(".").lower())))
    except _UnsafeError as error:
        return Flattened(kept=str(error))


def collapsed(blocks: Iterable[Block]) -> tuple[Network, ...]:
    """The same addresses in as few networks as possible."""
    networks = [ip_network(block) for block in blocks]
    v4 = [n for n in networks if isinstance(n, IPv4Network)]
    v6 = [n for n in networks if isinstance(n, IPv6Network)]
    return (*collapse_addresses(v4), *collapse_addresses(v6))


class _Flattener:
    """One include, resolved."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._path: list[str] = []

    def passing(self, domain: str) -> list[Network]:
        """The networks that pass, in the order of the policy."""
        if domain in self._path:
            raise SpfSyntaxError(f"{' includes '.join([*self._path, domain])}: a circle")
        self._path.append(domain)
        policy = policy_of(domain, self._lookup)
        found: list[Network] = []
        turned_away = ""
        for each in evaluated(policy):
            if each.qualifier != "+":
                turned_away = "" if each.mechanism == "all" else each.text
                continue
            if turned_away:
                raise _UnsafeError(f"{domain} turns {turned_away} away before it lets others pass")
            found += self._networks(each, domain)
        if policy.redirect and not policy.has_all:
            if turned_away:
                raise _UnsafeError(f"{domain} turns {turned_away} away before it redirects")
            found += self.passing(self._target(policy.redirect, domain))
        self._path.pop()
        return found

    def _networks(self, each: Directive, domain: str) -> list[Network]:
        if each.network:
            return [each.network]
        target = self._target(each.domain, domain) if each.domain else domain
        if each.mechanism == "include":
            return self.passing(target)
        if each.mechanism == "a":
            return list(self._hosts([target + "."], each))
        if each.mechanism == "mx":
            hosts = [value.split()[-1].lower() for value in self._lookup(target + ".", "MX")]
            if len(hosts) > MAX_HOSTS:
                raise SpfSyntaxError(f"{domain}: {each.text}: more than {MAX_HOSTS} MX hosts")
            return list(self._hosts(hosts, each))
        raise _UnsafeError(f"{domain} has {each.text}, which no addresses can say")

    def _hosts(self, hosts: Iterable[str], each: Directive) -> Iterator[Network]:
        for host in hosts:
            for type_, prefix in zip(("A", "AAAA"), each.prefixes, strict=True):
                for address in self._lookup(host, type_) if askable(host) else ():
                    yield ip_network((address, prefix), strict=False)

    def _target(self, spec: MacroString, domain: str) -> str:
        target = constant_target(spec, domain)
        if target is None:
            raise _UnsafeError(f"{domain} asks for {spec.text}, which depends on the message")
        return target


def flat_entries(
    domain: str, spf: Spf, networks: Iterable[Network], reason: str, why: str
) -> Iterator[Entry]:
    """The policy with more networks, over several records (`_spf1.DOMAIN` ...) where one would be too large.

    `reason` explains the domain's record, `why` the others.

    Raises:
        RecordError: it takes more than ten lookups even so.
    """
    blocks = tuple(n.network_address if n.num_addresses == 1 else n for n in collapsed(networks))
    whole = replace(spf, addresses=(*spf.addresses, *blocks))
    if fits(domain, whole.text):
        yield whole.entry(domain, f"{reason}; {why}")
        return
    parts = list(_parts(domain, blocks))
    names = [f"_spf{n}.{domain}" for n in range(1, len(parts) + 1)]
    yield replace(spf, include=(*names, *spf.include)).entry(domain, reason)
    for name, part in zip(names, parts, strict=True):
        yield Spf(addresses=part).entry(name, why)


def fits(name: str, text: str) -> bool:
    """Whether an answer with this record stays within a small datagram."""
    return len(name) + len(text.encode("utf-8", "surrogateescape")) <= BUDGET


def _parts(domain: str, blocks: Iterable[Block]) -> Iterator[tuple[Block, ...]]:
    part: tuple[Block, ...] = ()
    for block in blocks:
        if part and not fits(f"_spf99.{domain}", Spf(addresses=(*part, block)).text):
            yield part
            part = ()
        part = (*part, block)
    if part:
        yield part


def published(domain: str, lookup: Lookup) -> tuple[Network, ...]:
    """The networks that the domain's record, and those beside it that `flat_entries` makes, name now.

    Raises:
        LookupFailedError: DNS does not say.
    """
    found: list[Network] = []
    ours = re.compile(rf"_spf[0-9]+\.{re.escape(domain.removesuffix('.'))}", re.IGNORECASE)
    names = [canonical_name(domain)]
    for name in names:  # grows: the domain's record names the others
        for text in filter(is_spf, lookup(name, "TXT")):
            try:
                policy = parse(text)
            except SpfSyntaxError:
                continue  # about to be replaced
            found += [d.network for d in policy.directives if d.network]
            specs = [d.domain.text for d in policy.directives if d.mechanism == "include" and d.domain]
            names += [spec.lower() + "." for spec in specs if name == names[0] and ours.fullmatch(spec)]
    return collapsed(found)


def lost_share(before: Iterable[Block], after: Iterable[Block]) -> float:
    """The share of the addresses that are no longer in, 0 to 1: the larger of IPv4's and IPv6's."""
    old, new = collapsed(before), collapsed(after)
    return max(_lost(old, new, version) for version in (4, 6))


def _lost(old: Iterable[Network], new: Iterable[Network], version: int) -> float:
    mine = [n for n in old if n.version == version]
    # Within a set no two overlap, so of two that do, the smaller one is what they have in common.
    left = sum(min(a.num_addresses, b.num_addresses) for a in mine for b in new if _overlap(a, b))
    total = sum(n.num_addresses for n in mine)
    return (total - left) / total if total else 0.0


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)

"""Which hosts of a zone are mail machines, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from maildns.policy.hosts import NULL_MX, reverse_name
from maildns.policy.spf import NOBODY, SpfSyntaxError, is_spf, parse
from mailwright.model import names
from mailwright.takeover.book import Book, Fate

ONE = "a machine has one address of a family"


@dataclass(frozen=True)
class Host:
    """A machine to be."""

    name: str
    """What operators will call it."""
    fqdn: str
    addresses: frozenset[str]
    sends: bool

    @property
    def roles(self) -> dict[str, dict[str, object]]:
        """What the zone tells of its work."""
        return {"postfix": {}} if self.sends else {"base": {}}


def find_hosts(book: Book) -> tuple[Host, ...]:
    """The machines: who takes mail, who greets or sends by SPF, and who says that it does neither.

    Of several names with one address, the one that mail knows the host by is the machine's.
    """
    found: list[Host] = []
    taken: set[str] = set()
    for fqdn, sends in _candidates(book):
        addresses = book.addresses(fqdn)
        if fqdn in {host.fqdn for host in found} or not addresses or addresses <= taken:
            continue
        fault = _fault(book, fqdn)
        if fault:
            _say(book, fqdn, fault)
            continue
        taken |= addresses
        found.append(Host(_label(fqdn, {host.name for host in found}), fqdn, addresses, sends))
    for host in found:
        _account_for(book, host)
    return tuple(sorted(found, key=lambda host: host.fqdn))


def with_role(hosts: Iterable[Host], roles: dict[str, set[str]]) -> Iterator[tuple[Host, dict[str, object]]]:
    """Each host with its roles, those that domains ask of it included; a role instead of `base`."""
    for host in hosts:
        more = sorted(role for role, machines in roles.items() if host.name in machines)
        own = host.roles if host.sends or not more else {}
        yield host, {**own, **{role: {} for role in more}}


def _candidates(book: Book) -> Iterator[tuple[str, bool]]:
    """(host name, whether it sends), the surest first."""
    for name in book.names():
        for value in sorted(book.at(name, "MX") - {NULL_MX}, key=_preference):
            yield value.split()[1], True
    policies = {name: [v for v in book.at(name, "TXT") if is_spf(v)] for name in book.names()}
    for name, found in policies.items():
        if name not in book.zones and found == ["v=spf1 a -all"]:
            yield name, True
    for name, found in policies.items():
        if name not in book.zones and found == [NOBODY.text] and NULL_MX in book.at(name, "MX"):
            yield name, False
    sending = {address for found in policies.values() for text in found for address in _listed(text)}
    pointed = {value for name in book.names() for value in book.at(name, "PTR")}
    for name in sorted(book.names(), key=lambda n: (n not in pointed, n.count("."), n)):
        if book.addresses(name) & sending and name not in book.zones:
            yield name, True


def _listed(text: str) -> Iterator[str]:
    """The single addresses that an SPF record names."""
    try:
        policy = parse(text)
    except SpfSyntaxError:
        return
    for directive in policy.directives:
        if directive.network is not None and directive.network.num_addresses == 1:
            yield str(directive.network.network_address)


def _fault(book: Book, fqdn: str) -> str:
    """Why a host cannot be a machine of a fleet."""
    try:
        names.host_name(names.DnsName.parse(fqdn))
    except ValueError as error:
        return str(error)
    takes_own = any(value.split()[1] == fqdn for value in book.at(fqdn, "MX"))
    takes_others = any(
        value.split()[1] == fqdn for name in book.names() if name != fqdn for value in book.at(name, "MX")
    )
    if fqdn in book.zones or book.at(f"_dmarc.{fqdn}", "TXT") or (takes_own and not takes_others):
        return "a mail domain's own name: a machine takes one below it"
    if any(len(book.at(fqdn, type_)) > 1 for type_ in ("A", "AAAA")):
        return ONE
    return ""


def _say(book: Book, fqdn: str, reason: str) -> None:
    for type_ in ("A", "AAAA"):
        for value in book.at(fqdn, type_):
            book.say(fqdn, type_, value, Fate.UNCLEAR, reason)


def _account_for(book: Book, host: Host) -> None:
    """What else stands at a machine's name and address, where the fleet would say something else."""
    for value in book.at(host.fqdn, "MX"):
        book.say(
            host.fqdn, "MX", value, Fate.UNCLEAR, f"{host.name} is a machine; mail goes to domains, not to it"
        )
    for value in filter(is_spf, book.at(host.fqdn, "TXT")):
        book.say(
            host.fqdn, "TXT", value, Fate.UNCLEAR, f"{host.name} is a machine, which has its own SPF record"
        )
    for address in host.addresses:
        reverse = reverse_name(ip_address(address))
        for value in book.at(reverse, "PTR"):
            book.say(
                reverse, "PTR", value, Fate.UNCLEAR, f"{address} is {host.fqdn}'s, and gives back its name"
            )


def _label(fqdn: str, used: set[str]) -> str:
    """A name for operators: the first label, with more of them where that is taken."""
    labels = fqdn.removesuffix(".").split(".")
    for count in range(1, len(labels) + 1):
        label = re.sub(r"[^a-z0-9-]", "-", "-".join(labels[:count]))
        name = (label if label[0].isalpha() else f"m-{label}")[:31].rstrip("-")
        if name not in used:
            return name
    return f"m{len(used) + 1}"


def _preference(value: str) -> tuple[int, str]:
    number, target = value.split()
    return int(number), target

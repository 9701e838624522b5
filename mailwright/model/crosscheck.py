"""What no single value of a fleet file can show: mistakes between two places of it. Both are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network

from mailwright.model.crossbackups import backups
from mailwright.model.crossdomains import domain_sections
from mailwright.model.crosslints import accepted_lints
from mailwright.model.crosspools import pools
from mailwright.model.document import Where, show
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.mistakes import Found, suggestion
from mailwright.model.pools import MAIL
from mailwright.model.vagrant import vagrant

AUDIENCES = ("public", "fleet", "admin", "local")
"""Firewall audiences that mean something by themselves; `networks` may name more, and says who `admin` is."""

_GROUPS = {
    "all": "every machine",
    "self": "something to pyinfra",
    "debian-12": "the machines with Debian 12",
    "debian-13": "the machines with Debian 13",
}
"""Groups that every inventory has, and what they mean to `--limit`."""
_PRIVATE = tuple(
    ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_REVERSE_V4 = re.compile(rf"({_OCTET}\.){{1,4}}in-addr\.arpa")
_REVERSE_V6 = re.compile(r"([0-9a-f]\.){1,32}ip6\.arpa")
_LAB_WORLD = (1, 14, 25, 53, 66)
_LAB_WORLD_V6 = (0x1, 0x14, 0x25, 0x53, 0x66)


def cross_check(fleet: Fleet, role_names: Iterable[str] = ()) -> list[Found]:
    """Every contradiction in a fleet; `role_names` are those that exist beside the ones it uses."""
    checks: tuple[Callable[[Fleet], Iterable[Found]], ...] = (
        _machines,
        _addresses,
        _domains,
        domain_sections,
        accepted_lints,
        _signing,
        _senders,
        _providers,
        _reverse_zones,
        _blocklists,
        _audiences,
        pools,
        backups,
        _lab,
        vagrant,
    )
    found = [mistake for check in checks for mistake in check(fleet)]
    return found + list(_groups(fleet, frozenset(role_names)))


def _twice(entries: Iterable[tuple[Where, Hashable]], what: str) -> Iterator[Found]:
    """Everything after the first that says the same."""
    seen: dict[Hashable, Where] = {}
    for where, value in entries:
        if value in seen:
            yield where, f"the same {what} as {show(seen[value])}: {value}"
        else:
            seen[value] = where


def _machines(fleet: Fleet) -> Iterator[Found]:
    machines = list(enumerate(fleet.machines))
    yield from _twice(((("machines", i, "name"), m.name) for i, m in machines), "name")
    yield from _twice(((("machines", i, "fqdn"), m.fqdn.bare) for i, m in machines), "host name")
    yield from _twice(((("pools", i, "name"), p.name) for i, p in enumerate(fleet.pools)), "pool")
    domains = {d.name: i for i, d in enumerate(fleet.domains)}
    for i, machine in machines:
        if machine.fqdn in domains:
            # A host's name gets a null MX and an SPF record of its own; the domain's are others.
            other = show(("domains", domains[machine.fqdn]))
            yield (
                ("machines", i, "fqdn"),
                f"is the mail domain {other} as well; give the host a name below it",
            )
        if machine.closed and "firewall" not in machine.roles:
            yield ("machines", i, "closed"), f"{machine.name} lacks the role firewall, which would close it"
        yield from _twice(((("machines", i, "labels", j), x) for j, x in enumerate(machine.labels)), "label")
    yield from _twice(((("admins", i, "name"), a.name) for i, a in enumerate(fleet.admins)), "name")


def _addresses(fleet: Fleet) -> Iterator[Found]:
    entries = [
        (("machines", i, family), value)
        for i, m in enumerate(fleet.machines)
        for family, value in (("ipv4", m.ipv4), ("ipv6", m.ipv6))
        if value is not None
    ]
    yield from _twice(entries, "address")
    for i, machine in enumerate(fleet.machines):
        if not machine.addresses:
            yield ("machines", i), f"{machine.name} has no address: give it ipv4, ipv6 or both"
        for family, value in (("ipv4", machine.ipv4), ("ipv6", machine.ipv6)):
            if value is not None and (reason := _unfit(fleet, machine, value)):
                yield ("machines", i, family), f"{reason}: {value}"


def _unfit(fleet: Fleet, machine: Machine, value: IPv4Address | IPv6Address) -> str | None:
    kinds = {
        "the unspecified address": value.is_unspecified,
        "a loopback address": value.is_loopback,
        "a multicast address": value.is_multicast,
        "a link-local address": value.is_link_local,
        "a reserved address": isinstance(value, IPv4Address) and value.is_reserved,
        "an IPv4 address inside IPv6": isinstance(value, IPv6Address) and value.ipv4_mapped is not None,
    }
    for kind, it_is in kinds.items():
        if it_is:
            return f"no machine can be reached at {kind}"
    if not fleet.lab and "postfix" in machine.roles and any(value in net for net in _PRIVATE):
        return "a private address: mailbox providers cannot tell whose it is; a mail host needs a public one"
    return None


def _domains(fleet: Fleet) -> Iterator[Found]:
    yield from _twice(((("domains", i, "name"), d.name.bare) for i, d in enumerate(fleet.domains)), "domain")
    machines = {m.name: m for m in fleet.machines}
    pools_by_name = {p.name: p for p in fleet.pools}
    for i, domain in enumerate(fleet.domains):
        yield from _twice(((("domains", i, "mx", j), x) for j, x in enumerate(domain.mx)), "machine")
        for j, name in enumerate(domain.mx):
            where = ("domains", i, "mx", j)
            if name in pools_by_name:
                if MAIL not in pools_by_name[name].ports:
                    yield where, f"the pool {name} does not serve port 25"
            elif name not in machines:
                what = "machine or pool" if pools_by_name else "machine"
                yield where, f"the fleet has no {what} {name}{suggestion(name, {*machines, *pools_by_name})}"
            elif "postfix" not in machines[name].roles:
                at = show(("machines", fleet.machines.index(machines[name])))
                yield where, f"{name} takes no mail: {at} lacks the postfix role"


def _signing(fleet: Fleet) -> Iterator[Found]:
    sending = {d for s in fleet.senders for d in _sender_domains(s.addresses)}
    for i, domain in enumerate(fleet.domains):
        keys = [(("domains", i, "dkim", j), key) for j, key in enumerate(domain.dkim)]
        yield from _twice((((*where, "selector"), key.selector) for where, key in keys), "selector")
        by_algorithm: dict[str, Where] = {}
        for where, key in keys:
            if key.algorithm in by_algorithm:
                first = show(by_algorithm[key.algorithm])
                yield where, f"a second {key.algorithm} key beside {first}: one of each algorithm signs"
            by_algorithm.setdefault(key.algorithm, where)
        if domain.name.bare in sending and "rsa" not in by_algorithm:
            at = next(
                show(("senders", j))
                for j, s in enumerate(fleet.senders)
                if _uses(s.addresses, domain.name.bare)
            )
            place: Where = ("domains", i, "dkim") if domain.dkim else ("domains", i)
            yield place, f"{domain.name.bare} is sent from by {at} and needs a DKIM key with algorithm rsa"


def _sender_domains(addresses: Iterable[str]) -> set[str]:
    return {address.rpartition("@")[2] for address in addresses}


def _uses(addresses: Iterable[str], domain: str) -> bool:
    return domain in _sender_domains(addresses)


def _senders(fleet: Fleet) -> Iterator[Found]:
    yield from _twice(((("senders", i, "login"), s.login) for i, s in enumerate(fleet.senders)), "login")
    domains = [d.name.bare for d in fleet.domains]
    for i, sender in enumerate(fleet.senders):
        for j, address in enumerate(sender.addresses):
            name = address.rpartition("@")[2]
            if name not in domains:
                yield ("senders", i, "addresses", j), f"{name} is not in domains{suggestion(name, domains)}"
    if fleet.senders and not fleet.with_role("postfix"):
        yield ("senders",), "no machine has the postfix role, so nobody can submit"


def _providers(fleet: Fleet) -> Iterator[Found]:
    used: list[tuple[Where, str | None]] = [
        *((("domains", i, "provider"), d.provider) for i, d in enumerate(fleet.domains)),
        *((("reverse_zones", i, "provider"), z.provider) for i, z in enumerate(fleet.reverse_zones)),
    ]
    for where, name in used:
        if name is not None and name not in fleet.providers:
            yield where, f"providers has no {name}{suggestion(name, fleet.providers)}"


def _reverse_zones(fleet: Fleet) -> Iterator[Found]:
    zones = list(enumerate(fleet.reverse_zones))
    yield from _twice(((("reverse_zones", i, "name"), z.name.bare) for i, z in zones), "zone")
    for i, zone in zones:
        if not _is_reverse(zone.name.bare):
            yield (
                ("reverse_zones", i, "name"),
                f"not a reverse zone such as 100.51.198.in-addr.arpa: {zone.name.bare}",
            )


def _is_reverse(name: str) -> bool:
    """RFC 1035 3.5 for IPv4, RFC 3596 2.5 for IPv6: as many parts as the address has, or fewer."""
    return bool(_REVERSE_V4.fullmatch(name) or _REVERSE_V6.fullmatch(name))


def _blocklists(fleet: Fleet) -> Iterator[Found]:
    lists = list(enumerate(fleet.dns.blocklists or ()))
    yield from _twice(((("dns", "blocklists", i, "zone"), b.zone.bare) for i, b in lists), "list")
    for i, each in lists:
        if each.of == "domains" and each.ipv6:
            yield ("dns", "blocklists", i, "ipv6"), "a list of domains has no addresses"
        if each.of == "addresses" and each.listed:
            where = ("dns", "blocklists", i, "listed")
            yield where, "of a list of addresses the test entry is always 127.0.0.2"


def _audiences(fleet: Fleet) -> Iterator[Found]:
    for name, networks in fleet.networks.items():
        if name in AUDIENCES and name != "admin":
            yield ("networks", name), f"{name} is an audience already; choose another name"
        yield from _twice(((("networks", name, i), n) for i, n in enumerate(networks)), "network")


def _lab(fleet: Fleet) -> Iterator[Found]:
    if fleet.lab is None:
        return
    for i, machine in enumerate(fleet.machines):
        for family, value, net, world in (
            ("ipv4", machine.ipv4, fleet.lab.ipv4, _LAB_WORLD),
            ("ipv6", machine.ipv6, fleet.lab.ipv6, _LAB_WORLD_V6),
        ):
            if value is None:
                continue
            if value not in net:
                yield ("machines", i, family), f"outside lab.{family}, which is {net}: {value}"
            elif int(value) - int(net.network_address) in world:
                yield ("machines", i, family), f"the lab's outside world has this address: {value}"


def _groups(fleet: Fleet, role_names: frozenset[str]) -> Iterator[Found]:
    """Roles and labels are groups in pyinfra, and `--limit` takes groups and machines alike."""
    taken = _GROUPS | {
        role: f"the machines with the role {role}"
        for role in role_names.union(*(machine.roles for machine in fleet.machines))
    }
    names = {m.name: show(("machines", i)) for i, m in reversed(list(enumerate(fleet.machines)))}
    for i, machine in enumerate(fleet.machines):
        if machine.name in taken:
            yield ("machines", i, "name"), f"{machine.name} means {taken[machine.name]}; choose another name"
        for j, label in enumerate(machine.labels):
            if meaning := taken.get(label) or names.get(label):
                yield ("machines", i, "labels", j), f"{label} means {meaning}; choose another label"

"""From the records of a mail domain to its section of the fleet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from maildns.errors import RecordError
from maildns.names import within
from maildns.policy.autoconfig import NOT_OFFERED, SERVICES
from maildns.policy.dkim import DkimKey
from maildns.policy.hosts import NULL_MX
from mailwright.model import domains as model
from mailwright.model.base import HostName
from mailwright.takeover.book import Book, Fate
from mailwright.takeover.hosts import Host
from mailwright.takeover.policies import read_dmarc, read_spf
from mailwright.takeover.sections import read_bimi, read_caa, read_mta_sts, read_tls_rpt

LINKS = ("click", "links", "open", "track", "unsubscribe")
"""Labels that say what they are for; any other alias may be anybody's."""


def mail_domains(book: Book, hosts: tuple[Host, ...]) -> tuple[str, ...]:
    """Names that take mail, sign it or have a policy; machines have theirs by being machines."""
    machines = {host.fqdn for host in hosts}
    found = {name for name in book.zones if _speaks_of_mail(book, name)}
    for name in book.names():
        if book.at(name, "MX") - {NULL_MX}:
            found.add(name)
        if name.startswith("_dmarc."):
            found.add(name.removeprefix("_dmarc."))
        if "._domainkey." in name:
            found.add(name.partition("._domainkey.")[2])
    return tuple(sorted(name for name in found - machines if book.zone_of(name)))


def domain_section(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any]:
    """What the fleet file says of a domain, as plain data; what it cannot say is said in the book."""
    readers: dict[str, Callable[[Book, tuple[Host, ...], str], Any]] = {
        "mx": _mx,
        "dkim": _dkim,
        "spf": read_spf,
        "dmarc": read_dmarc,
        "mta_sts": read_mta_sts,
        "tls_rpt": read_tls_rpt,
        "caa": read_caa,
        "bimi": read_bimi,
        "clients": _clients,
        "links": _links,
    }
    section: dict[str, Any] = {"name": name.removesuffix(".")}
    zone = book.zone_of(name)
    if zone and zone != name:
        section["zone"] = zone.removesuffix(".")
    return section | {key: said for key, read in readers.items() if (said := read(book, hosts, name))}


def keys(book: Book, name: str) -> Iterator[tuple[str, DkimKey]]:
    """(selector, key) of each key record of a domain that verifiers can read."""
    tail = f"._domainkey.{name}"
    for owner in book.names():
        for text in book.at(owner, "TXT") if owner.endswith(tail) else ():
            try:
                yield owner.removesuffix(tail), DkimKey.parse(text)
            except RecordError as error:
                book.say(owner, "TXT", text, Fate.UNCLEAR, str(error))


def _speaks_of_mail(book: Book, name: str) -> bool:
    texts = book.at(name, "TXT") | book.at(f"_mta-sts.{name}", "TXT") | book.at(f"_smtp._tls.{name}", "TXT")
    return bool(book.at(name, "MX")) or any(text.lower().startswith("v=") for text in texts)


def _mx(book: Book, hosts: tuple[Host, ...], name: str) -> list[str]:
    machines = {host.fqdn: host.name for host in hosts}
    found = sorted((int(v.split()[0]), v.split()[1], v) for v in book.at(name, "MX") - {NULL_MX})
    for _, target, value in found:
        if target in machines:
            book.say(
                name, "MX", value, Fate.TAKEN, f"{machines[target]} takes mail; the fleet counts in tens"
            )
        else:
            book.say(
                name, "MX", value, Fate.UNCLEAR, "not a machine of the zones imported, and MX name machines"
            )
    return [machines[target] for _, target, _ in found if target in machines]


def _dkim(book: Book, hosts: tuple[Host, ...], name: str) -> list[dict[str, str]]:
    del hosts
    chosen: dict[str, str] = {}
    for selector, key in keys(book, name):
        owner = f"{selector}._domainkey.{name}"
        reason = _unusable(selector, key, chosen)
        for text in book.at(owner, "TXT"):
            if reason:
                fate = Fate.LEFT if not key.public else Fate.UNCLEAR
                book.say(owner, "TXT", text, fate, reason)
            else:
                book.say(owner, "TXT", text, Fate.TAKEN, "the same key; tags that mean nothing to us go")
        if not reason:
            chosen[key.algorithm] = selector
    order = sorted(chosen, reverse=True)  # RSA first: every receiver verifies it
    return [{"selector": chosen[algorithm], "algorithm": algorithm} for algorithm in order]


def _unusable(selector: str, key: DkimKey, chosen: dict[str, str]) -> str:
    if not key.public:
        return "a revoked key"
    if key.algorithm in chosen:
        return f"a second {key.algorithm} key beside {chosen[key.algorithm]}: the zone does not say who signs"
    try:
        model.DkimKey(selector=selector, algorithm=key.algorithm)
    except ValidationError:
        return f"the fleet file writes no selector as {selector}: take a new one, and let this key retire"
    return ""


def _clients(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    machines = {host.fqdn: host.name for host in hosts}
    found: dict[str, list[str]] = {}
    for key, service in SERVICES.items():
        owner = f"{service.label}._tcp.{name}"
        for value in sorted(book.at(owner, "SRV"), key=lambda v: (int(v.split()[0]), v)):
            _, _, port, target = value.split()
            found.setdefault(key, [])
            if value == NOT_OFFERED:
                continue
            if int(port) != service.port or not _fits(HostName, target):
                book.say(
                    owner, "SRV", value, Fate.UNCLEAR, f"the fleet file knows {key} at port {service.port}"
                )
                continue
            found[key].append(machines.get(target, target.removesuffix(".")))
            book.say(owner, "SRV", value, Fate.TAKEN, "the same host; the fleet has its own priorities")
    return {key: targets for key, targets in found.items() if targets} if found else None


def _links(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, str]:
    said = {}
    for label in LINKS:
        addresses, aliases = book.addresses(f"{label}.{name}"), book.at(f"{label}.{name}", "CNAME")
        machine = next((host.name for host in hosts if host.addresses == addresses), None)
        if machine:
            said[label] = machine
        elif len(aliases) == 1 and _fits(HostName, next(iter(aliases))):
            said[label] = next(iter(aliases)).removesuffix(".")
    return {label: target for label, target in said.items() if not _own(hosts, label, name)}


def _own(hosts: tuple[Host, ...], label: str, name: str) -> bool:
    """Whether a machine is itself called so."""
    return any(host.fqdn == f"{label}.{name}" and within(host.fqdn, name) for host in hosts)


def _fits(kind: Any, value: str) -> bool:  # noqa: ANN401 - an annotated type
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True

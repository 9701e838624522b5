"""From zones as they are to the part of a fleet file that says the same. Pure.

What is understood becomes intents (a machine, a domain's MX, its policies); then the records that these
intents lead to are computed just as for any fleet, and compared with the zone. So "taken over" is
never a guess: either the fleet publishes that very value, or it is shown what it publishes instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from maildns.errors import MaildnsError
from maildns.names import challenge, within
from maildns.planning.ownership import is_marker_name
from maildns.records import Entry, RrKey, RRset, canonical_name, canonical_value
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Dns, Fleet
from mailwright.takeover.book import Book, Fate, Line
from mailwright.takeover.domains import domain_section, keys, mail_domains
from mailwright.takeover.hosts import Host, find_hosts, with_role
from mailwright.zones.domains import domain_entries
from mailwright.zones.machines import machine_entries

__all__ = ["Fate", "Line", "Takeover", "take_over"]

_SIGNED = {"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY", "TYPE65534"}


@dataclass(frozen=True)
class Takeover:
    """A part of a fleet file, as plain data, and an account of every record."""

    fragment: dict[str, Any]
    lines: tuple[Line, ...]
    todo: tuple[str, ...]
    """What no zone can tell, a sentence each."""

    def of(self, fate: Fate) -> tuple[Line, ...]:
        """The records with that fate."""
        return tuple(line for line in self.lines if line.fate is fate)


def take_over(zones: Iterable[str], rrsets: Iterable[RRset], provider: str | None = None) -> Takeover:
    """Read zones as what a fleet means.

    `provider` is what the fleet file calls who holds them.

    Raises:
        DnsError: what was understood contradicts itself.
    """
    book = Book(zones, rrsets)
    _set_aside(book)
    hosts = find_hosts(book)
    sections = [domain_section(book, hosts, name) for name in mail_domains(book, hosts)]
    _unspoken(book)
    fragment = _fragment(book, hosts, sections, provider)
    published = _published(book, fragment)
    return Takeover(fragment, tuple(book.lines(published)), tuple(_todo(fragment)))


def _set_aside(book: Book) -> None:
    """What no fleet ever plans."""
    cuts = [r.name for r in book.rrsets if r.type == "NS" and r.name not in book.zones]
    for each in book.rrsets:
        zone = book.zone_of(each.name)
        reason = ""
        if each.type in ("SOA", "NS"):
            reason = "the zone's spine" if each.name == zone else "a delegation"
        elif each.type in _SIGNED:
            reason = "what a signer makes"
        elif any(within(each.name, cut) for cut in cuts):
            reason = "below a delegation, so another zone's"
        elif challenge(each.name):
            reason = "an ACME client's"
        elif zone and is_marker_name(each.name, zone):
            reason = "a fleet's own mark of a record; whoever has the same `dns.owner` knows it"
        for value in each.rdata if reason else ():
            book.say(each.name, each.type, value, Fate.LEFT, reason)


def _unspoken(book: Book) -> None:
    """What is about mail, and has not been spoken of by now."""
    for each in book.rrsets:
        for value in each.rdata:
            tag = value.lower()
            if each.type == "TLSA":
                book.say(
                    each.name,
                    "TLSA",
                    value,
                    Fate.UNCLEAR,
                    "fleets publish the keys of their own certificates",
                )
            elif each.type == "TXT" and (tag.startswith("v=spf1") or "_domainkey" in each.name.split(".")):
                why = "a mail policy at a name that takes no mail: name it as a domain if mail comes from it"
                book.say(each.name, "TXT", value, Fate.UNCLEAR, why)
            elif each.type == "TXT" and tag.startswith(("v=dmarc", "v=sts", "v=tlsrpt", "v=bimi", "v=dkim")):
                book.say(
                    each.name, "TXT", value, Fate.UNCLEAR, "a mail policy that belongs to no domain here"
                )
            elif each.type == "CNAME" and "_domainkey" in each.name.split("."):
                book.say(
                    each.name, "CNAME", value, Fate.LEFT, "whoever holds the key at that name signs for you"
                )
            elif each.type == "MX":
                book.say(each.name, "MX", value, Fate.UNCLEAR, "a name that has no other mail record")


def _fragment(
    book: Book, hosts: tuple[Host, ...], sections: list[dict[str, Any]], provider: str | None
) -> dict[str, Any]:
    if provider:
        sections = [section | {"provider": provider} for section in sections]
    serving = {name for s in sections for name in s.get("mta_sts", {}).get("served_by", ())}
    machines = [_machine(host, roles) for host, roles in with_role(hosts, {"policies": serving})]
    reverse = [z for z in book.zones if z.endswith((".in-addr.arpa.", ".ip6.arpa."))]
    fragment: dict[str, Any] = {}
    ttl = Counter(r.ttl for r in book.rrsets if _counts(r, hosts, sections)).most_common(1)
    if ttl and ttl[0][0] != Dns().ttl:
        fragment["dns"] = {"ttl": min(max(ttl[0][0], 30), 86400)}
    fragment |= {"domains": sections} if sections else {}
    if provider and reverse:
        fragment["reverse_zones"] = [{"name": z.removesuffix("."), "provider": provider} for z in reverse]
    return fragment | ({"machines": machines} if machines else {})


def _counts(each: RRset, hosts: tuple[Host, ...], sections: list[dict[str, Any]]) -> bool:
    """Whether a set's TTL is one that a fleet would publish."""
    ours = {host.fqdn for host in hosts} | {canonical_name(f"{s['name']}.") for s in sections}
    return each.name in ours and each.type in ("A", "AAAA", "MX", "TXT")


def _machine(host: Host, roles: dict[str, object]) -> dict[str, Any]:
    addresses = sorted(map(ip_address, host.addresses), key=lambda ip: ip.version)
    families = {f"ipv{ip.version}": str(ip) for ip in addresses}
    return {"name": host.name, "fqdn": host.fqdn.removesuffix("."), **families, "roles": roles}


def _published(book: Book, fragment: dict[str, Any]) -> dict[RrKey, dict[str, str]]:
    """What a fleet with this fragment wants: by set, each value with its reason."""
    nobody = {"name": "nobody", "fqdn": "nobody.invalid", "ipv4": "192.0.2.0"}
    domains = [{k: v for k, v in d.items() if k != "provider"} for d in fragment.get("domains", ())]
    content = {
        "owner": {"name": "nobody", "postmaster": "postmaster@nobody.invalid"},
        "domains": domains,
        "machines": fragment.get("machines") or [nobody],
    }
    table: dict[RrKey, dict[str, str]] = {}
    try:
        for entry in _entries(book, Fleet.model_validate(content)):
            value = canonical_value(entry.type, entry.value)
            table.setdefault((canonical_name(entry.name), entry.type), {})[value] = entry.reason
    except (MaildnsError, ValueError) as error:
        raise DnsError(f"the zones contradict themselves: {' '.join(str(error).split())[:300]}") from None
    return table


def _entries(book: Book, fleet: Fleet) -> Iterator[Entry]:
    for machine in fleet.machines:
        if machine.name != "nobody":
            yield from machine_entries(fleet, machine)
    for domain in fleet.domains:
        yield from domain_entries(fleet, domain, domain, {})  # an import never flattens
        wanted = {key.selector for key in domain.dkim}
        for selector, key in keys(book, str(domain.name)):
            if selector in wanted:
                yield key.entry(str(domain.name), selector, f"verifies {key.algorithm} signatures")


def _todo(fragment: dict[str, Any]) -> Iterator[str]:
    """What has to be known besides."""
    for domain in fragment.get("domains", ()):
        for key in domain.get("dkim", ()):
            secret = f"dkim/{domain['name']}/{key['selector']}"
            yield f"bring the private key of {key['selector']}: mailwright secrets set INVENTORY {secret}"
        if not domain.get("provider"):
            yield f"say which provider holds {domain.get('zone', domain['name'])}, or publish it by hand"
    if fragment.get("machines"):
        yield "complete the machines: the zone tells what mail sees of them, not their other roles"

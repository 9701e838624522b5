"""The fleet's DNS under sabotage, on the lab's name server; judged by what `mailwright dns check` says."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from maildns.judging.check import State
from maildns.policy.tlsa import tlsa_name
from mailwright.dnscheck import KINDS, check_site
from mailwright.lab.host import LabHost
from mailwright.model.site import Site
from tests.mutation.registry import damages
from tests.mutation.sabotage import Damage, Look
from tests.mutation.shells import KEPT

_LIST_ZONE = "mailbox.example."
"""The lab's zone that holds the fleet's blocklist."""


class Kind(NamedTuple):
    """Stands for an expectation: that all verdicts of a kind are well."""

    name: str
    role: str


@dataclass(frozen=True)
class World:
    """What the world sees of a fleet: one expectation a kind of verdict."""

    site: Site
    host: LabHost
    """The name server."""
    name: str = "dns"

    @cached_property
    def expected(self):
        return [Kind(f"dns-{kind}", self.role) for kind in KINDS]

    role = "dns"
    release = "any"
    mailing = frozenset()

    def look(self, _=frozenset()):
        red, dark = {}, {}
        for verdict in check_site(self.site):
            names = {State.FAULT: red, State.UNKNOWN: dark}.get(verdict.state)
            if names is not None:
                said = f"{verdict.subject} {verdict.what}: {verdict.sentence}"
                names[f"dns-{verdict.kind}"] = said
        return Look(red, dark)

    @cached_property
    def domain(self):
        """The first domain, dotted: it has every policy there is."""
        return str(self.site.fleet.domains[0].name)

    @cached_property
    def sender(self):
        """The first machine that sends."""
        return self.site.fleet.with_role("postfix")[0]

    @cached_property
    def blocklist(self):
        return str(self.site.fleet.dns.blocklists[0].zone)

    def listing(self, address):
        """The name of an IPv4 address in the blocklist, below the lab's zone (RFC 5782 section 2.1)."""
        place = self.blocklist.removesuffix(f".{_LIST_ZONE}")
        return f"{'.'.join(reversed(str(address).split('.')))}.{place}"


def begin(zone):
    """Shell that begins a change of a zone (knotc(8)); one that was left open is given up."""
    return f"knotc zone-abort {zone} >/dev/null 2>&1 || :; knotc zone-begin {zone}"


def commit(zone):
    return f"knotc zone-commit {zone}"


def without(zone, name, kind):
    """(damage, undo): a record set is gone. Names are relative to the zone."""
    kept = f"{KEPT}/{name.replace('@', 'apex')}.{kind}"
    read = f"knotc zone-read {zone} {name} {kind} | sed 's/^\\[[^]]*\\] [^ ]* //'"
    unset = f"knotc zone-unset {zone} {name} {kind}"
    # knotc joins its words by blanks, as they were.
    fill = f"while read -r line; do knotc zone-set {zone} {name} $line; done <{kept}"
    back = f"{begin(zone)}; {unset} 2>/dev/null || :; set -f; {fill}; {commit(zone)}; rm {kept}"
    take = f"mkdir -p {KEPT}; {read} >{kept}; [ -s {kept} ]"
    return f"{take}; {begin(zone)}; {unset}; {commit(zone)}", f"if [ -s {kept} ]; then {back}; fi"


def instead(zone, name, kind, value):
    """(damage, undo): a record set has another value."""
    damage, undo = without(zone, name, kind)
    put = f"knotc zone-set {zone} {name} 60 {kind} {value}"
    return f"{damage}; {begin(zone)}; {put}; {commit(zone)}", undo


def added(zone, name, kind, value):
    """(damage, undo): a record more."""
    put = f"knotc zone-set {zone} {name} 60 {kind} {value}"
    take = f"knotc zone-unset {zone} {name} {kind} {value} 2>/dev/null || :"
    return tuple(f"{begin(zone)}; {change}; {commit(zone)}" for change in (put, take))


# --- a damage for each kind


@damages("dns-records")
def records(world, expectation):
    yield Damage("a TXT record is gone", *without(world.domain, "_smtp._tls", "TXT"))
    key = f"{world.site.fleet.domains[0].dkim[0].selector}._domainkey"
    yield Damage("a DKIM key is another", *instead(world.domain, key, "TXT", "'\"v=DKIM1; p=AAAA\"'"))
    yield Damage(
        "there is an MX more", *added(world.domain, "@", "MX", "99 outside.example."), ("dns-mta-sts",)
    )


@damages("dns-delegation")
def delegation(world, expectation):
    yield Damage("the zone names a server that is nowhere", *added(world.domain, "@", "NS", "none.example."))


@damages("dns-dnssec")
def dnssec(world, expectation):
    child = world.domain.removesuffix(".example.")
    how = instead("example.", child, "DS", f"1 13 2 {'ab' * 32}")
    yield Damage("the DS at the parent is another key's", *how, ("dns-tlsa", "dns-delegation"))


@damages("dns-fcrdns")
def fcrdns(world, expectation):
    zone = next(str(z.name) for z in world.site.fleet.reverse_zones if "in-addr" in str(z.name))
    last = str(world.sender.ipv4).rpartition(".")[2]
    yield Damage(
        "an address has another name", *instead(zone, last, "PTR", "outside.example."), ("dns-records",)
    )


@damages("dns-mta-sts")
def sts(world, expectation):
    yield Damage("nothing announces the policy", *without(world.domain, "_mta-sts", "TXT"), ("dns-records",))


@damages("dns-tlsa")
def tlsa(world, expectation):
    name = tlsa_name(str(world.sender.fqdn), 25).removesuffix(f".{world.domain}")
    how = instead(world.domain, name, "TLSA", f"3 1 1 {'ab' * 32}")
    yield Damage("it is of another key", *how, ("dns-records",))


@damages("dns-spf")
def spf(world, expectation):
    value = "'\"v=spf1 -all\"'"
    yield Damage("nobody may send", *instead(world.domain, "@", "TXT", value), ("dns-records",))


@damages("dns-dmarc")
def dmarc(world, expectation):
    yield Damage("the policy is gone", *without(world.domain, "_dmarc", "TXT"), ("dns-records",))


@damages("dns-blocklists")
def blocklists(world, expectation):
    how = added(_LIST_ZONE, world.listing(world.sender.ipv4), "A", "127.0.0.2")
    yield Damage("an address is listed", *how)


def list_that_answers(world):
    """(shell, shell): the fleet's blocklist has its test entry, and has it no more (RFC 5782 section 5)."""
    return added(_LIST_ZONE, world.listing("127.0.0.2"), "A", "127.0.0.2")

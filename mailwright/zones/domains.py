"""What a mail domain tells the world: who takes its mail, who sends it, and what proves that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maildns.policy import autoconfig
from maildns.policy.bimi import Bimi
from maildns.policy.caa import Caa, Issuer
from maildns.policy.dmarc import Dmarc
from maildns.policy.hosts import address, alias, mx, null_mx
from maildns.policy.mta_sts import policy_host
from maildns.policy.spf.flatten import Flattened
from maildns.policy.tls_rpt import TlsRpt
from maildns.records import Entry
from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet
from mailwright.sts import sts_policy
from mailwright.zones.senders import sender_entries


def domain_entries(
    fleet: Fleet, domain: Domain, leads: Domain, includes: Mapping[str, Flattened]
) -> Iterator[Entry]:
    """Every value that a domain needs.

    `leads` is the domain without the machines that stand aside. The MTA-STS policy names these, too: what
    machines serve does not change because one of them is closed.

    Raises:
        MaildnsError: a value that may not be published.
    """
    yield from _exchangers(fleet, leads)
    yield from sender_entries(fleet, domain, includes)
    yield from _dmarc(domain)
    yield from _transport(fleet, domain, leads)
    yield from _authorities(domain)
    yield from _clients(fleet, leads)
    yield from _links(fleet, domain)


def _exchangers(fleet: Fleet, domain: Domain) -> Iterator[Entry]:
    if domain.mx:
        yield from mx(str(domain.name), [fleet.exchanger(m) for m in domain.mx])
    else:
        yield null_mx(str(domain.name), f"{domain.name.bare} takes no mail")


def dmarc_policy(domain: Domain) -> Dmarc:
    """The DMARC policy of a domain as the library has it."""
    said = domain.dmarc
    return Dmarc(said.policy, said.subdomain_policy, said.rua, said.ruf, said.alignment)


def _dmarc(domain: Domain) -> Iterator[Entry]:
    name, policy = str(domain.name), dmarc_policy(domain)
    yield policy.entry(name)
    yield from policy.authorisations(name)
    if domain.bimi:
        logo = Bimi(domain.bimi.logo, domain.bimi.certificate)
        yield logo.entry(name, policy, domain.bimi.selector)


def _transport(fleet: Fleet, domain: Domain, leads: Domain) -> Iterator[Entry]:
    """What holds for TLS on the way to the domain."""
    name, policy = str(domain.name), sts_policy(fleet, domain)
    if policy and leads.mta_sts:
        yield policy.entry(name)
        for server in map(fleet.machine, leads.mta_sts.served_by):
            for ip in server.addresses:
                reason = f"{server.name} serves the MTA-STS policy of {domain.name.bare}"
                yield address(policy_host(name), ip, reason)
    if domain.tls_rpt:
        yield TlsRpt(domain.tls_rpt.rua).entry(name)


def _authorities(domain: Domain) -> Iterator[Entry]:
    if domain.caa:
        issuers = (
            Issuer(str(i.name), i.accounturi, i.validationmethods, i.wildcard) for i in domain.caa.issuers
        )
        yield from Caa(tuple(issuers), domain.caa.iodef).entries(str(domain.name))


def _clients(fleet: Fleet, domain: Domain) -> Iterator[Entry]:
    if domain.clients is None:
        return
    machines = {machine.name: str(machine.fqdn) for machine in fleet.machines}
    machines |= {pool.name: str(pool.service) for pool in fleet.pools}
    for name in autoconfig.SERVICES:
        hosts = [machines.get(target, target) for target in getattr(domain.clients, name)]
        yield from autoconfig.services(str(domain.name), name, hosts)


def _links(fleet: Fleet, domain: Domain) -> Iterator[Entry]:
    machines = {machine.name: machine for machine in fleet.machines}
    for label, target in domain.links.items():
        name = f"{label}.{domain.name}"
        where = f"links in mail of {domain.name.bare} lead to {target.removesuffix('.')}"
        reason = f"{where}: one-click unsubscription (RFC 8058)" if label == "unsubscribe" else where
        if target in machines:
            yield from (address(name, ip, reason) for ip in machines[target].addresses)
        else:
            yield alias(name, target, reason)

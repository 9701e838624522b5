"""Mistakes between a domain's sections and the rest of the fleet file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maildns.policy.autoconfig import SERVICES
from maildns.policy.bimi import too_weak
from maildns.policy.dmarc import Dmarc
from maildns.policy.mta_sts import policy_host
from mailwright.model.document import Where, show
from mailwright.model.domains import Domain
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.mistakes import Found, suggestion
from mailwright.model.names import DnsName
from mailwright.model.pools import Pool

SERVES = "policies"
"""The role whose machines serve MTA-STS policies."""
SUBMISSION = {"submission": 587, "submissions": 465}
"""What mail programs call the ports that a pool may serve (RFC 6409, RFC 8314)."""


def domain_sections(fleet: Fleet) -> Iterator[Found]:
    """What MTA-STS, BIMI, client and link sections say that the fleet or another section contradicts."""
    machines = {m.name: (show(("machines", i)), m) for i, m in enumerate(fleet.machines)}
    for i, domain in enumerate(fleet.domains):
        at: Where = ("domains", i)
        yield from _mta_sts(domain, at, machines)
        yield from _bimi(domain, at)
        yield from _clients(domain, at, machines, {pool.name: pool for pool in fleet.pools})
        yield from _links(domain, at, machines)


_Machines = Mapping[str, tuple[str, Machine]]
"""Each machine by its name, with its place in the file."""


def _mta_sts(domain: Domain, at: Where, machines: _Machines) -> Iterator[Found]:
    said = domain.mta_sts
    if said is None:
        return
    if said.mode != "none" and not domain.mx:
        yield (*at, "mta_sts"), f"{domain.name.bare} has no mx for a policy to name"
    for j, name in enumerate(said.served_by):
        where: Where = (*at, "mta_sts", "served_by", j)
        yield from _with_role(where, name, machines, SERVES)


def _bimi(domain: Domain, at: Where) -> Iterator[Found]:
    if domain.bimi and (why := too_weak(Dmarc(domain.dmarc.policy, domain.dmarc.subdomain_policy))):
        yield (*at, "bimi"), f"{why}; {show((*at, 'dmarc'))} is weaker"


def _clients(domain: Domain, at: Where, machines: _Machines, pools: Mapping[str, Pool]) -> Iterator[Found]:
    for service in SERVICES if domain.clients else ():
        for j, target in enumerate(getattr(domain.clients, service)):
            where: Where = (*at, "clients", service, j)
            if isinstance(target, DnsName):
                continue
            if target in pools:
                port = SUBMISSION.get(service)
                if port not in pools[target].ports:
                    yield where, f"the pool {target} does not serve {service}"
            elif service.startswith("submission"):
                yield from _with_role(where, target, machines, "postfix")
            elif target not in machines:
                yield where, _no_machine(target, machines)


def _links(domain: Domain, at: Where, machines: _Machines) -> Iterator[Found]:
    hosts = {str(machine.fqdn): place for place, machine in machines.values()}
    if domain.mta_sts:
        hosts[policy_host(str(domain.name))] = show((*at, "mta_sts"))
    for label, target in domain.links.items():
        where: Where = (*at, "links", label)
        if other := hosts.get(f"{label}.{domain.name}"):
            yield where, f"{label}.{domain.name.bare} is the host name of {other}; choose another label"
        if not isinstance(target, DnsName) and target not in machines:
            yield where, _no_machine(target, machines)


def _with_role(where: Where, name: str, machines: _Machines, role: str) -> Iterator[Found]:
    if name not in machines:
        yield where, _no_machine(name, machines)
        return
    place, machine = machines[name]
    if role not in machine.roles:
        yield where, f"{name} cannot do this: {place} lacks the role {role}"


def _no_machine(name: str, machines: _Machines) -> str:
    return f"the fleet has no machine {name}{suggestion(name, machines)}"

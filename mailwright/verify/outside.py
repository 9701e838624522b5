"""What a machine's ports must show to the controller: those that are for it answer, the others do not.

The controller is a stranger with one address. Where the network that it stands in hides the machine, nothing
is known of the machine: that is unknown, and the fleet file's `verify.unreached` says which ports to leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Port
from mailwright.model.pools import MAIL
from mailwright.model.site import MachinePlan
from mailwright.model.visit import OutsideCheck, Reception, Visit
from mailwright.verify.expectation import Evidence, Expectation, Fault

_EXPECTED_SILENCE = 3.0
"""Seconds after which a port that is not for everybody counts as silent: two questions of the kernel's."""

_INNER = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""RFC 1918, RFC 6598 (behind a provider's translation), RFC 4193."""


def of_ports(plan: MachinePlan) -> Iterator[Expectation]:
    """Each declared TCP port of a machine, from outside.

    SSH is left out: the verification comes by it, and servers count connections without a login.
    """
    for role, needs in plan.by_role.items():
        fleet = _fleet(plan)
        for port in needs.ports:
            if port.proto != "tcp" or port.brief or port.number == plan.machine.ssh.port:
                continue
            addresses = tuple(map(ip_address, port.at)) or plan.machine.addresses
            readers = audiences(plan, port)
            patience = Visit.patience if "public" in readers else _EXPECTED_SILENCE
            visits = tuple(
                v for a in addresses if reached(fleet, v := Visit(str(a), port.number, patience=patience))
            )
            if visits:
                name = f"outside-{port.number}/tcp" + "".join(f"-{a}" for a in port.at)
                yield Expectation(
                    plan.machine.name,
                    role,
                    name,
                    partial(_judge, fleet, readers, visits),
                    f"nft list ruleset on {plan.machine.name}; if your own network is in the way, name it in"
                    f" `verify.unreached`",
                    visits=visits,
                )


def of_roles(plan: MachinePlan) -> Iterator[Expectation]:
    """What roles say of their ports."""
    for role, check in plan.outside():
        if reached(_fleet(plan), check.visit):
            name = f"outside-{role}-{check.name}"
            judged = partial(_spoken, check)
            yield Expectation(plan.machine.name, role, name, judged, check.remedy, visits=(check.visit,))


def reached(fleet: Fleet, visit: Visit) -> bool:
    """Whether the fleet file lets the controller try."""
    family = f"ipv{ip_address(visit.address).version}"
    return not {family, visit.port} & set(fleet.verify.unreached)


def audiences(plan: MachinePlan, port: Port) -> frozenset[str | tuple[str, ...]]:
    """Whom the machine's roles together let reach a port."""
    same = {
        p.audience
        for p in plan.merged.ports
        if (p.proto, p.number, p.at) == (port.proto, port.number, port.at)
    }
    # The firewall of a closed machine lets the operator in alone.
    return frozenset(same & {"admin"} if plan.machine.closed else same)


def _fleet(plan: MachinePlan) -> Fleet:
    """The fleet of a machine that has a role."""
    return next(iter(plan.contexts.values())).fleet


def _spoken(check: OutsideCheck, evidence: Evidence) -> Fault | None:
    found = check.judge(_reception(evidence, check.visit))
    return Fault(check.name, found) if found is not None else None


def _reception(evidence: Evidence, visit: Visit) -> Reception:
    try:
        return evidence.receptions[visit]
    except KeyError:
        raise UnknownError("the controller did not ask") from None


def _judge(
    fleet: Fleet, readers: frozenset[str | tuple[str, ...]], visits: tuple[Visit, ...], evidence: Evidence
) -> Fault | None:
    unknown = ""
    for visit in visits:
        try:
            found = _door(fleet, readers, visit, evidence)
        except UnknownError as error:
            unknown = unknown or str(error)
        else:
            if found:
                return found
    if unknown:
        raise UnknownError(unknown)
    return None


def _door(
    fleet: Fleet, readers: frozenset[str | tuple[str, ...]], visit: Visit, evidence: Evidence
) -> Fault | None:
    seen = _reception(evidence, visit)
    place = f"{visit.address} port {visit.port}"
    if seen.outcome == "unreachable":
        raise UnknownError(f"from here there is no way to {visit.address}: {seen.trouble}")
    admitted = _admitted(fleet, readers, seen.own, visit.address)
    if admitted is False:
        whom = ", ".join(sorted(r if isinstance(r, str) else "/".join(r) for r in readers)) or "nobody"
        fault = Fault(f"reached by {whom} alone", f"{place} lets the controller in, from {seen.own}")
        return fault if seen.outcome == "open" else None
    if seen.outcome == "open" or admitted is None:
        return None
    word = "refuses" if seen.outcome == "refused" else "does not answer"
    witness = any(
        v.address == visit.address and v.port != visit.port and r.outcome == "open"
        for v, r in evidence.receptions.items()
    )
    # Many networks let nobody out to port 25, and say so by silence or by a refusal of their own.
    if witness and visit.port != MAIL:
        return Fault("an answer from outside", f"{place} {word}, while others of its ports answer")
    raise UnknownError(f"{place} {word}: the machine's firewall, or the network between")


def _admitted(fleet: Fleet, readers: frozenset[str | tuple[str, ...]], own: str, address: str) -> bool | None:
    """Whether the controller is among a port's audiences; `None` if nobody can tell.

    The address that a machine sees is another one where the network in between translates addresses, and
    then the operator's is among `admin` or not as SSH shows.
    """
    if "public" in readers:
        return True
    here = ip_address(own) if own else None
    translated = here is None or (_inner(here) and not _inner(ip_address(address)))
    networks = {reader: _networks(fleet, reader) for reader in readers - {"local"}}
    if here and any(here in network for known in networks.values() for network in known):
        return True
    named = [known for reader, known in networks.items() if isinstance(reader, str) and reader != "fleet"]
    return None if any(translated or not known for known in named) else False


def _inner(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address means something within one network only, so that others see another."""
    return any(address in network for network in _INNER)


def _networks(fleet: Fleet, reader: str | tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    if isinstance(reader, str) and reader != "fleet":
        return fleet.networks.get(reader, ())
    machines = fleet.machines if isinstance(reader, str) else tuple(map(fleet.machine, reader))
    return tuple(ip_network(address) for machine in machines for address in machine.addresses)

"""A certificate whose key is among the secrets: which machines take it from there, and where it is met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maildns.asking.starttls import PORT, WRAPPED
from mailwright.certificate import CHAIN, PRIVATE_KEY, secret_name
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.model.needs import Certificate, Pair
from mailwright.model.site import MachinePlan, Site

TLS = frozenset({PORT, 587}) | WRAPPED
"""Ports whose service is seen to speak TLS from outside."""


@dataclass(frozen=True)
class Holder:
    """A machine that is given the certificate's key out of the secrets."""

    machine: Machine
    certificate: Certificate
    roles: frozenset[str]
    """Those that put it in place, and those that serve it."""
    ports: tuple[int, ...]
    """Where the world meets it."""


@dataclass(frozen=True)
class Subject:
    """A certificate of that name, on all machines that share its key."""

    name: str
    holders: tuple[Holder, ...]
    provided: bool
    """Whether its chain is among the secrets, too."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair that some machine has."""
        return tuple(dict.fromkeys(pair for h in self.holders for pair in h.certificate.pairs))

    @property
    def pinned(self) -> bool:
        """Whether TLSA records name its key."""
        return any(h.certificate.pinned for h in self.holders)

    @property
    def names(self) -> tuple[str, ...]:
        """What it must be valid for, absolute and dotted."""
        return tuple(dict.fromkeys(name for h in self.holders for name in h.certificate.names))

    @property
    def roles(self) -> frozenset[str]:
        """The roles to deploy when its key changes."""
        return frozenset(role for h in self.holders for role in h.roles)

    def secret(self, pair: Pair, part: str) -> str:
        """The name of the secret that holds a part of a pair."""
        return secret_name(self.holders[0].certificate, part, pair)


def subjects(site: Site) -> tuple[Subject, ...]:
    """Every certificate of the fleet whose key is among the secrets.

    Raises:
        NeedsError, SecretError: a machine cannot be planned.
    """
    found: dict[str, list[Holder]] = {}
    provided: set[str] = set()
    for machine in site.fleet.machines:
        plan = site.plan(machine)
        secrets = site.secrets_of(machine)
        for certificate in plan.merged.certificates:
            if secret_name(certificate, PRIVATE_KEY) in secrets:
                found.setdefault(certificate.name, []).append(_holder(plan, certificate))
                if secret_name(certificate, CHAIN) in secrets:
                    provided.add(certificate.name)
    return tuple(Subject(name, tuple(holders), name in provided) for name, holders in found.items())


def pinned(site: Site, name: str | None) -> Subject:
    """The one certificate whose key may be rolled over: of that name, or the only one that is pinned.

    Raises:
        MailwrightError: there is none, or several and no name says which.
    """
    known = {subject.name: subject for subject in subjects(site) if subject.pinned}
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if not known:
        raise MailwrightError(
            "no TLSA record pins a key of this fleet (`postfix: {dane: true}`): a key that nobody knows"
            " beforehand is exchanged with its certificate"
        )
    if name not in known:
        which = f"no TLSA record pins the key of {name}" if name else "several keys are pinned"
        raise MailwrightError(f"{which}; name one of {', '.join(sorted(known))}")
    return known[name]


def _holder(plan: MachinePlan, certificate: Certificate) -> Holder:
    secret = secret_name(certificate, PRIVATE_KEY)
    wants = {role for role, own in plan.by_role.items() if certificate in own.certificates}
    gives = {r.name for r in plan.roles if secret in r.secrets(plan.contexts[r.name])}
    ports = {
        port.number
        for role in wants
        for port in plan.by_role[role].ports
        if port.number in TLS and port.audience == "public" and not port.at
    }
    where = tuple(sorted(ports | set(certificate.pinned_ports)))
    return Holder(plan.machine, certificate, frozenset(wants | gives), where)


@dataclass(frozen=True)
class Place:
    """Where a client meets a certificate."""

    name: str
    """What the client thinks it connects to, without a final dot."""
    address: str
    port: int
    pair: Pair
    algorithm: str | None
    """What a client must ask for to meet this pair; `None`: there is no other."""


def places(site: Site, subject: Subject) -> Iterator[Place]:
    """Each address and port at which a machine serves it, its pools' virtual addresses among them."""
    seen: set[tuple[str, int, str]] = set()
    for holder in subject.holders:
        for name, address, port in _met(site, holder):
            for pair in holder.certificate.pairs:
                if (address, port, pair.algorithm) not in seen:
                    seen.add((address, port, pair.algorithm))
                    yield Place(name, address, port, pair, holder.certificate.demanded(pair))


def _met(site: Site, holder: Holder) -> Iterator[tuple[str, str, int]]:
    machine = holder.machine
    for port in holder.ports:
        yield from ((machine.fqdn.bare, str(address), port) for address in machine.addresses)
        for pool in site.fleet.pools_of(machine.name):
            if port in pool.ports:
                yield from ((pool.service.bare, str(address), port) for address in pool.addresses)

"""Which machines, ports and units of a fleet are judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from audit.verdict import JudgeError
from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab
from mailwright.model.fleet import Machine
from mailwright.model.needs import Port
from mailwright.model.pools import HAND_OVER_PORT, HEALTH_PORT, proxy_port
from mailwright.model.site import Site

OUTSIDE = "outside"
"""The lab's stranger: what is public is judged from there."""

# What is spoken before TLS, by port: "" is TLS from the first octet. A declared TCP port that is in neither
# table is an error, so that a new port is not overlooked.
TLS = {25: "smtp", 465: "", 587: "smtp", 443: "", HAND_OVER_PORT: "smtp"}
_WITHOUT_TLS = {53, 8404}
"""DNS on the loopback, and HAProxy's statistics for administrators."""
# They begin with a PROXY header, which no judge sends: their TLS is judged at the virtual addresses.
_BEHIND_BALANCERS = {HEALTH_PORT, *map(proxy_port, (25, 465, 587))}


@dataclass(frozen=True)
class TlsPort:
    """A port that speaks TLS: where it is, whose name it has, and from which host it is judged."""

    place: str
    name: str
    address: str
    number: int
    protocol: str
    seen_from: str


@dataclass(frozen=True)
class Subjects:
    """A fleet's lab, and one machine of each kind in it."""

    site: Site
    lab: Lab
    only: tuple[str, ...] = ()
    """Names of machines; none: the first of each kind."""

    @cached_property
    def machines(self) -> tuple[Machine, ...]:
        """The first machine of each kind: the same roles with the same settings on the same Debian."""
        if self.only:
            return tuple(m for m in self.site.fleet.machines if m.name in self.only)
        kinds: dict[str, Machine] = {}
        for machine in self.site.fleet.machines:
            kinds.setdefault(
                json.dumps([machine.debian, machine.roles], sort_keys=True, default=str), machine
            )
        return tuple(kinds.values())

    @cached_property
    def trusted(self) -> Path:
        """A file with whatever authorities the certificates of this lab come from."""
        file = self.lab.plan.state / "audit-ca.pem"
        file.write_bytes(self.lab.ca.trusted)
        return file

    def host(self, name: str) -> LabHost:
        """A host of the lab."""
        return self.lab.host(name)

    def units(self, machine: Machine) -> tuple[str, ...]:
        """The units that its roles need, as they name them: a timer or a socket stands for its service."""
        units = self.site.plan(machine).merged.units
        return tuple(unit.name for unit in units if not unit.masked and (unit.enabled or unit.running))

    def ports(self, machine: Machine) -> tuple[Port, ...]:
        """The ports that its roles declare."""
        return self.site.plan(machine).merged.ports

    def tls_ports(self) -> Iterator[TlsPort]:
        """Every TLS port of the machines, and those of the pools at their virtual addresses.

        Raises:
            JudgeError: a machine declares a TCP port of which nobody said whether it speaks TLS.
        """
        served: set[str] = set()
        for machine in self.machines:
            for port in self.ports(machine):
                if port.proto != "tcp" or not self._speaks_tls(machine, port):
                    continue
                places = [(a, self._service(a)) for a in port.at[:1]] or [
                    (str(machine.addresses[0]), (machine.name, self._name(machine, port)))
                ]
                for address, (label, name) in places:
                    place = f"{label}:{port.number}"
                    if place not in served:  # both balancers of a pool declare its ports
                        served.add(place)
                        protocol = TLS.get(port.number, "")
                        yield TlsPort(place, name, address, port.number, protocol, self._view(port))

    def _speaks_tls(self, machine: Machine, port: Port) -> bool:
        if port.audience == "local" or port.number in {
            machine.ssh.port,
            *_WITHOUT_TLS,
            *_BEHIND_BALANCERS,
        }:
            return False
        if port.number in TLS or port.number == self.site.fleet.backup.port:
            return True
        raise JudgeError(
            f"{machine.name}: port {port.number} ({port.reason}): audit/subjects.py"
            " does not say whether it speaks TLS"
        )

    def _service(self, address: str) -> tuple[str, str]:
        """The name of the pool at a virtual address, and the name by which clients know it."""
        pool = next(p for p in self.site.fleet.pools if address in map(str, p.addresses))
        return pool.name, str(pool.service.bare)

    def _name(self, machine: Machine, port: Port) -> str:
        """The name that a client asks for at a port: of web servers one that their certificate has."""
        certificates = self.site.plan(machine).merged.certificates
        web = (c.names[0] for c in certificates if c.name == "mta-sts" and port.number == 443)  # noqa: PLR2004
        return str(next(web, machine.fqdn)).removesuffix(".")

    def _view(self, port: Port) -> str:
        """Who looks: the stranger at what is public, else one of those who may."""
        if isinstance(port.audience, tuple):
            return port.audience[0]
        return OUTSIDE

"""What a lab consists of, computed from its fleet file without touching anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import Path

from mailwright.lab.archive import RELEASES
from mailwright.lab.network import bridge
from mailwright.lab.paths import lab_state
from mailwright.model.errors import LabError
from mailwright.model.fleet import Fleet, Lab
from mailwright.model.providers import Rfc2136

WORLD = {"ns": 53, "mailbox": 25, "outside": 66, "ca": 14, "depot": 80}
"""The outside world by host name and last part of its addresses (written alike in IPv4 and IPv6)."""

WORLD_NAMES = {
    "ns": "ns.example",
    "mailbox": "mx.mailbox.example",
    "outside": "outside.example",
    "ca": "ca.example",
    "depot": "depot.example",
}
_WORLD_RELEASES = {"depot": 13}
"""Those of the world that are not Debian 12: what they run is not in it."""
CONTROLLER = 1
PARENT_ZONE = "example."


@dataclass(frozen=True)
class Host:
    """A host of the lab: a machine of the fleet, or one of the world around it."""

    name: str
    fqdn: str
    """Without a final dot, as host names are written on hosts."""
    release: str
    ipv4: IPv4Interface | None
    ipv6: IPv6Interface | None
    world: bool

    @property
    def interfaces(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """Its addresses with their networks, IPv4 first."""
        return tuple(i for i in (self.ipv4, self.ipv6) if i is not None)

    @property
    def address(self) -> str:
        """Where its sshd is reached."""
        return str(self.interfaces[0].ip)


@dataclass(frozen=True)
class LabPlan:
    """A lab by its fleet file."""

    fleet: Fleet
    file: Path
    lab: Lab

    @classmethod
    def of(cls, fleet: Fleet, file: Path) -> LabPlan:
        """Plan the lab of a fleet.

        Raises:
            LabError: the fleet is not a lab, or a machine does not fit into it.
        """
        if fleet.lab is None:
            raise LabError(f"{file}: this fleet has no `lab` section: it is not one to run on this machine")
        plan = cls(fleet, file, fleet.lab)
        plan._check_machines()
        return plan

    def _check_machines(self) -> None:
        for machine in self.fleet.machines:
            where = f"{self.file}: machine {machine.name}"
            if machine.name in WORLD:
                raise LabError(f"{where}: the lab's own world has a host of that name")
            for address in machine.addresses:
                network = self.lab.ipv4 if isinstance(address, IPv4Address) else self.lab.ipv6
                if address not in network or address in self.reserved:
                    raise LabError(f"{where}: {address} is not a free address of the lab's {network}")

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.lab.name

    @property
    def state(self) -> Path:
        """Its directory on the controller."""
        return lab_state(self.name)

    @property
    def bridge(self) -> str:
        """Its bridge's name."""
        return bridge(self.name)

    @cached_property
    def controller(self) -> tuple[IPv4Interface, IPv6Interface]:
        """The controller's end of the bridge."""
        return self._ipv4(CONTROLLER), self._ipv6(CONTROLLER)

    @cached_property
    def reserved(self) -> frozenset[object]:
        """Addresses that no machine of the fleet may have."""
        ends = (CONTROLLER, *WORLD.values())
        return frozenset(i.ip for end in ends for i in (self._ipv4(end), self._ipv6(end)))

    @cached_property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, the world's first: the fleet needs it."""
        world = [
            Host(
                name,
                WORLD_NAMES[name],
                RELEASES[_WORLD_RELEASES.get(name, 12)],
                self._ipv4(end),
                self._ipv6(end),
                world=True,
            )
            for name, end in WORLD.items()
        ]
        fleet = [
            Host(
                machine.name,
                machine.fqdn.bare,
                RELEASES[machine.debian],
                IPv4Interface((machine.ipv4, self.lab.ipv4.prefixlen)) if machine.ipv4 else None,
                IPv6Interface((machine.ipv6, self.lab.ipv6.prefixlen)) if machine.ipv6 else None,
                world=False,
            )
            for machine in self.fleet.machines
        ]
        return (*world, *fleet)

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            LabError: there is none; the message lists those there are.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        there = ", ".join(host.name for host in self.hosts)
        raise LabError(f"the lab {self.name} has no host {name}; it has {there}")

    @cached_property
    def provider(self) -> Rfc2136:
        """The provider of the fleet that is the lab's name server.

        Raises:
            LabError: the fleet has none at that address.
        """
        addresses = {i.ip for i in self.host("ns").interfaces}
        for provider in self.fleet.providers.values():
            if isinstance(provider, Rfc2136) and provider.server in addresses:
                return provider
        raise LabError(f"{self.file}: no provider has the lab's name server {self.host('ns').address}")

    @cached_property
    def fleet_zones(self) -> tuple[str, ...]:
        """Zones that the fleet's key may change, absolute: its domains and reverse zones held by the lab."""
        ours = {name for name, p in self.fleet.providers.items() if p == self.provider}
        zones = [(z.name, z.provider) for z in self.fleet.domains]
        zones += [(z.name, z.provider) for z in self.fleet.reverse_zones]
        return tuple(str(name) for name, provider in zones if provider in ours)

    @cached_property
    def anchored_zones(self) -> tuple[str, ...]:
        """Zones without a signed parent here: validators need a trust anchor for each."""
        return (PARENT_ZONE, *(z for z in self.fleet_zones if not z.endswith("." + PARENT_ZONE)))

    def _ipv4(self, end: int) -> IPv4Interface:
        return IPv4Interface((self.lab.ipv4[end], self.lab.ipv4.prefixlen))

    def _ipv6(self, end: int) -> IPv6Interface:
        """`::53` for 53: the digits are the same in both families, as operators number by hand."""
        return IPv6Interface((self.lab.ipv6[int(str(end), 16)], self.lab.ipv6.prefixlen))

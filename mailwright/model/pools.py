"""A pool in the fleet file: machines that serve one name together."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import Field

from mailwright.model.base import HostName, IPv4, IPv6, Model, Slug

MAIL = 25
"""The port of mail from the world; the others are for submission."""
PROXY_OFFSET = 10000
"""A member takes what balancers pass on (PROXY protocol, version 2) on the pool's port plus this."""
HEALTH_PORT = 10024
"""Where a member's Postfix answers the balancers' health checks, behind the PROXY protocol as well."""
HAND_OVER_PORT = 10026
"""Where a sending machine takes the queue of another one: mail that is accepted and signed already."""


class Pool(Model):
    """Machines that serve one name together: behind balancers, or at their own addresses by the DNS alone."""

    name: Slug
    """What operators call it."""
    service: HostName
    """What clients connect to, for example `smtp.example.com`: every member's certificate has this name."""
    members: tuple[Slug, ...] = Field(min_length=1)
    """Machines by name, or by a label that they have: a machine with the label joins by its own line."""
    ports: tuple[Literal[25, 465, 587], ...] = Field(default=(587, 465), min_length=1)
    """What they serve: submission on 587 and 465, mail from the world on 25."""
    balancers: tuple[Slug, ...] = ()
    """Machines with the roles `haproxy` and `keepalived`, the preferred holder of the addresses first.
    Empty: the service name has the addresses of all members, and clients choose."""
    ipv4: IPv4 | None = None
    """The virtual address that a balancer holds. Its PTR record gives the service name."""
    ipv6: IPv6 | None = None
    """The same over IPv6; the members need IPv6 addresses then, too."""
    keep_serving: Annotated[int, Field(ge=1)] = 1
    """How many members go on serving whatever is done to the others: `drain` and `apply --rolling` keep
    to it."""
    router_id: Annotated[int, Field(ge=1, le=255)] | None = None
    """VRRP's number of the virtual router (RFC 9568 5.2.3), unlike all others on the same network.
    Default: the pool's place in the list, counted from 51. A must for more than one pool with balancers."""

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The virtual addresses, IPv4 first; none without balancers."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a is not None)


def proxy_port(port: int) -> int:
    """Where a member takes what balancers pass on of a pool's port."""
    return PROXY_OFFSET + port

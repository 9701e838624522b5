"""A machine among others: what balancers pass on to its Postfix, and whose queues it takes over. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mailwright.model.errors import NeedsError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.needs import Port
from mailwright.model.pools import HAND_OVER_PORT, HEALTH_PORT, MAIL, proxy_port

HEALTH_LOG = "/var/log/postfix-health.log"
"""What the health checks' smtpd has to say; below /var, where postlogd(8) may write."""
ROTATION = "/etc/logrotate.d/mailwright-postfix-health"
"""logrotate's word about it."""


@dataclass(frozen=True)
class Membership:
    """Who stands in front of a machine and who beside it."""

    balancers: tuple[str, ...]
    """By name; none: no pool of the machine's has any."""
    proxied: dict[int, int]
    """The ports of its balanced pools, and where it takes what is passed on of each."""
    peers: tuple[Machine, ...]
    """The other machines with Postfix."""
    world: bool
    """Whether some pool of its serves port 25, with balancers or without."""

    @classmethod
    def of(cls, fleet: Fleet, machine: Machine) -> Membership:
        """What the fleet's pools make of a machine."""
        pools = fleet.pools_of(machine.name)
        served = {port for pool in pools if pool.balancers for port in pool.ports}
        return cls(
            balancers=fleet.balancers_of(machine.name),
            proxied={port: proxy_port(port) for port in sorted(served)},
            peers=tuple(m for m in fleet.with_role("postfix") if m != machine),
            world=any(MAIL in pool.ports for pool in pools),
        )

    @property
    def submission(self) -> bool:
        """Whether balancers pass submission on to it."""
        return bool(self.proxied.keys() - {MAIL})

    def ports(self) -> tuple[Port, ...]:
        """The listeners, each for those who are in front of it or beside it alone."""
        opened = [(proxied, f"port {port} by the balancers") for port, proxied in self.proxied.items()]
        if opened:
            opened.append((HEALTH_PORT, "the balancers' health check"))
        peers = tuple(machine.name for machine in self.peers)
        return (
            *(Port(number, "tcp", self.balancers, reason) for number, reason in opened),
            *((Port(HAND_OVER_PORT, "tcp", peers, "the queue of a machine that leaves"),) if peers else ()),
        )

    def check_inbound(self, machine: Machine, *, inbound: bool) -> None:
        """Refuse a member that does not serve what its pool serves.

        Raises:
            NeedsError: its pool takes mail from the world, and the machine is told not to.
        """
        if self.world and not inbound:
            raise NeedsError(
                f"{machine.name}: `inbound: false`, but a pool that it is a member of serves port 25; take"
                " the setting away, or the machine out of the pool"
            )

"""Mistakes between a pool, its machines and the rest of the fleet file."""

from __future__ import annotations

from collections.abc import Iterator

from mailwright.model.document import Where, show
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.mistakes import Found, suggestion
from mailwright.model.pools import Pool

BALANCES = ("haproxy", "keepalived")
"""The roles of a balancer."""
_FIRST_ROUTER = 51


def router_id(fleet: Fleet, pool: Pool) -> int:
    """VRRP's number of a pool's virtual router."""
    return pool.router_id or _FIRST_ROUTER + fleet.pools.index(pool)


def pools(fleet: Fleet) -> Iterator[Found]:
    """What a pool names and the fleet lacks, and what two of them want for themselves."""
    machines = {m.name: m for m in fleet.machines}
    hosts = {m.fqdn: show(("machines", i)) for i, m in enumerate(fleet.machines)}
    for i, pool in enumerate(fleet.pools):
        at: Where = ("pools", i)
        if pool.name in machines:
            yield (*at, "name"), f"{pool.name} is a machine; choose another name"
        if other := hosts.get(pool.service):
            yield (*at, "service"), f"{pool.service.bare} is the host name of {other}; choose another name"
        yield from _members(fleet, pool, at)
        if len(set(pool.ports)) != len(pool.ports):
            yield (*at, "ports"), "the same port twice"
        size = len(fleet.members(pool))
        if 1 < pool.keep_serving >= size:
            what = f"{pool.keep_serving} of {size} members: none could ever be drained; leave one to spare"
            yield (*at, "keep_serving"), what
        yield from _balancers(pool, at, machines)
        yield from _addresses(fleet, pool, at)
    yield from _routers(fleet)
    for i, machine in enumerate(fleet.machines):
        if any(role in machine.roles for role in BALANCES) and not fleet.balanced_by(machine.name):
            yield (
                ("machines", i, "roles"),
                f"{machine.name} balances nothing: no pool names it in `balancers`",
            )


def _members(fleet: Fleet, pool: Pool, at: Where) -> Iterator[Found]:
    words = {word for m in fleet.machines for word in (m.name, *m.labels)}
    for j, name in enumerate(pool.members):
        if name not in words:
            yield (*at, "members", j), f"no machine has this name or label: {name}{suggestion(name, words)}"
    submission = set(pool.ports) - {25}
    for machine in fleet.members(pool):
        place = show(("machines", fleet.machines.index(machine)))
        if "postfix" not in machine.roles:
            yield (*at, "members"), f"{machine.name} takes no mail: {place} lacks the role postfix"
        elif submission and not machine.roles["postfix"].get("submission", True):
            yield (*at, "ports"), f"{machine.name} takes no submission: {place}.roles.postfix says so"
        for family in ("ipv4", "ipv6"):
            # Postfix refuses a PROXY header of a family that it does not speak.
            if getattr(pool, family) and not getattr(machine, family):
                yield (*at, family), f"its member {machine.name} has no {family} address: {place}"


def _balancers(pool: Pool, at: Where, machines: dict[str, Machine]) -> Iterator[Found]:
    for j, name in enumerate(pool.balancers):
        where: Where = (*at, "balancers", j)
        if name not in machines:
            yield where, f"the fleet has no machine {name}{suggestion(name, machines)}"
            continue
        for family in ("ipv4", "ipv6"):
            # It answers from there, and tells the others over one of them (VRRP) that it holds them.
            if getattr(pool, family) and not getattr(machines[name], family):
                yield (*at, family), f"its balancer {name} has no {family} address"
        lacking = [role for role in BALANCES if role not in machines[name].roles]
        if lacking:
            yield where, f"{name} cannot balance: it lacks the role {lacking[0]}"
        if "postfix" in machines[name].roles:
            yield where, f"{name} has the role postfix, which listens on the same ports; take another machine"
    if len(set(pool.balancers)) != len(pool.balancers):
        yield (*at, "balancers"), "the same machine twice"
    elif len(pool.balancers) == 1:
        yield (*at, "balancers"), "one balancer is a single point of failure: name two, or none"


def _addresses(fleet: Fleet, pool: Pool, at: Where) -> Iterator[Found]:
    if pool.balancers and not pool.addresses:
        yield at, f"{pool.name} has balancers and no virtual address: give it ipv4, ipv6 or both"
    taken = {a: show(("machines", i)) for i, m in enumerate(fleet.machines) for a in m.addresses}
    for other, earlier in enumerate(fleet.pools[: at[1] if isinstance(at[1], int) else 0]):
        taken |= {a: show(("pools", other)) for a in earlier.addresses}
    for family, value in (("ipv4", pool.ipv4), ("ipv6", pool.ipv6)):
        if value is None:
            continue
        if not pool.balancers:
            yield (*at, family), "a virtual address needs `balancers` that hold it"
        elif value in taken:
            yield (*at, family), f"the same address as {taken[value]}: {value}"
        elif fleet.lab and value not in (fleet.lab.ipv4 if family == "ipv4" else fleet.lab.ipv6):
            yield (*at, family), f"outside lab.{family}: {value}"


def _routers(fleet: Fleet) -> Iterator[Found]:
    seen: dict[int, str] = {}
    balanced = [(i, pool) for i, pool in enumerate(fleet.pools) if pool.balancers]
    for i, pool in balanced:
        at: Where = ("pools", i)
        if pool.router_id is None and len(balanced) > 1:
            # A place in a list moves when an earlier entry goes, and every address would change hands.
            yield at, "several pools have balancers: give each a router_id, so that it keeps its own"
        number = router_id(fleet, pool)
        if number in seen:
            yield (*at, "router_id"), f"the same VRRP router as {seen[number]}: {number}"
        seen.setdefault(number, show(at))

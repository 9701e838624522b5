"""The packet filter: nothing comes in but what the machine's roles need, over IPv4 and IPv6 alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network, summarize_address_range
from typing import Annotated

from pydantic import Field

from mailwright.converge import operations as op
from mailwright.model.errors import NeedsError
from mailwright.model.needs import File, Needs, Package, Port, Reach, Unit
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.render import render

RULES = "/etc/nftables.conf"
# The rules as the kernel gives them back, without counters and without the addresses seen by the
# SSH rate limit.
LIST = "nft --stateless --terse list table inet mailwright"
# True when the kernel has what the file says. Loaded into a network namespace of its own, the file
# comes back in the kernel's spelling, so that the two compare.
LOADED = (
    f'[ "$({LIST} 2>/dev/null)" = '
    f"\"$(unshare --net sh -c 'nft --file {RULES} && {LIST}' 2>/dev/null)\" ] && {LIST} >/dev/null 2>&1"
)

PortNumber = Annotated[int, Field(ge=1, le=65535)]
Account = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]


class FirewallSettings(Settings):
    """What the operator may choose; the open ports are not among it, they follow from the roles."""

    ssh_rate: int = Field(default=15, ge=1, le=1000)
    """New SSH connections a minute from one address (IPv6: one /64), where SSH is open to the world."""
    log_dropped: bool = True
    """Log a sample of refused packets."""
    closed_outbound: tuple[PortNumber, ...] = ()
    """TCP ports of other machines that a machine may connect to while it is `closed`, beside those that its
    roles need then: a proxy for packages, for example."""
    outbound: dict[PortNumber, tuple[Account, ...]] = Field(default_factory=dict)
    """TCP ports of other machines that only these accounts may connect to, for example `25: [postfix]`."""


@dataclass(frozen=True)
class Opening:
    """The ports of one protocol that one audience may reach."""

    audience: str
    match: str
    """What nft matches besides the source."""
    reasons: tuple[str, ...]
    anyone: bool
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


def needs(ctx: Context[FirewallSettings]) -> Needs:
    """The machine's own SSH port is always in, whatever other roles say."""
    return Needs(
        packages=(Package("nftables"),),
        units=(Unit("nftables.service", reads=(RULES,), reload=True),),
        ports=(Port(ctx.machine.ssh.port, "tcp", "admin", "SSH"),),
    )


def files(ctx: Context[FirewallSettings]) -> Needs:
    """The ruleset, from the ports that all roles of the machine need."""
    ssh_open = not ctx.fleet.networks.get("admin")
    closed = ctx.machine.closed
    content = render(
        "firewall/nftables.conf.j2",
        closed=closed,
        reaches=tuple(_reaches(ctx)) if closed else (),
        ssh_open=ssh_open,
        ssh_port=ctx.machine.ssh.port,
        ssh_rate=ctx.settings.ssh_rate,
        openings=tuple(_openings(ctx)),
        log_dropped=ctx.settings.log_dropped,
        outbound=tuple(
            (port, tuple(f'"{account}"' for account in accounts))
            for port, accounts in sorted(ctx.settings.outbound.items())
        ),
    )
    return Needs(files=(File(RULES, content, mode=0o755),))


def _openings(ctx: Context[FirewallSettings]) -> Iterator[Opening]:
    groups: defaultdict[tuple[str, str], list[Port]] = defaultdict(list)
    for port in ctx.merged.ports:
        if port.audience == "admin" or (port.audience != "local" and not ctx.machine.closed):
            groups[port.readers, port.proto].append(port)
    for (_, proto), ports in sorted(groups.items()):
        opening = _opening(ctx, proto, ports)
        if opening.anyone or opening.ipv4 or opening.ipv6:
            yield opening


def _reaches(ctx: Context[FirewallSettings]) -> Iterator[tuple[str, str]]:
    """What a closed machine may connect to: what nft matches, and what for."""
    chosen = (Reach(port, "tcp", "by choice") for port in ctx.settings.closed_outbound)
    reasons: dict[tuple[str, int], dict[str, None]] = {}
    for reach in sorted((*ctx.merged.reaches, *chosen), key=lambda r: (r.proto, r.number)):
        reasons.setdefault((reach.proto, reach.number), {})[reach.reason] = None
    for (proto, number), why in reasons.items():
        yield f"{proto} dport {number}", ", ".join(why)


def _opening(ctx: Context[FirewallSettings], proto: str, ports: list[Port]) -> Opening:
    """The opening of ports that have one audience."""
    ports = sorted(
        {(port.number, port.reason): port for port in ports}.values(), key=lambda port: port.number
    )
    audience = ports[0].readers
    if proto == "vrrp":  # the number: nft would look the name up in /etc/protocols, which may be missing
        match, reasons = "meta l4proto 112", tuple(f"VRRP, {port.reason}" for port in ports)
    else:
        match = f"{proto} dport {{ {', '.join(map(str, dict.fromkeys(port.number for port in ports)))} }}"
        reasons = tuple(f"{port.number}/{proto}, {port.reason}" for port in ports)
    if audience == "public":
        return Opening(audience, match, reasons, anyone=True)
    networks = _networks(ctx, ports[0])
    ipv4, ipv6 = (tuple(_ranges(n for n in networks if n.version == version)) for version in (4, 6))
    return Opening(audience, match, reasons, False, ipv4, ipv6)


def _ranges(networks: Iterable[IPv4Network | IPv6Network]) -> Iterator[str]:
    """The networks with neighbours made one, as nft itself would.

    A set that nft has merged to one range is not what it would have made of that range, and a ruleset that
    was taken back from the kernel's list would differ from the one it came from.
    """
    blocks: list[list[IPv4Network | IPv6Network]] = []
    for network in sorted(networks, key=lambda n: (int(n[0]), int(n[-1]))):
        if blocks and int(network[0]) <= max(int(n[-1]) for n in blocks[-1]) + 1:
            blocks[-1].append(network)
        else:
            blocks.append([network])
    for block in blocks:
        first, last = block[0][0], max((n[-1] for n in block), key=int)
        whole = list(summarize_address_range(first, last))
        yield str(whole[0]) if len(whole) == 1 else f"{first}-{last}"


def _networks(ctx: Context[FirewallSettings], port: Port) -> tuple[IPv4Network | IPv6Network, ...]:
    audience = port.audience
    if isinstance(audience, tuple):
        machines = map(ctx.fleet.machine, audience)
        return tuple(ip_network(address) for machine in machines for address in machine.addresses)
    if audience == "fleet":
        return tuple(ip_network(address) for machine in ctx.fleet.machines for address in machine.addresses)
    if audience not in ctx.fleet.networks and audience != "admin":
        raise NeedsError(
            f"{ctx.machine.name}: port {port.number}/{port.proto} ({port.reason}) is for {audience!r}, "
            f"but the fleet file's `networks` has no {audience!r}"
        )
    return ctx.fleet.networks.get(audience, ())


def apply(ctx: Context[FirewallSettings]) -> None:
    """Exchange the ruleset; one that cuts the operator off is taken back by the machine itself."""
    op.guarded(
        ctx,
        "exchange the ruleset",
        paths=(RULES,),
        validate=f"nft --check --file {{root}}{RULES}",
        holds=LOADED,
        # The table as it is now, to come back to; there is none on a bare machine.
        save=(
            "{ echo 'table inet mailwright'; echo 'delete table inet mailwright'; "
            "nft --stateless list table inet mailwright 2>/dev/null || :; } >rules.nft"
        ),
        activate=f"nft --file {RULES}",
        revert="nft --file rules.nft",
    )
    op.units(ctx)


def checks(_: Context[FirewallSettings]) -> Iterable[Check]:
    """The kernel has the rules that the file says."""

    def judge(result: Result) -> str | None:
        return None if result.status == 0 else f"the kernel's rules are not those of {RULES}"

    yield Check("the loaded rules are the file's", LOADED, judge, "mailwright apply")


ROLE = Role("firewall", FirewallSettings, apply, needs=needs, files=files, checks=checks)

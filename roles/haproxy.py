"""A balancer: HAProxy passes connections on to the members of its pools, and tells them who the client is."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

from pydantic import Field

from mailwright.converge import operations as op
from mailwright.model.accounts import HAPROXY
from mailwright.model.base import Duration, seconds
from mailwright.model.errors import NeedsError
from mailwright.model.fleet import Machine
from mailwright.model.needs import BackupPath, Directory, File, Needs, Package, Port, Scrape, Sysctl, Unit
from mailwright.model.pools import HEALTH_PORT, MAIL, proxy_port
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.render import render

CONFIG = "/etc/haproxy/haproxy.cfg"
UNIT = "/etc/systemd/system/haproxy.service.d/mailwright.conf"
SOCKET = "/run/haproxy/admin.sock"
PROGRAM = "/usr/local/sbin/mailwright-balance"
ALIVE = "/usr/local/sbin/mailwright-balance-alive"
"""Succeeds if the HAProxy that serves clients answers; apart, because keepalived runs it each second."""
SERVERS = "/etc/mailwright/balance.json"
DRAINED = "/var/lib/mailwright/drained"
STATES = "/var/lib/mailwright/balance/servers"
STATS_PORT = 8404

MailPort = Annotated[int, Field(ge=1, le=65535)]
_DESCRIPTORS = 2000
"""File descriptors of HAProxy beyond those of connections: listeners, checks, two processes' worth."""
_FORGOTTEN = "7d"
"""After so long without a word a member is not drained on purpose any more. Draining it again is a word."""
_SPARE = 0.5
"""Seconds beyond the checks' interval until every member's last check is surely a new one."""


class HaproxySettings(Settings):
    """How much a balancer takes, and from whom. What it passes on where, the pools say."""

    connections: int = Field(default=8000, ge=100, le=1_000_000)
    """Connections at a time, those to the members not counted."""
    connections_per_client: int = Field(default=200, ge=1, le=100_000)
    """Connections at a time from one address (IPv6: one /64); more are closed at once."""
    member_connections: int = Field(default=100, ge=1, le=100_000)
    """Connections at a time to one port of one member; more wait. As many as Postfix has processes for it."""
    sticky: tuple[MailPort, ...] = (MAIL,)
    """Ports on which a client comes to the same member again while that is up; on the others the least busy
    one takes it. On port 25 postscreen remembers which clients it has tested."""
    check_interval: int = Field(default=2, ge=1, le=60)
    """Seconds between two health checks of a member."""
    linger: Duration = "30m"
    """How long sessions may go on after a reload before they are cut."""
    audience: str = "public"
    """Who may connect to the virtual addresses: `public`, `fleet` or a named network."""


@dataclass(frozen=True)
class Server:
    """A member as HAProxy sees it: an address to connect to, and the own one to come from."""

    name: str
    address: str
    source: str


@dataclass(frozen=True)
class Service:
    """One port of one pool."""

    pool: str
    port: int
    addresses: tuple[str, ...]
    members: tuple[Server, ...]
    sticky: bool

    @property
    def name(self) -> str:
        """What HAProxy calls its frontend and its backend."""
        return f"{self.pool}-{self.port}"

    @property
    def proxy_port(self) -> int:
        """Where the members take it."""
        return proxy_port(self.port)


def needs(ctx: Context[HaproxySettings]) -> Needs:
    """The pools' ports at their virtual addresses, and statistics at the machine's own."""
    return Needs(
        # A restart cuts every session through this balancer, and no other one takes them over.
        packages=(Package("haproxy", unattended=False), Package("python3"), Package("curl")),
        users=(HAPROXY,),
        units=(Unit("haproxy.service", reads=(CONFIG, SERVERS), reload=True),),
        sysctls=tuple(
            Sysctl(
                f"net.{family}.ip_nonlocal_bind",
                "1",
                "a balancer listens at addresses that another one holds",
            )
            for family in ("ipv4", "ipv6")
        ),
        ports=(
            *(
                Port(
                    port,
                    "tcp",
                    ctx.settings.audience,
                    f"pool {pool.name}",
                    at=tuple(map(str, pool.addresses)),
                )
                for pool in ctx.fleet.balanced_by(ctx.machine.name)
                for port in pool.ports
            ),
            Port(STATS_PORT, "tcp", "admin", "HAProxy's statistics"),
        ),
        scrapes=(Scrape("haproxy", STATS_PORT),),
        backups=(BackupPath(DRAINED, "which members are drained", "short"),),
    )


def files(ctx: Context[HaproxySettings]) -> Needs:
    """HAProxy's configuration, and the program that drains members with what it must know of them."""
    services = tuple(_services(ctx))
    members = tuple(dict.fromkeys(member for service in services for member in service.members))
    config = render(
        "haproxy/haproxy.cfg.j2",
        settings=ctx.settings.model_copy(update={"linger": f"{seconds(ctx.settings.linger)}s"}),
        name=ctx.machine.fqdn.bare,
        socket=SOCKET,
        states=STATES,
        services=services,
        members=members,
        health_port=HEALTH_PORT,
        own=tuple(map(_bound, ctx.machine.addresses)),
        stats_port=STATS_PORT,
    )
    descriptors = 2 * ctx.settings.connections + _DESCRIPTORS
    return Needs(
        directories=(
            Directory("/etc/mailwright"),
            Directory("/var/lib/mailwright"),
            Directory(DRAINED),
            Directory("/var/lib/mailwright/balance"),
        ),
        files=(
            File(CONFIG, config),
            File(SERVERS, _known(services, ctx.settings)),
            File(PROGRAM, render("haproxy/balance.py"), mode=0o755),
            File(ALIVE, render("haproxy/alive.pl.j2", socket=SOCKET), mode=0o755),
            File(UNIT, render("haproxy/service.conf.j2", program=PROGRAM, descriptors=descriptors)),
        ),
    )


def _services(ctx: Context[HaproxySettings]) -> Iterable[Service]:
    for pool in ctx.fleet.balanced_by(ctx.machine.name):
        members = tuple(_server(ctx.machine, member) for member in ctx.fleet.members(pool))
        addresses = tuple(map(_bound, pool.addresses))
        for port in pool.ports:
            yield Service(pool.name, port, addresses, members, port in ctx.settings.sticky)


def _server(balancer: Machine, member: Machine) -> Server:
    """Over the member's first address that is of a family of ours, and never from a virtual one of ours."""
    for address in member.addresses:
        for own in balancer.addresses:
            if own.version == address.version:
                return Server(member.name, _bound(address), _bound(own))
    raise NeedsError(f"{balancer.name} and {member.name} have no family of addresses in common")


def _bound(address: IPv4Address | IPv6Address) -> str:
    """An address as HAProxy reads it, which takes what follows a colon for a port."""
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def _known(services: Iterable[Service], settings: HaproxySettings) -> bytes:
    """What mailwright-balance must know of the fleet file."""
    services = tuple(services)
    known = {
        "addresses": list(dict.fromkeys(a.strip("[]") for service in services for a in service.addresses)),
        "health_port": HEALTH_PORT,
        "check_seconds": settings.check_interval + _SPARE,
        "servers": [
            {
                "pool": service.pool,
                "serves": service.port,
                "backend": service.name,
                "member": member.name,
                "address": member.address.strip("[]"),
                "port": service.proxy_port,
            }
            for service in services
            for member in service.members
        ],
    }
    return f"{json.dumps(known, indent=1)}\n".encode()


def apply(ctx: Context[HaproxySettings]) -> None:
    """Exchange the configuration once HAProxy has read all of it without complaint."""
    op.files(ctx, validate=f"haproxy -c -q -f {{root}}{CONFIG}")
    op.units(ctx)


def checks(ctx: Context[HaproxySettings]) -> Iterable[Check]:
    """Every port has a member that takes mail, and none is drained and forgotten."""
    yield Check(
        "every port has a member that is up",
        f"{PROGRAM} state",
        _served,
        "mailwright verify: what is wrong with the pool's members?",
    )
    yield Check(
        "nobody is drained and forgotten",
        f"{PROGRAM} state",
        _nobody_forgotten,
        f"mailwright undrain, once it is well; or {PROGRAM} undrain MEMBER (or return) on {ctx.machine.name}",
    )
    yield Check(
        "the runtime socket is root's alone",
        f"stat -c '%a %U' {SOCKET}",
        lambda r: None if r.stdout.strip() == "600 root" else f"it is {(r.stdout or r.stderr).strip()}",
        "mailwright apply",
    )
    url = shlex.quote(f"http://{_bound(ctx.machine.addresses[0])}:{STATS_PORT}/metrics")
    yield Check(
        "metrics are served",
        f"curl -sS --noproxy '*' --max-time 10 {url} | grep -m 1 ^haproxy_process_",
        lambda r: None if r.status == 0 else f"no metrics: {(r.stderr or r.stdout).strip()[:200]}",
        "journalctl -u haproxy",
    )


def _served(result: Result) -> str | None:
    if result.status != 0:
        return result.stderr.strip()[:300]
    servers = json.loads(result.stdout)["servers"]
    up = {(s["pool"], s["port"]) for s in servers if s["status"] == "UP"}
    dead = dict.fromkeys(f"{s['pool']} {s['port']}" for s in servers if (s["pool"], s["port"]) not in up)
    return f"no member is up: {', '.join(dead)}" if dead else None


def _nobody_forgotten(result: Result) -> str | None:
    """Somebody may be working on what is drained, and a rolling run is not to be stopped by that."""
    if result.status != 0:
        return result.stderr.strip()[:300]
    state = json.loads(result.stdout)
    listed = state["drained"]
    asleep = dict.fromkeys(s["member"] for s in state["servers"] if s["status"] in ("DRAIN", "MAINT"))
    oldest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds(_FORGOTTEN)))
    found = [f"{member} is drained since {note}" for member, note in listed.items() if note < oldest]
    since = state.get("retired_since", "")
    if state.get("retired") is not None and since < oldest:
        found.append(f"this balancer is drained since {since} {state['retired']}".strip())
    found += [f"{member} is drained, and nobody noted it" for member in asleep if member not in listed]
    awake = dict.fromkeys(s["member"] for s in state["servers"] if s["status"] == "UP")
    found += [f"{member} is noted as drained, and gets sessions" for member in awake if member in listed]
    return ", ".join(found) or None


ROLE = Role("haproxy", HaproxySettings, apply, needs=needs, files=files, checks=checks)

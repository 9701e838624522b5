"""A balancer: keepalived holds the pools' virtual addresses on one machine at a time (VRRP, RFC 9568)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from mailwright.converge import operations as op
from mailwright.model.crosspools import router_id
from mailwright.model.fleet import Fleet
from mailwright.model.needs import Directory, File, Needs, Package, Port, Unit
from mailwright.model.pools import Pool
from mailwright.model.role import Agreement, Check, Context, Result, Role, Settings
from mailwright.render import render

CONFIG = "/etc/keepalived/keepalived.conf"
UNIT = "/etc/systemd/system/keepalived.service.d/mailwright.conf"
HAPROXY = "/etc/systemd/system/haproxy.service.d/keepalived.conf"
PROGRAM = "/usr/local/sbin/mailwright-vrrp"
FOLDER = "/run/mailwright/vrrp"
"""A file for each pool: its state on this balancer, and since when."""
INTERFACE = f"{FOLDER}/interface.conf"
DOWN = f"{FOLDER}/haproxy.down"
RETIRED = "/var/lib/mailwright/retired"
"""1: `mailwright-balance retire` was said, and the addresses are left to others."""
ALIVE = "/usr/local/sbin/mailwright-balance-alive"

PRIORITY = 150
"""Of the balancer that a pool names first; each later one has one less. With a claim of up to 100 on top, it
stays below 255, which means that the address is the machine's own (RFC 9568 5.2.4)."""


class KeepalivedSettings(Settings):
    """How fast addresses move, and by what means."""

    interval: float = Field(default=0.3, ge=0.05, le=10)
    """Seconds between two adverts of the holder; after three that are missed, another one takes over."""
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,15}$")] | None = None
    """Which interface gets the virtual addresses. Default: the one with the machine's first address."""
    notify: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./-]+$")] | None = None
    """A program of yours on the machine, called as `PROGRAM POOL STATE ADDRESS...` at each change: for
    addresses that a provider's interface moves. STATE is MASTER, BACKUP, FAULT or STOP."""


@dataclass(frozen=True)
class Router:
    """A pool's virtual router on this balancer."""

    pool: Pool
    number: int
    priority: int
    source: str
    peers: tuple[str, ...]

    @property
    def name(self) -> str:
        """What keepalived calls the instance."""
        return self.pool.name

    @property
    def addresses(self) -> tuple[str, ...]:
        """The virtual addresses with their prefix lengths: routes to them are no business of ours."""
        return tuple(f"{a}/{a.max_prefixlen}" for a in self.pool.addresses)

    @property
    def spoken(self) -> str:
        """The address that the adverts name."""
        return self.addresses[0]

    @property
    def carried(self) -> str:
        """The other family's address, which moves along; empty if the pool has one address."""
        return "".join(self.addresses[1:])

    @property
    def claim(self) -> str:
        """Where the additional priority of a recent taker is."""
        return f"{FOLDER}/{self.pool.name}.claim"


def needs(ctx: Context[KeepalivedSettings]) -> Needs:
    """The daemon, and VRRP from the other balancers."""
    pools = ctx.fleet.balanced_by(ctx.machine.name)
    others = tuple(dict.fromkeys(b for pool in pools for b in pool.balancers if b != ctx.machine.name))
    # A closed one would hear no other, and take the addresses that another one holds.
    runs = not ctx.machine.closed
    return Needs(
        packages=(Package("keepalived", unattended=False),),  # a restart may move the addresses
        units=(Unit("keepalived.service", reads=(CONFIG, PROGRAM), reload=True, enabled=runs, running=runs),),
        ports=(Port(0, "vrrp", others, "who holds the virtual addresses"),) if others else (),
    )


def files(ctx: Context[KeepalivedSettings]) -> Needs:
    """The configuration, what keepalived runs, and what HAProxy's unit tells it."""
    routers = tuple(_routers(ctx))
    config = render(
        "keepalived/keepalived.conf.j2",
        name=ctx.machine.name,
        interface=INTERFACE,
        interval=ctx.settings.interval,
        down=DOWN,
        retired=RETIRED,
        alive=ALIVE,
        program=PROGRAM,
        routers=routers,
    )
    program = render(
        "keepalived/vrrp.sh.j2",
        program=PROGRAM,
        folder=FOLDER,
        settings=ctx.settings,
        interface=ctx.settings.interface or "",
        own=str(ctx.machine.addresses[0]),
        hook=shlex.quote(ctx.settings.notify or ""),
        routers=routers,
    )
    return Needs(
        directories=(Directory("/etc/keepalived"),),
        files=(
            File(CONFIG, config),
            File(PROGRAM, program, mode=0o755),
            File(UNIT, render("keepalived/service.conf.j2", program=PROGRAM)),
            File(HAPROXY, render("keepalived/haproxy.conf.j2", folder=FOLDER, down=DOWN)),
        ),
    )


def _routers(ctx: Context[KeepalivedSettings]) -> Iterable[Router]:
    for pool in ctx.fleet.balanced_by(ctx.machine.name):
        version = pool.addresses[0].version
        places = {
            name: str(address)
            for name in pool.balancers
            for address in ctx.fleet.machine(name).addresses
            if address.version == version
        }
        yield Router(
            pool,
            number=router_id(ctx.fleet, pool),
            priority=PRIORITY - pool.balancers.index(ctx.machine.name),
            source=places.pop(ctx.machine.name),
            peers=tuple(places.values()),
        )


def apply(ctx: Context[KeepalivedSettings]) -> None:
    """Exchange the configuration once keepalived has read all of it without complaint."""
    # The configuration includes what the program writes. Unless it changes, there is no staged copy of it.
    prepare = f"program={{root}}{PROGRAM}; [ -e $program ] || program={PROGRAM}; sh $program prepare"
    op.files(ctx, validate=f"{prepare} && keepalived -t -f {{root}}{CONFIG}")
    op.units(ctx)


def checks(ctx: Context[KeepalivedSettings]) -> Iterable[Check]:
    """Each pool's addresses are here if keepalived says so, and not if not."""
    if ctx.machine.closed:
        return
    for pool in ctx.fleet.balanced_by(ctx.machine.name):
        addresses = " ".join(f"-e ' {a}/'" for a in pool.addresses)
        count = f"ip -o address show | grep -cF {addresses}"
        command = f"cat {FOLDER}/{pool.name} || echo nothing; {count}; cat {RETIRED}"

        def judge(result: Result, wanted: int = len(pool.addresses)) -> str | None:
            state, here, retired = (*result.stdout.splitlines(), "", "", "")[:3]
            word = state.partition(" ")[0]
            if word not in ("MASTER", "BACKUP") and (word, retired.strip()) != ("FAULT", "1"):
                return f"keepalived says {state.strip() or 'nothing'}"
            right = wanted if word == "MASTER" else 0
            if here.strip() != str(right):
                return f"keepalived says {state}, but {here.strip() or 'none'} of its addresses are here"
            return None

        yield Check(f"pool {pool.name} has its state", command, judge, "journalctl -u keepalived")


def agreements(fleet: Fleet) -> Iterable[Agreement]:
    """Each virtual address is held by exactly one balancer: two are a split brain, and none serves nobody."""
    for pool in fleet.pools:
        for address in pool.addresses:
            yield Agreement(
                f"exactly one of {', '.join(pool.balancers)} holds {address}",
                pool.balancers,
                f"ip -o address show to {address}/{address.max_prefixlen}",
                _one_holds,
                "does VRRP (IP protocol 112) pass between the balancers? journalctl -u keepalived on each",
            )


def _one_holds(results: Mapping[str, Result]) -> str | None:
    broken = [machine for machine, result in results.items() if result.status != 0]
    if broken:
        return f"{broken[0]}: {results[broken[0]].stderr.strip()[:200]}"
    holders = [machine for machine, result in results.items() if result.stdout.strip()]
    if len(holders) == 1:
        return None
    return f"{' and '.join(holders)} hold it at the same time" if holders else "none of them does"


ROLE = Role(
    "keepalived",
    KeepalivedSettings,
    apply,
    needs=needs,
    files=files,
    checks=checks,
    agreements=agreements,
)

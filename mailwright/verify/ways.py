"""By which ways the world comes to the machines of a fleet: what a drawing of it has to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailwright.model.fleet import Fleet, Machine
from mailwright.model.pools import MAIL, Pool
from mailwright.verify.report import CheckReport, Outcome, Report, worst


@dataclass(frozen=True)
class Way:
    """From the world to machines: through a pool, or by names of their own."""

    title: str
    label: str
    """What those behind it are."""
    lines: tuple[str, ...]
    machines: tuple[str, ...]
    balancers: tuple[str, ...] = ()
    verdict: Outcome | None = None


def ways(report: Report, fleet: Fleet) -> Iterator[Way]:
    """All of them: the pools in the order of the file, then MX records and submission without a pool."""
    order = [machine.name for machine in fleet.machines]
    for pool in fleet.pools:
        members = tuple(machine.name for machine in fleet.members(pool))
        ports = f"{'ports' if len(pool.ports) > 1 else 'port'} {', '.join(map(str, pool.ports))}"
        lines = (*map(str, pool.addresses), ports)
        verdict = _held(pool, report.together)
        balancers = tuple(sorted(pool.balancers, key=order.index))  # one pair, whichever is preferred
        yield Way(pool.service.bare, f"pool {pool.name}", lines, members, balancers, verdict)
    exchangers = tuple(m.name for m in fleet.machines if any(m.name in d.mx for d in fleet.domains))
    if exchangers:
        domains = [d.name.bare for d in fleet.domains if set(d.mx).intersection(exchangers)]
        more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
        yield Way(f"MX of {domains[0]}{more}", "MX", (f"port {MAIL}",), exchangers)
    alone = tuple(machine.name for machine in fleet.machines if _takes_submission(machine, fleet))
    if alone:
        yield Way("submission", "submission", ("ports 587, 465",), alone)


def _held(pool: Pool, together: Sequence[CheckReport]) -> Outcome | None:
    """The worst of what was said about the pool's virtual addresses."""
    addresses = set(map(str, pool.addresses))
    about = [check for check in together if addresses.intersection(check.name.split())]
    return worst(about) if about else None


def _takes_submission(machine: Machine, fleet: Fleet) -> bool:
    """Whether clients submit to it by its own name, in no pool."""
    settings = machine.roles.get("postfix")
    pooled = any(set(pool.ports) - {MAIL} for pool in fleet.pools_of(machine.name))
    return settings is not None and not pooled and bool(settings.get("submission", True))


def behind(fleet: Fleet, all_ways: Sequence[Way]) -> tuple[dict[frozenset[int], list[str]], list[str]]:
    """Machines by the ways that lead to them, and those that no way leads to; without balancers."""
    led_to: dict[frozenset[int], list[str]] = {}
    aside: list[str] = []
    for machine in fleet.machines:
        through = frozenset(i for i, way in enumerate(all_ways) if machine.name in way.machines)
        if through:
            led_to.setdefault(through, []).append(machine.name)
        elif not fleet.balanced_by(machine.name):
            aside.append(machine.name)
    return led_to, aside

"""In which order machines are changed, and which of them at the same time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mailwright.model.fleet import Fleet
from mailwright.model.pools import Pool

Batch = tuple[str, ...]
"""Names of machines that are out of the traffic, and changed, at the same time."""


def batches(
    fleet: Fleet,
    names: Collection[str],
    size: int = 1,
    *,
    holding: Mapping[str, int] | None = None,
    out: Collection[str] = (),
    single: Collection[str] = (),
) -> tuple[Batch, ...]:
    """Return `names` in batches of at most `size`, each machine once.

    Balancers come first, one by one: those that hold the fewest virtual addresses now (`holding`, by
    name), so that the standby is changed and proved before it takes over from the active one. Then come
    the others in the order of the file, those that are `out` of the traffic anyway first. A batch takes
    no more members of a pool than leave `keep_serving` of them, but always one: whether even that one
    can be spared is known only when its turn comes. `single` ones come last, one by one.
    """
    held = holding or {}
    wanted = [machine.name for machine in fleet.machines if machine.name in names]
    balancers = sorted((n for n in wanted if fleet.balanced_by(n)), key=lambda name: held.get(name, 0))
    others = sorted((n for n in wanted if n not in balancers), key=lambda name: name not in out)
    found: list[list[str]] = []
    for name in others:
        if name in single:
            continue
        if found and len(found[-1]) < size and _fits(fleet, [*found[-1], name], out):
            found[-1].append(name)
        else:
            found.append([name])
    last = ((name,) for name in others if name in single)
    return (*((name,) for name in balancers), *map(tuple, found), *last)


def _fits(fleet: Fleet, batch: Collection[str], out: Collection[str]) -> bool:
    return all(
        len(taken) <= max(1, spare(fleet, pool, set(out) - set(batch)))
        for pool in fleet.pools
        if (taken := members(fleet, pool) & set(batch))
    )


def spare(fleet: Fleet, pool: Pool, out: Collection[str] = ()) -> int:
    """How many members of a pool may leave it at the same time, when some are `out` of it already."""
    return len(members(fleet, pool) - set(out)) - pool.keep_serving


def members(fleet: Fleet, pool: Pool) -> set[str]:
    """The names of a pool's members."""
    return {machine.name for machine in fleet.members(pool)}


def alone_in(fleet: Fleet, name: str) -> tuple[Pool, ...]:
    """The balanced pools that have no machine to spare for this one, even with all of them well."""
    return tuple(p for p in fleet.pools_of(name) if p.balancers and spare(fleet, p) < 1)

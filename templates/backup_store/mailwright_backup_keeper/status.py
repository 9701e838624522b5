"""What the keeper knows, for people, for the verification and for the monitoring."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mailwright_backup_keeper import room
from mailwright_backup_keeper.looking import look
from mailwright_backup_keeper.memory import Memory, Round, Seen, last_seen, recall, replace
from mailwright_backup_keeper.restic import Restic
from mailwright_backup_keeper.wanted import CLASSES, Failed, Machine, Wanted

_DAY = 86400
_LATE = 3 * _DAY
"""Seconds after which a prune or a check, which is daily, is overdue."""
_CROWDED = 0.9
"""Part of a quota that is worth a word."""

_MEANINGS = {
    "backup_snapshot_time_seconds": "When the store got the newest snapshot, in seconds since the epoch.",
    "backup_snapshots": "How many snapshots there are.",
    "backup_repository_bytes": "What a repository takes up.",
    "backup_quota_bytes": "What it may.",
    "backup_prune_success_time_seconds": "When a prune last went well.",
    "backup_prune_failed": "Whether the last prune failed.",
    "backup_check_success_time_seconds": "When a check last found all well.",
    "backup_check_failed": "Whether the last check failed.",
    "backup_store_free_bytes": "What is free on the store's disk beyond the reserve.",
    "backup_store_reserve_bytes": "What the reserve holds.",
}


def status(wanted: Wanted, name: str | None = None) -> dict[str, Any]:
    """`{"machines": {NAME: {...}}, "store": {...} | None, "faults": {KIND: [sentence, ...]}}`.

    Of a machine: `newest` (class to `{"id", "time", "seen", "age"}`), `snapshots` (how many), `octets`,
    `quota`, `prune` and `check` (`{"ended", "good", "error"}`), `damaged`, `error`. Times are RFC 3339, in
    UTC, ages are seconds. Kinds of faults: `fresh`, `read`, `room`.
    Repositories elsewhere are as they were when `look` last asked.
    """
    machines: dict[str, Any] = {}
    faults: dict[str, list[str]] = {"fresh": [], "read": [], "room": []}
    now = time.time()
    for machine in wanted.named(name):
        memory, (seen, error) = recall(wanted, machine.name), _seen(wanted, machine)
        machines[machine.name] = _machine(machine, memory, seen, now) | {"error": error}
        for kind, sentence in _faults(wanted, machine, memory, seen, now):
            faults[kind].append(f"{machine.name}: {sentence}")
        if error:
            faults["read"].append(error)
    return {"machines": machines, "store": _store(wanted, faults["room"]), "faults": faults}


def _seen(wanted: Wanted, machine: Machine) -> tuple[Seen, str]:
    if machine.folder is not None and recall(wanted, machine.name).keys:
        try:
            return look(Restic(wanted, machine)), ""
        except (Failed, OSError) as error:
            return last_seen(wanted, machine.name), str(error)
    return last_seen(wanted, machine.name), ""


def _newest(seen: Seen, kind: str) -> str | None:
    """The id of the newest snapshot of a class."""
    own = {name: one.seen for name, one in seen.snapshots.items() if one.kind == kind}
    return max(own, key=lambda name: own[name]) if own else None


def _machine(machine: Machine, memory: Memory, seen: Seen, now: float) -> dict[str, Any]:
    newest = {}
    for kind in CLASSES:
        if name := _newest(seen, kind):
            one = seen.snapshots[name]
            age = round(now - one.seen)
            newest[kind] = {"id": name, "time": one.time, "seen": _time(one.seen), "age": age}
    return {
        "newest": newest,
        "snapshots": len(seen.snapshots),
        "octets": seen.octets,
        "quota": machine.quota,
        "prune": _round(memory.prune),
        "check": _round(memory.check),
        "damaged": memory.damaged,
    }


def _round(last: Round) -> dict[str, Any]:
    return {**asdict(last), "ended": _time(last.ended), "good": _time(last.good)}


def _time(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


def _faults(
    wanted: Wanted, machine: Machine, memory: Memory, seen: Seen, now: float
) -> Iterator[tuple[str, str]]:
    if not memory.keys:
        yield "fresh", "has no repository yet"
        return
    for kind in CLASSES:
        name = _newest(seen, kind)
        last = seen.snapshots[name].seen if name else memory.since
        if (name or kind == CLASSES[0]) and now - last > wanted.fresh:
            yield "fresh", f"the newest {kind} backup is of {_time(last)}" if name else "was never backed up"
    for what, last_round in (("prune", memory.prune), ("check", memory.check)):
        good = max(last_round.good, memory.since)
        if last_round.error:
            yield "read", f"{what}: {last_round.error.removeprefix(f'{machine.name}: ')}"
        elif now - good > _LATE:
            yield "read", f"no {what} since {_time(good)}"
    if machine.quota and seen.octets and seen.octets > _CROWDED * machine.quota:
        yield "room", f"{_size(seen.octets)} of {_size(machine.quota)} are taken"


def _store(wanted: Wanted, faults: list[str]) -> dict[str, Any] | None:
    reserve = wanted.reserve
    if reserve is None:
        return None
    free, size = room.free(reserve.file.parent)
    held = room.held(reserve)
    if held < reserve.size:
        faults.append(f"the disk is full: of a reserve of {_size(reserve.size)}, {_size(held)} are there")
    elif free < reserve.size:
        faults.append(f"the disk is nearly full: {_size(free)} are free beyond the reserve")
    return {"free": free, "size": size, "reserve": held, "wanted": reserve.size}


def _size(octets: int) -> str:
    return f"{octets / 2**30:.1f} GiB" if octets >= 2**30 else f"{octets / 2**20:.1f} MiB"


def measure(wanted: Wanted) -> None:
    """Write the metrics for the textfile collector of prometheus-node-exporter(1)."""
    lines: dict[str, list[str]] = {name: [] for name in _MEANINGS}
    for machine in wanted.machines:
        for name, labels, value in _measured(wanted, machine):
            lines[name].append(f"{{{labels}}} {value}")
    if wanted.reserve:
        lines["backup_store_free_bytes"].append(f" {room.free(wanted.reserve.file.parent)[0]}")
        lines["backup_store_reserve_bytes"].append(f" {room.held(wanted.reserve)}")
    text = "".join(
        f"# HELP mailwright_{name} {_MEANINGS[name]}\n# TYPE mailwright_{name} gauge\n"
        + "".join(f"mailwright_{name}{line}\n" for line in found)
        for name, found in lines.items()
        if found
    )
    replace(wanted.metrics, text, 0o644)


def _measured(wanted: Wanted, machine: Machine) -> Iterator[tuple[str, str, int]]:
    """Name, labels and value of each metric of a machine."""
    memory, seen = recall(wanted, machine.name), last_seen(wanted, machine.name)
    label = f'machine="{machine.name}"'
    for kind in CLASSES:
        labels = f'{label},class="{kind}"'
        yield "backup_snapshots", labels, sum(one.kind == kind for one in seen.snapshots.values())
        if name := _newest(seen, kind):
            yield "backup_snapshot_time_seconds", labels, round(seen.snapshots[name].seen)
    for name, value in (("backup_repository_bytes", seen.octets), ("backup_quota_bytes", machine.quota)):
        if value is not None:
            yield name, label, value
    for what, last in (("prune", memory.prune), ("check", memory.check)):
        yield f"backup_{what}_success_time_seconds", label, round(last.good)
        yield f"backup_{what}_failed", label, int(bool(last.error))

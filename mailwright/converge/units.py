"""systemd units: what each of them needs, decided by time, and the script that gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailwright.converge.shell import words
from mailwright.model.needs import Needs, Unit
from mailwright.observe.places import taken, tombstone
from mailwright.observe.script import described
from mailwright.observe.state import Observation, UnitState

_TICK = 0.01
"""Seconds by which the kernel may date a file early (a tick, at 100 Hz)."""

_LINKING = ("unmask", "enable", "disable")
"""What changes the links to a unit's file and not the unit, in the order in which it is done."""

# `systemctl is-enabled` words that need no enabling: systemctl(1), is-enabled.
_NEED_NO_ENABLING = ("enabled", "enabled-runtime", "static", "indirect", "alias", "generated", "transient")


@dataclass(frozen=True)
class Step:
    """What is to be done to one unit, in order, with the reason of a restart."""

    unit: Unit
    verbs: tuple[str, ...]
    """Of `mask`, `unmask`, `enable`, `disable`, `stop`, `start`, `restart`, `reload`."""
    because: str = ""

    def __str__(self) -> str:
        """One line for the operator."""
        return f"{self.unit.name}: {', '.join(self.verbs)}{f' ({self.because})' if self.because else ''}"


@dataclass(frozen=True)
class Plan:
    """The steps for some units, after systemd has read changed unit files if `reread`."""

    steps: tuple[Step, ...]
    reread: bool

    def __bool__(self) -> bool:
        return bool(self.steps or self.reread)

    @property
    def lines(self) -> tuple[str, ...]:
        """What will change, one line each."""
        return (*(("systemd: unit files read again",) if self.reread else ()), *map(str, self.steps))


def decide(
    units: Iterable[Unit], merged: Needs, seen: Observation, pending: frozenset[str] = frozenset()
) -> Plan:
    """Decide what the units need.

    `merged` are the needs of the whole machine: a unit may read files of several roles. `pending` are
    paths that will have changed by the time the units are looked after (a dry run knows no more).
    """
    units = tuple(units)
    states = [seen.units.get(u.name) for u in units]
    steps = [_step(u, s, _Clockwork(u, merged, seen, pending)) for u, s in zip(units, states, strict=True)]
    return Plan(
        steps=tuple(step for step in steps if step.verbs),
        reread=any(
            not u.masked and (s is None or s.stale or not s.exists)
            for u, s in zip(units, states, strict=True)
        )
        or any(name in seen.units and seen.units[name].stale for name in described(merged)),
    )


def _step(unit: Unit, state: UnitState | None, clockwork: _Clockwork) -> Step:
    if unit.masked:
        done = state is not None and state.file_state == "masked" and not state.running
        return Step(unit, () if done else ("mask",))
    verbs = list(_standing(unit, state))
    if not unit.running:
        return Step(unit, (*verbs, "stop") if state is not None and state.running else tuple(verbs))
    verb, because = _run(unit, state, clockwork)
    return Step(unit, (*verbs, verb) if verb else tuple(verbs), because)


def _standing(unit: Unit, state: UnitState | None) -> Iterable[str]:
    """What holds over a reboot."""
    file_state = state.file_state if state is not None else ""
    if file_state.startswith("masked"):
        yield "unmask"
    if unit.enabled and file_state not in _NEED_NO_ENABLING:
        yield "enable"
    if not unit.enabled and file_state == "enabled":
        yield "disable"


def _run(unit: Unit, state: UnitState | None, clockwork: _Clockwork) -> tuple[str, str]:
    """The verb for a unit that must run, and why; an empty verb when it does run, with what it reads."""
    if state is not None and state.skipped and not state.running:
        return "", ""
    if state is None or state.began is None:
        return "start", ""
    own = clockwork.newer_unit_file(state.began)
    read = clockwork.newer_read(max(state.began, state.taken or 0.0))
    if state.type == "oneshot" and not state.remains:
        return ("start", own or read) if own or read or state.result != "success" else ("", "")
    if not state.running:
        # One that systemd tries again and again keeps count of it until it is stopped.
        return "restart" if state.active == "activating" else "start", f"it is {state.active}"
    if own or (read and not unit.reload):
        return "restart", own or read
    return ("reload", read) if read else ("", "")


@dataclass(frozen=True)
class _Clockwork:
    """When the files that a unit reads last changed."""

    unit: Unit
    merged: Needs
    seen: Observation
    pending: frozenset[str]

    def newer_read(self, moment: float) -> str:
        """A file the unit reads that is newer than `moment`, or an empty string."""
        return self._newer(self.unit.reads, moment)

    def newer_unit_file(self, moment: float) -> str:
        """Its unit file or a drop-in of it that is newer than `moment`, or an empty string."""
        return self._newer(unit_files(self.unit.name), moment)

    def _newer(self, roots: tuple[str, ...], moment: float) -> str:
        said = [f.path for f in self.merged.files] + [a.path for a in self.merged.absent]
        # A path that no role writes counts too, when it is named as such.
        paths = [p for p in said if covers(roots, p)] + [r for r in roots if r not in said]
        for path in paths:
            if path in self.pending:
                return f"{path} will change"
            for witness in (path, tombstone(path)):
                state = self.seen.paths.get(witness)
                if state is not None and state.kind != "directory" and state.ctime > moment - _TICK:
                    return f"{path} is newer"
        return ""


def covers(roots: Iterable[str], path: str) -> bool:
    """Whether `path` is one of `roots` or lies below one."""
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def unit_files(name: str) -> tuple[str, ...]:
    """Where a unit's own file and drop-ins may lie (systemd.unit(5)), its template's included."""
    names = [name]
    if "@" in name:
        template, _, rest = name.partition("@")
        names.append(f"{template}@.{rest.rpartition('.')[2]}")
    return tuple(path for n in names for path in (f"/etc/systemd/system/{n}", f"/etc/systemd/system/{n}.d"))


def apply(plan: Plan) -> str:
    """Return the shell text that does the plan's steps: what lasts over a reboot, then what runs, in order.

    systemd reads all unit files again for each command that links them, unless it is told not to, and that
    is most of the time of a first deploy. So they are linked first, and read once.
    """
    by_verb = {verb: [s.unit.name for s in plan.steps if verb in s.verbs] for verb in ("mask", *_LINKING)}
    lines = [_FUNCTIONS]
    # Not `mask --now`: a timer that is masked before it is stopped ends up as failed.
    lines += [f"systemctl stop -- {words(name)} 2>/dev/null || :" for name in by_verb["mask"]]
    linked = [(verb, names) for verb, names in by_verb.items() if names]
    lines += [f"systemctl {verb} -q --no-reload -- {words(*names)} 2>&1" for verb, names in linked]
    if plan.reread or linked:
        lines.append("systemctl daemon-reload")
    lines += [f"systemctl reset-failed -- {words(name)} 2>/dev/null || :" for name in by_verb["mask"]]
    for step in plan.steps:
        lines += [_line(step.unit, verb) for verb in step.verbs if verb not in by_verb]
    started = [s.unit.name for s in plan.steps if {"start", "restart"} & set(s.verbs)]
    if started:
        lines.append(f"stay {words(*started)}")
    return "\n".join(lines)


def _line(unit: Unit, verb: str) -> str:
    if verb in ("start", "restart"):
        return f"run {verb} {words(unit.name)}"
    if verb == "reload":
        # The mark carries the time before the reload and counts only once that has succeeded.
        mark = taken(unit.name)
        return (
            f"mkdir -p {words(mark.rpartition('/')[0])}; touch {words(mark + '.new')}\n"
            f"run reload {words(unit.name)}\n"
            f"mv -f -- {words(mark + '.new', mark)}"
        )
    return f"systemctl {verb} -q -- {words(unit.name)} 2>&1"


# `systemctl start` returns when a unit says that it is ready, if it is of a type that says so. One that
# is not (Type=simple, the default) may end a moment after its start: `stay` gives those half a second.
_FUNCTIONS = """\
began=$(date +%s)
property() { systemctl show --value -p "$2" -- "$1"; }
broken() {
  echo "$1 is $(property "$1" ActiveState) ($(property "$1" SubState)); its last words:" >&2
  journalctl -q --no-pager -n 20 -o cat --since="@$began" -u "$1" >&2 || :
  exit 1
}
settled() {
  left=600
  while state=$(property "$1" ActiveState); [ "$state" = activating ] || [ "$state" = reloading ]; do
    left=$((left - 1))
    if [ $left = 0 ] || [ "$(property "$1" SubState)" = auto-restart ]; then return 1; fi
    sleep 0.1
  done
  [ "$state" = active ] && return
  [ "$(property "$1" ConditionResult)" = no ] && return  # systemd does not want it to run here
  [ "$(property "$1" Type)$state$(property "$1" Result)" = oneshotinactivesuccess ]
}
run() {
  [ "$1" = reload ] || systemctl reset-failed -- "$2" 2>/dev/null || :
  systemctl "$1" -- "$2" 2>&1 || broken "$2"
  settled "$2" || broken "$2"
}
stay() {
  for unit; do
    case $(property "$unit" Type) in simple|exec|idle) sleep 0.5; break ;; esac
  done
  for unit; do
    settled "$unit" || broken "$unit"
    case $(property "$unit" NRestarts) in ''|0) ;; *) broken "$unit" ;; esac
  done
}"""

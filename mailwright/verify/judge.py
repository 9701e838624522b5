"""Judgements: one need against what the machine says of itself. Pure functions of the observation.

They do not share code with the operations on purpose: whoever checks must not repeat the mistakes of
whoever built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from mailwright.model.needs import Absent, Directory, File, Package, Sysctl, Unit, User
from mailwright.observe import GroupState, Observation, PathState, UnitState
from mailwright.verify.expectation import Fault


def release(debian: int, seen: Observation) -> Fault | None:
    """The machine runs the Debian release that the fleet file declares."""
    found = f"{seen.distribution} {seen.release}".strip()
    return None if found == f"debian {debian}" else Fault(f"Debian {debian}", found or "no /etc/os-release")


def whole(seen: Observation) -> Fault | None:
    """No package is half-way: an installation that was cut short leaves some."""
    if seen.interrupted:
        return Fault("a whole package database", "dpkg was interrupted")
    if seen.our_policy:
        return Fault("no policy-rc.d of ours", "an installation was cut short: daemons do not start")
    return Fault("all packages configured", ", ".join(seen.broken)) if seen.broken else None


def package(need: Package, seen: Observation) -> Fault | None:
    """Installed and configured."""
    state = seen.packages.get(need.name)
    if state is None:
        return Fault("installed", "not there")
    return None if state.installed else Fault("installed", f"dpkg says `{state.status}`")


def user(need: User, seen: Observation) -> Fault | None:
    """The account, its primary group, and the groups that must hold it."""
    state = seen.users.get(need.name)
    if state is None:
        return Fault("an account", "none")
    primary = seen.groups.get(need.primary_group)
    wanted = {
        "uid": (need.uid if need.found == "refuse" else None, state.uid),
        "gid": (_gid(need, primary), state.gid),
        # A service's home and shell are its package's business.
        "home": (None if need.system else need.home, state.home),
        "shell": (None if need.system else need.shell, state.shell),
    }
    faults = [(f"{k} {w}", f"{k} {f}") for k, (w, f) in wanted.items() if w is not None and w != f]
    if primary is None:
        faults.append((f"group {need.primary_group}", "no such group"))
    faults += [(f"group {g.name}", "no such group") for g in need.brings if g.name not in seen.groups]
    faults += [
        (f"member of {group}", "not a member")
        for group in need.groups
        if group not in seen.groups or need.name not in seen.groups[group].members
    ]
    if need.managed_keys:
        faults += _keys_faults(need, seen.paths.get(need.authorized_keys))
    return _joined(faults)


def other_numbers(need: User, seen: Observation) -> str | None:
    """Numbers that Debian drew, on a machine that had the package before its role."""
    state = seen.users.get(need.name)
    if need.found == "refuse" or state is None or (state.uid, state.gid) == (need.uid, need.gid):
        return None
    return f"has the numbers {state.uid}:{state.gid}, which stay; on a new machine {need.uid}:{need.gid}"


def _gid(need: User, primary: GroupState | None) -> int | None:
    if need.gid is not None and need.found == "refuse":
        return need.gid
    return primary.gid if primary else None


def _keys_faults(need: User, state: PathState | None) -> Iterator[tuple[str, str]]:
    content = "".join(f"{key}\n" for key in need.keys)
    if state is None:
        yield "authorized_keys", "no authorized_keys"
    elif state.sha256 != hashlib.sha256(content.encode()).hexdigest():
        yield f"authorized_keys with {len(need.keys)} keys", "other keys"


def directory(need: Directory, seen: Observation) -> Fault | None:
    """There, a directory, with its owner and mode."""
    return _path("directory", need.owner, need.group, need.mode, seen.paths.get(need.path))


def file(need: File, seen: Observation) -> Fault | None:
    """There, a regular file, with its owner and mode, and to the byte the content that was rendered."""
    state = seen.paths.get(need.path)
    fault = _path("file", need.owner, need.group, need.mode, state)
    if state is None or state.kind != "file":
        return fault
    digest = hashlib.sha256(need.content).hexdigest()
    if state.sha256 == digest:
        return fault
    other = Fault(f"SHA-256 {digest[:16]}...", f"{(state.sha256 or 'unreadable')[:16]}...: edited by hand?")
    return _both(fault, other)


def absent(need: Absent, seen: Observation) -> Fault | None:
    """Not there."""
    state = seen.paths.get(need.path)
    return Fault("nothing", f"a {state.kind}") if state else None


def sysctl(need: Sysctl, seen: Observation) -> Fault | None:
    """The live value. What a container may not set belongs to the machine around it and is no fault here."""
    state = seen.sysctls.get(need.key)
    wanted = " ".join(need.value.split())
    if state is None or state.value is None:
        return None if seen.container else Fault(wanted, "this kernel has no such setting")
    return None if state.value == wanted or not state.writable else Fault(wanted, state.value)


def unit(need: Unit, seen: Observation) -> Fault | None:
    """Enabled and running as declared, and running on the configuration that lies on the disk."""
    state = seen.units.get(need.name)
    if need.masked:
        masked = state is None or not state.exists or state.load == "masked"
        return None if masked else Fault("masked", _words(state))
    if state is None or not state.exists:
        return Fault("a unit", "systemd knows none")
    faults = [(wanted, found) for wanted, found in _unit_faults(need, state)]
    late = _newer(need, state, seen) if need.running and not state.skipped and not faults else None
    if late:
        faults.append(("its present configuration taken", f"{late} changed after it was read"))
    return _joined(faults)


def _unit_faults(need: Unit, state: UnitState) -> Iterator[tuple[str, str]]:
    if need.enabled and state.file_state in ("disabled", "masked", "masked-runtime", "bad"):
        yield "enabled", state.file_state
    if not need.enabled and state.file_state == "enabled":
        yield "not enabled", state.file_state
    # A oneshot that does not stay active has done its work when its last run went well.
    done = state.type == "oneshot" and not state.remains and state.began is not None
    if need.running and not (state.running or done or state.skipped):
        yield "running", f"{state.active} ({state.sub}, result {state.result or 'unknown'})"
    if need.running and state.result not in ("success", ""):
        yield "last run successful", f"result {state.result}"
    if not need.running and state.running:
        yield "stopped", state.active
    if state.stale:
        yield "its unit file as systemd read it", "changed on disk since (daemon-reload is due)"


def _newer(need: Unit, state: UnitState, seen: Observation) -> str | None:
    since = max(state.began or 0.0, state.taken or 0.0)
    if not since:
        return None
    for path, found in seen.paths.items():
        read = any(path == r or path.startswith(r.rstrip("/") + "/") for r in need.reads)
        if read and found.kind in ("file", "link") and found.ctime > since:
            return path
    return None


def _words(state: UnitState | None) -> str:
    return f"{state.load}, {state.file_state or 'no unit file'}, {state.active}" if state else "none"


def _path(kind: str, owner: str, group: str, mode: int, state: PathState | None) -> Fault | None:
    if state is None:
        return Fault(f"a {kind}", "nothing there")
    if state.kind != kind:
        return Fault(f"a {kind}", f"a {state.kind}")
    wanted = {
        "owner": (owner, state.owner),
        "group": (group, state.group),
        "mode": (f"{mode:04o}", f"{state.mode:04o}"),
    }
    return _joined([(f"{k} {w}", f"{k} {f}") for k, (w, f) in wanted.items() if w != f])


def _joined(faults: list[tuple[str, str]]) -> Fault | None:
    if not faults:
        return None
    return Fault(", ".join(wanted for wanted, _ in faults), ", ".join(found for _, found in faults))


def _both(a: Fault | None, b: Fault) -> Fault:
    return b if a is None else Fault(f"{a.expected}, {b.expected}", f"{a.found}, {b.found}")

"""What is done once for a whole machine, before its roles and after them."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api.operation import operation

from mailwright.converge import packages as _packages
from mailwright.converge import sysctls as _sysctls
from mailwright.converge import units as _units
from mailwright.converge import users as _users
from mailwright.converge.session import Session, current
from mailwright.converge.shell import words
from mailwright.converge.task import Commands, Task, converge
from mailwright.observe import Observation, ObservationError
from mailwright.observe.places import POLICY, STAGE, sibling


def accept() -> bool:
    """Whether the host is what the fleet says it is; if not, nothing else is done there.

    While pyinfra prepares, a refused host leaves the run at once. With `-y` nothing is asked before
    execution; then the operation fails there and pyinfra goes no further with that host.
    """
    own = current()
    release(name="machine: Debian release")
    if not own.refused:
        return True
    # As pyinfra's fail_hosts does, without its question to the operator or ending the run for others.
    own.host.state.failed_hosts.add(own.host)
    own.host.state.active_hosts.discard(own.host)
    return False


@operation()
def release() -> Commands:
    """Refuse a host that does not answer, or that is not the declared Debian."""

    def decide(own: Session, seen: Observation) -> Task | None:
        reason = mismatch(own.plan.machine.debian, seen)
        own.refused = reason is not None
        return Task(obstacles=(reason,)) if reason is not None else None

    own = current()
    try:
        own.look()
    except ObservationError:
        own.refused = True
    yield from converge("machine: Debian release", decide)


def mismatch(debian: int, seen: Observation) -> str | None:
    """Say why this host is not taken: another system than declared, or nobody who may change it."""
    if (seen.distribution, seen.release) != ("debian", str(debian)):
        found = f"{seen.distribution or 'an unknown system'} {seen.release}".strip()
        return f"the fleet says Debian {debian}, the machine is {found}: nothing is done here"
    if seen.uid != 0:
        return "the login is not root and did not become root by sudo: nothing is done here"
    return None


@operation()
def recover() -> Commands:
    """Clear away what a run left that was killed in the middle of a command."""

    def decide(own: Session, seen: Observation) -> Task | None:
        needs = own.plan.merged
        files = [f.path for f in needs.files]
        files += [u.authorized_keys for u in needs.users if u.managed_keys]
        left = [s for s in map(sibling, files) if s in seen.paths]
        left += [STAGE] if STAGE in seen.paths else []
        left += [POLICY] if seen.our_policy else []
        if not left:
            return None
        return Task(
            f"rm -rf -- {words(*left)}", tuple(f"{path}: left by an interrupted run" for path in left)
        )

    yield from converge("machine: clean up after an interrupted run", decide)


@operation()
def users(*, packages_are_there: bool) -> Commands:
    """Make the accounts; once more after the packages, for the groups that those brought."""

    def decide(own: Session, seen: Observation) -> Task | None:
        certain = packages_are_there and own.executing
        plan = _users.decide(own.plan.merged.users, seen, packages_are_there=certain)
        if not plan or (packages_are_there and not own.executing):
            return None
        return Task(
            _users.apply(plan), (*plan.lines, *plan.keys.lines), (*plan.obstacles, *plan.keys.obstacles)
        )

    yield from converge("machine: groups" if packages_are_there else "machine: users", decide)


@operation()
def packages() -> Commands:
    """Install what is missing, in one apt run."""

    def decide(own: Session, seen: Observation) -> Task | None:
        plan = _packages.decide(own.plan.merged.packages, seen)
        return Task(_packages.apply(plan), plan.lines) if plan else None

    yield from converge("machine: packages", decide)


@operation()
def sysctls() -> Commands:
    """Write the kernel settings and make them."""

    def decide(own: Session, seen: Observation) -> Task | None:
        plan = _sysctls.decide(own.plan.merged.sysctls, seen)
        for line in plan.foreign:
            if own.first_time(line):
                logger.warning(f"{own.host.print_prefix}{line}")
        if not plan:
            return None
        obstacles = (*plan.obstacles, *plan.file.obstacles)
        return Task(_sysctls.apply(plan), (*plan.lines, *plan.file.lines), obstacles, plan.file)

    yield from converge("machine: kernel settings", decide)


@operation()
def late_units() -> Commands:
    """Restart the units that read what a role after their own wrote."""

    def decide(own: Session, seen: Observation) -> Task | None:
        merged = own.plan.merged
        plan = _units.decide(merged.units, merged, seen) if own.executing else _foresee(own, seen)
        return Task(_units.apply(plan), plan.lines) if plan else None

    yield from converge("machine: units that read what came later", decide)


def _foresee(own: Session, seen: Observation) -> _units.Plan:
    """What will be owed at the end, apart from what the roles' own operations will have done."""
    merged = own.plan.merged
    steps: list[_units.Step] = []
    for unit in merged.units:
        later = frozenset(own.pending) - own.foreseen.get(unit.name, frozenset())
        roots = (*unit.reads, *_units.unit_files(unit.name))
        touched = frozenset(path for path in later if _units.covers(roots, path))
        if touched or unit.name not in own.foreseen:
            steps += _units.decide([unit], merged, seen, touched).steps
    return _units.Plan(tuple(steps), reread=False)

"""What roles call in `apply`: files, units, and as the last resort a shell command.

Each is one remote command if something differs and none if nothing does. What differs is decided by
pure functions from one observation of the host (session).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.operation import operation

from mailwright.converge import files as _files
from mailwright.converge import units as _units
from mailwright.converge.guarded import guarded
from mailwright.converge.session import Session, current
from mailwright.converge.shell import here, words
from mailwright.converge.task import Commands, Task, converge
from mailwright.model.role import Context
from mailwright.observe import Observation

__all__ = ["files", "guarded", "shell", "units"]


def files(ctx: Context[Any], validate: str | None = None) -> None:
    """Bring the role's directories, files and absences about.

    `validate` is a shell command that judges the new configuration before anything of it is in place;
    if it fails, nothing is changed. `{root}` in it is a folder that holds the would-be files, with all
    of `/etc` around them. Where the kernel allows mount namespaces the command also sees that `/etc` as
    its own, so that absolute paths in a configuration lead to the new files. Its output is shown to the
    operator without the secrets; it runs only if something differs.
    """
    if not current().rehearsing:
        _apply_files(role=ctx.role, validate=validate, name=f"{ctx.role}: files")


def units(ctx: Context[Any]) -> None:
    """Enable and run the role's units, and restart or reload those that read something newer."""
    if not current().rehearsing:
        _apply_units(role=ctx.role, name=f"{ctx.role}: units")


def shell(
    ctx: Context[Any], what: str, command: str, unless: str | None = None, stdin: str | bytes | None = None
) -> None:
    """Run `command` unless the shell test `unless` succeeds; `what` says what it changes.

    The last resort, for what files and units cannot say. The test runs with every look at the host, so
    it must be quick and only read; once the command is done it must succeed. Both are visible to
    everybody on the host: secrets go into `stdin`. Without `unless` the command runs each time, and no
    run is without changes. It runs in a subshell with `set -eu`.
    """
    own = current()
    if not own.rehearsing:
        hidden = HiddenValue(stdin) if stdin is not None else None
        title = f"{ctx.role}: {what}"
        _apply_shell(title=title, command=command, unless=unless, stdin=hidden, name=title)
    elif unless is not None:
        own.tests.append(unless)


@operation()
def _apply_files(role: str, validate: str | None) -> Commands:
    def decide(own: Session, seen: Observation) -> Task | None:
        needs = own.plan.by_role[role]
        open_files = tuple(f for f in needs.files if f.path not in own.guarded)
        changes = _files.compare(replace(needs, files=open_files), seen)
        own.pending |= changes.paths
        if not changes:
            return None
        return Task(_files.apply(changes, validate), changes.lines, changes.obstacles, changes)

    yield from converge(f"{role}: files", decide)


@operation()
def _apply_units(role: str) -> Commands:
    def decide(own: Session, seen: Observation) -> Task | None:
        needs = own.plan.by_role[role].units
        own.foreseen |= {u.name: frozenset(own.pending) for u in needs}
        pending = frozenset() if own.executing else frozenset(own.pending)
        plan = _units.decide(needs, own.plan.merged, seen, pending)
        return Task(_units.apply(plan), plan.lines) if plan else None

    yield from converge(f"{role}: units", decide)


@operation()
def _apply_shell(title: str, command: str, unless: str | None, stdin: HiddenValue | None) -> Commands:
    def decide(_: Session, seen: Observation) -> Task | None:
        if unless is not None and seen.passed(unless):
            return None
        run = f"( {command}\n) 9>&-"
        if stdin is not None:
            content = stdin.unmask()
            run = here(
                f"{{ base64 -d | {run}; }}", content if isinstance(content, bytes) else content.encode()
            )
        lines = [run]
        if unless is not None:
            still = words(f"still not so: {unless}")
            lines.append(f"sh -c {words(unless)} >/dev/null 2>&1 || fail {still}")
        return Task("\n".join(lines))

    yield from converge(title, decide)

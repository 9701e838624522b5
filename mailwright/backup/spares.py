"""The machine on which a drill is held: bare before, afterwards what it was, with nothing of another's."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mailwright.backup.restoring import STAGES
from mailwright.backup.snapshots import BackupError
from mailwright.lab.lab import Lab
from mailwright.model.errors import LabError
from mailwright.model.fleet import Machine
from mailwright.model.needs import Needs
from mailwright.model.site import MachinePlan
from mailwright.verify.gather import Run

_ASIDE = "before-drill"
"""What the lab calls the disk that a spare has when there is no drill."""


class Spare(Protocol):
    """Where a drill is held."""

    @property
    def machine(self) -> Machine:
        """The machine, as the fleet file has it."""

    def empty(self) -> str:
        """Make it bare; what was done. Twice is once."""

    def give_back(self) -> str:
        """Leave nothing of the other machine on it, and have it be what it was; what was done."""


@dataclass(frozen=True)
class LabSpare:
    """A host of a lab: its disk is put aside, and comes back."""

    lab: Lab
    machine: Machine

    def empty(self) -> str:
        """Put the disk aside, unless a drill that was killed has left it there, and begin with a bare one."""
        host = self.lab.host(self.machine.name)
        if not host.running:
            raise BackupError(f"{host.name} does not run: `mailwright lab up`")
        if _ASIDE not in host.container.snapshots:
            host.snapshot(_ASIDE)
        host.reset()
        return "its disk is put aside, and it is reset"

    def give_back(self) -> str:
        """Have the disk of before again; a bare one if that cannot be."""
        host = self.lab.host(self.machine.name)
        if _ASIDE not in host.container.snapshots:
            return "nothing was done to it"
        said = "its disk is back"
        try:
            host.restore(_ASIDE)
        except LabError as error:
            host.reset()
            said = f"reset, because its disk could not be brought back: {error}"
        host.drop_snapshot(_ASIDE)
        return said


@dataclass(frozen=True)
class HostSpare:
    """A machine: what another's roles put there is purged and deleted, and its own deployed again."""

    own: MachinePlan
    other: MachinePlan
    """What the drill makes of it."""
    run: Run
    deploy: Callable[[], str]
    """Brings it to what the fleet file wants."""

    @property
    def machine(self) -> Machine:
        """The machine, as the fleet file has it."""
        return self.own.machine

    def empty(self) -> str:
        """Take away what a drill that was killed has left."""
        done = self.run(f"sh -c {shlex.quote(wipe(self.other.merged, self.own.merged))}")
        if done.status:
            said = done.stderr.strip().splitlines() or [f"status {done.status}"]
            raise BackupError(f"{self.machine.name} could not be wiped: {said[-1]}")
        if shared := left(self.other.merged, self.own.merged):
            where = ", ".join(shared)
            return f"wiped, but for what was brought to {where}: it has files of its own there; see to these"
        return "wiped"

    def give_back(self) -> str:
        """Take away everything of the other machine, and deploy its own roles."""
        return f"{self.empty()}; {self.deploy()}"


def wipe(other: Needs, own: Needs) -> str:
    """Shell text that takes away what `other` needs and `own` does not: units, packages, files and data.

    Data goes first, so that what is secret is gone even where a package does not want to go.
    """
    kept = _paths(own)
    units = [unit.name for unit in other.units if unit not in own.units and not unit.masked]
    secret = {file.path.rpartition("/")[0] for file in other.files if file.secret}
    trees = _data(other)
    trees += [certificate.directory for certificate in other.certificates]
    trees += [folder for folder in secret if folder.startswith("/etc/mailwright/")]
    trees = [tree for tree in dict.fromkeys((*trees, STAGES)) if not _holds(tree, kept)]
    files = [file.path for file in other.files if file.path not in kept]
    folders = [each.path for each in other.directories if each.path not in kept]
    packages = sorted({p.name for p in other.packages} - {p.name for p in own.packages})
    lines = ["set -eu", "export LC_ALL=C DEBIAN_FRONTEND=noninteractive"]
    if units:
        lines.append(f"systemctl disable --now -q -- {shlex.join(units)} 2>/dev/null || :")
    lines.append(f"rm -rf -- {shlex.join(trees)}")
    if files:
        lines.append(f"rm -f -- {shlex.join(files)}")
    if packages:
        # What is not installed, or not known at all, is no error.
        lines += [
            f"there=$(dpkg-query -W -f='${{Package}}\\n' -- {shlex.join(packages)} 2>/dev/null || :)",
            '[ -z "$there" ] || apt-get -qq purge -y -o DPkg::Lock::Timeout=300 -- $there >/dev/null',
        ]
    if folders:
        deepest_first = sorted(folders, key=lambda path: path.count("/"), reverse=True)
        lines.append(f"rmdir --ignore-fail-on-non-empty -- {shlex.join(deepest_first)} 2>/dev/null || :")
    lines.append("systemctl daemon-reload")
    return "\n".join(lines)


def left(other: Needs, own: Needs) -> tuple[str, ...]:
    """What `wipe` leaves of the other's data: trees in which the machine has something of its own.

    Nobody can tell there what the system itself needs, `/etc/passwd` or the units that are enabled.
    """
    kept = _paths(own)
    return tuple(tree for tree in dict.fromkeys(_data(other)) if _holds(tree, kept))


def _data(needs: Needs) -> list[str]:
    return [path for each in needs.backups for path in (each.path, each.at) if path]


def _paths(needs: Needs) -> set[str]:
    return {file.path for file in needs.files} | {directory.path for directory in needs.directories}


def _holds(tree: str, paths: set[str]) -> bool:
    return any(path == tree or path.startswith(f"{tree}/") for path in paths)

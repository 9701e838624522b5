"""A machine under sabotage: what is expected of it, and one look at which of that is red."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from mailwright.lab.host import LabHost
from mailwright.model.errors import LabError, UnknownError
from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.model.site import MachinePlan, Site
from mailwright.observe.places import taken
from mailwright.verify.derive import expectations
from mailwright.verify.gather import evidence
from mailwright.verify.together import joint
from tests.mutation.sabotage import Look
from tests.mutation.shells import KEPT

_NAMES = {
    "packages": "package-{0.name}",
    "users": "user-{0.name}",
    "directories": "directory-{0.path}",
    "files": "file-{0.path}",
    "absent": "absent-{0.path}",
    "sysctls": "sysctl-{0.key}",
    "units": "unit-{0.name}",
    "backups": "backup-{0.path}",
    "scrapes": "scrape-{0.name}",
}
UNITS = PurePosixPath("/etc/systemd/system")
STALE = f"{KEPT}/stale"
FRESHEN = (
    f"cd {STALE} 2>/dev/null || exit 0; for unit in *; do rm $unit; systemctl restart $unit; done;"
    f" rmdir {STALE}"
)
"""Shell that restarts, once, what several files were put back for."""
_PATIENCE = 300
"""Seconds that a look may take on a machine with other things to do."""


def console(host):
    """How a host is asked here: by its console, whatever is done to its sshd and firewall."""

    def run(command):
        try:
            done = host.run(command, timeout=_PATIENCE)
        except LabError as error:
            raise UnknownError(str(error)) from None
        return Result(done.status, done.stdout, done.stderr)

    return run


@dataclass(frozen=True)
class Subject:
    """One machine of a lab, as its fleet wants it."""

    site: Site
    plan: MachinePlan
    host: LabHost
    others: dict[str, LabHost]
    """The lab's hosts by name, to ask what concerns several machines."""

    @classmethod
    def of(cls, lab, site, name):
        machine = site.fleet.machine(name)
        hosts = {m.name: lab.host(m.name) for m in site.fleet.machines}
        return cls(site, site.plan(machine), hosts[name], hosts)

    @property
    def name(self):
        return self.plan.machine.name

    @property
    def release(self):
        """Of Debian."""
        return self.plan.machine.debian

    @cached_property
    def own(self):
        """What is expected of the machine alone; with a mail to send where the fleet file says whereto."""
        return expectations(self.plan, active=self.site.fleet.verify.probe is not None)

    @cached_property
    def mailing(self):
        """Names of what sends mail to be judged: asked for only while it is sabotaged."""
        return {each.name for each in self.own} - {each.name for each in expectations(self.plan)}

    @cached_property
    def joints(self):
        """What is expected of several machines, of which this is the last: each belongs to one subject."""
        names = [m.name for m in self.site.fleet.machines]
        return [j for j in joint(self.site, names) if j.machines[-1] == self.name]

    @property
    def expected(self):
        return (*self.own, *self.joints)

    @cached_property
    def needs(self):
        """The needs behind derived expectations, by the expectation's name."""
        return {
            name.format(need): need
            for kind, name in _NAMES.items()
            for need in getattr(self.plan.merged, kind)
        }

    # --- asking

    def look(self, targets=frozenset()):
        """Verify all of it by one round trip; what sends mail only if it is among the targets."""
        mute = self.mailing - targets
        try:
            return self._looked([each for each in self.own if each.name not in mute])
        except UnknownError as error:
            return Look({}, {"the machine": str(error)})

    def _looked(self, own):
        asked = defaultdict(list)
        for each in self.joints:
            for machine in each.machines:
                asked[machine].append(each)
        mine = evidence(console(self.host), self.plan.merged, [*own, *asked.pop(self.name, [])])
        seen = {m: evidence(console(self.others[m]), Needs(), wanted) for m, wanted in asked.items()}
        seen[self.name] = mine
        red, dark = {}, {}
        for each in (*own, *self.joints):
            try:
                if fault := each.judged(seen.__getitem__):
                    red[each.name] = f"{fault.expected} / {fault.found}"
            except UnknownError as error:
                dark[each.name] = str(error)
        return Look(red, dark)

    # --- what hangs together

    def readers(self, path):
        """Running units that are to be restarted when a file at `path` changes."""
        return [
            unit.name
            for unit in self.plan.merged.units
            if unit.running and any(path == r or path.startswith(r.rstrip("/") + "/") for r in unit.reads)
        ]

    def described(self, path):
        """Units that a file in systemd's own folder describes: itself, its instances, or what it adds to."""
        own = PurePosixPath(path)
        if not own.is_relative_to(UNITS):
            return []
        name = own.parts[len(UNITS.parts)].removesuffix(".d")
        stem, at, kind = name.partition("@.")
        names = [unit.name for unit in self.plan.merged.units]
        return [u for u in names if u == name or (at and u.startswith(f"{stem}@") and u.endswith(f".{kind}"))]

    def dependents(self, path):
        """Globs of the expectations about units that go red when `path` changes."""
        return tuple(f"unit-{name}" for name in dict.fromkeys((*self.readers(path), *self.described(path))))

    def fresh(self, path):
        """Shell that says of the units that read `path` that they have what now lies there.

        What is reloaded has a stamp for that; what is restarted only has the time of its start, and waits for
        `FRESHEN`.
        """
        reloaded = {unit.name for unit in self.plan.merged.units if unit.reload}
        stamps = [taken(name) if name in reloaded else f"{STALE}/{name}" for name in self.readers(path)]
        return f"; mkdir -p {taken('')} {STALE}; touch {' '.join(stamps)}" if stamps else ""

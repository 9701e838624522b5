"""What the fleet file says of a finding now: whose it is, and whether it is as declared. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import ip_address

from mailwright.drift.finding import Finding
from mailwright.drift.places import paths_of
from mailwright.drift.record import on_host
from mailwright.drift.survey import Survey
from mailwright.model.needs import Needs, Unit
from mailwright.model.site import MachinePlan

_BY_FILE = {
    "firewall ": "/etc/nftables.conf",
    "host name changed": "/etc/hostname",
    "postfix service ": "/etc/postfix/master.cf",
    "postfix setting ": "/etc/postfix/main.cf",
}
"""What is live, by the file that an apply lets take effect."""
_LEFT_ALONE = ("package held", "package let go", "package upgraded", "package downgraded", "user's ")
"""What an apply leaves as it is, whoever declares the package or the account."""
_BESIDE = ("access list ", "capability ", "setuid program ")
"""What no need speaks of, on paths that needs do speak of."""
_TABLE = "table inet mailwright"
"""Rules of other tables are nobody's."""


class Declared:
    """The needs of a machine, looked up by what a finding is about."""

    def __init__(self, plan: MachinePlan) -> None:
        """Take a machine's plan."""
        self.needs = on_host(plan.merged)
        self.files = {f.path: f for f in self.needs.files}
        self._units = {u.name: u for u in self.needs.units}
        self._roles: dict[str, str] = {}
        for role, own in plan.by_role.items():
            for name in _names(own):
                self._roles.setdefault(name, role)

    def role(self, finding: Finding) -> str:
        """The role that declares the thing, or nothing."""
        subject = finding.subject
        if finding.kind.startswith(_LEFT_ALONE):
            return ""
        if finding.kind.startswith("package "):
            subject = subject.partition(":")[0]
        for kind, file in _BY_FILE.items():
            if finding.kind.startswith(kind) and not (finding.text and _TABLE not in finding.text[0]):
                subject = file
        return self._roles.get(subject, "")

    def met(self, finding: Finding, now: Survey) -> bool:
        """Whether the thing is what the fleet file says by now, so that there is no drift."""
        kind, subject = finding.kind, finding.subject
        if kind.startswith(_BESIDE):
            return False
        if subject.startswith("/") and subject in self._paths:
            return self._path(subject, now)
        if kind == "sysctl changed":
            wanted = {s.key: " ".join(s.value.split()) for s in self.needs.sysctls}
            return wanted.get(subject) == finding.after
        if kind in ("package added", "user added", "group added", "group member added"):
            return subject.partition(":")[0] in self._added
        if kind.startswith("listening port "):
            return self._port(finding)
        unit = self._units.get(subject)
        return unit is not None and _unit(kind, unit, finding.after)

    @property
    def _added(self) -> frozenset[str]:
        """What a package, an account or its membership that is declared would be called when it is added."""
        names = [p.name for p in self.needs.packages]
        for user in self.needs.users:
            names += [user.name, user.primary_group, *(f"{user.name} in {group}" for group in user.groups)]
        return frozenset(names)

    @property
    def _paths(self) -> frozenset[str]:
        return frozenset(paths_of(self.needs))

    def _path(self, path: str, now: Survey) -> bool:
        lies = now.of("path").get(path, "").rstrip()
        if file := self.files.get(path):
            same = now.of("content").get(path) == hashlib.sha256(file.content).hexdigest()
            return same and lies == f"f {file.owner} {file.group} {file.mode:o}"
        for folder in self.needs.directories:
            if folder.path == path:
                return lies == f"d {folder.owner} {folder.group} {folder.mode:o}"
        return not lies

    def _port(self, finding: Finding) -> bool:
        """Opened as declared; or one that is served for seconds only, closed."""
        proto, _, where = finding.subject.partition(" ")
        address, _, number = where.rpartition(":")
        said = [p for p in self.needs.ports if (p.proto, str(p.number)) == (proto, number)]
        if finding.kind == "listening port closed":
            return any(p.brief for p in said)
        return any(p.readers != "local" or _is_loopback(address) for p in said)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def _unit(kind: str, unit: Unit, state: str) -> bool:
    if kind in ("unit started", "timer started"):
        return unit.running and not unit.masked
    if kind in ("unit stopped", "timer stopped"):
        return not unit.running
    if unit.masked:
        return state == "masked"
    return state == ("enabled" if unit.enabled else "disabled")


def _names(own: Needs) -> Mapping[str, None]:
    """By what findings call the things that a role declares."""
    names = [*paths_of(own), *(p.name for p in own.packages), *(u.name for u in own.users)]
    names += [*(u.name for u in own.units), *(s.key for s in own.sysctls)]
    names += [u.authorized_keys for u in own.users if u.managed_keys]
    return dict.fromkeys(names)

"""A fleet whose backup programs are pretended: what machines and snapshots have, and who is silent."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta

from mailwright.backup.programs import CLIENT, KEEPER
from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import BackupPath, Needs, Unit
from mailwright.model.role import Result, Role, Settings
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site

OWNER = {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEYS, MAIL = "/etc/opendkim/keys", "/srv/mail"


def machine(name, number, *roles):
    return {
        "name": name,
        "fqdn": f"{name}.brightpost.example",
        "ipv4": f"203.0.113.{number}",
        "roles": {role: {} for role in roles},
    }


def fleet(**backup):
    machines = [machine("out1", 11, "signer", "backup"), machine("out2", 12, "signer", "backup")]
    machines += [machine("util1", 31, "signer"), machine("vault1", 61, "backup_store"), machine("spare1", 62)]
    section = {"store": {"type": "host", "machine": "vault1"}, "spare": "spare1"} | backup
    return Fleet.model_validate({"owner": OWNER, "machines": machines, "backup": section})


def _signer(_):
    paths = (BackupPath(KEYS, "keys"), BackupPath(MAIL, "mail", "short"))
    return Needs(backups=paths, units=(Unit("opendkim.service", reads=("/etc/opendkim",)),))


class Backups(Settings):
    stale_after: str = "12h"


ROLES = (
    Role("signer", Settings, apply=lambda _: None, needs=_signer),
    Role("backup", Backups, apply=lambda _: None),
    Role("backup_store", Settings, apply=lambda _: None),
)


def snapshot(minutes, retention, *paths):
    when = f"{NOW - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
    return {"id": f"{minutes:08d}", "time": when, "class": retention, "paths": list(paths), "bytes": 2048}


def whole():
    """A machine's snapshots when all is well."""
    return [snapshot(60, "long", KEYS), snapshot(30, "long", KEYS), snapshot(5, "short", MAIL)]


class World:
    """All machines."""

    def __init__(self):
        self.site = Site(fleet(), ROLES, GivenSecrets({}))
        self.snapshots = {"out1": whole(), "out2": whole()}
        self.older = []
        """Parts of older snapshots that had what the newest ones lack."""
        self.state = {name: self.well() for name in ("out1", "out2")}
        self.runs = {
            name: {"long": {"ok": True}, "short": {"ok": True}, "held": None} for name in ("out1", "out2")
        }
        self.faults = {"fresh": [], "read": [], "room": []}
        self.differences = []
        self.fail = {}
        """(machine, command of its program) to what it says instead."""
        self.silent = set()
        self.log = []

    @staticmethod
    def well():
        """What the keeper says of a repository that is whole."""
        return {"check": {"good": "2026-11-22T04:00:00Z", "ended": "2026-11-22T04:00:00Z", "error": ""}}

    def runner(self, machine):
        return lambda command: self._answer(machine.name, shlex.split(command))

    def _answer(self, name, words):
        if name in self.silent:
            raise UnknownError("no route to host")
        program, *rest = words
        if program == "sh":
            self.log.append(f"{name} sh {rest[-1]}")
            return Result(0, "/var/lib/mailwright/restore/abcd\n", "")
        self.log.append(f"{name} {' '.join(rest)}")
        if (said := self.fail.get((name, rest[0])) or self.fail.get((name, " ".join(rest)))) is not None:
            return Result(1, "", f"Traceback, perhaps\n{said}\n")
        answers = {CLIENT: self._client, KEEPER: self._keeper}
        return Result(0, json.dumps(answers[program](name, *rest)), "")

    def _client(self, name, command, *_):
        if command == "stage":
            newest = {s["class"]: s for s in self.snapshots[name]}
            return {"snapshots": [*newest.values(), *self.older], "paths": [KEYS, MAIL]}
        return {"status": self.runs.get(name), "compare": self.differences}.get(command)

    def _keeper(self, _, command, *names):
        if command == "snapshots":
            return self.snapshots.get(names[0], [])
        return {"machines": self.state, "store": None, "faults": self.faults} if command == "status" else None

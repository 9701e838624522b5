"""A fleet whose balancers are pretended: what they are told, what they hold, and who breaks down when."""

from __future__ import annotations

import json
import shlex

from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Fleet
from mailwright.model.role import Result
from mailwright.rolling.balancers import PROGRAM, Balancers
from mailwright.rolling.traffic import Traffic

OWNER = {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}
SENDS, BALANCES = {"postfix": {}}, {"haproxy": {}, "keepalived": {}}


def machine(name, number, roles, *labels):
    return {
        "name": name,
        "fqdn": f"{name}.brightpost.example",
        "ipv4": f"203.0.113.{number}",
        "roles": roles,
        "labels": labels,
    }


def pool(name, number, members, **more):
    return {
        "name": name,
        "service": f"{name}.brightpost.example",
        "members": members,
        "balancers": ["lb1", "lb2"],
        "ipv4": f"203.0.113.{number}",
        "router_id": number,
    } | more


def fleet(sending=3, *, keep=1, more=()):
    """Two balancers before `sending` machines, mx1 alone in a pool, util1 in none."""
    machines = [machine(f"out{i}", 10 + i, SENDS, "sending") for i in range(1, sending + 1)]
    machines += [machine("lb1", 41, BALANCES), machine("lb2", 42, BALANCES)]
    machines += [machine("mx1", 51, SENDS), machine("util1", 61, {})]
    pools = [pool("outgoing", 100, ["sending"], keep_serving=keep), pool("incoming", 101, ["mx1"]), *more]
    return Fleet.model_validate({"owner": OWNER, "machines": machines, "pools": pools})


class Killed(BaseException):
    """The controller is gone: nothing catches it, nothing is cleaned up."""


class World:
    """lb1 and lb2; the first holds the addresses. At least a second passes with each pause."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.now = 0.0
        self.log = []
        self.said = []
        self.drained = {"lb1": {}, "lb2": {}}
        self.retired = {}
        self.sessions = {}
        """(balancer, member) to how many are open; one of each ends with each second."""
        self.endless = set()
        """Members whose sessions do not end by themselves."""
        self.down = set()
        """Members that no balancer finds well."""
        self.silent = {}
        """Balancers that do not answer, with the reason."""
        self.bare = set()
        """Balancers without mailwright-balance."""
        self.vrrp = {}
        """What keepalived says of the pools on a balancer, where it is not what it should."""
        self.holder = "lb1"
        self.kill_before = None
        """The number of the word told to a balancer before which the controller dies."""
        self.emptiest = len(fleet.machines)
        """The fewest members that served the pool of several at any time."""

    def traffic(self):
        balancers = Balancers({name: self.runner(name) for name in self.drained})
        return Traffic(self.fleet, balancers, self.said.append, lambda: self.now, self.pause)

    def pause(self, seconds):
        self.now += max(1.0, seconds)
        for key in self.sessions:
            if key[1] not in self.endless:
                self.sessions[key] = max(0, self.sessions[key] - 1)

    def runner(self, name):
        def run(command):
            if name in self.silent:
                raise UnknownError(self.silent[name])
            words = shlex.split(command)
            if name in self.bare:
                return Result(127, "", f"timeout: failed to run command '{PROGRAM}'")
            words = words[words.index(PROGRAM) + 1 :]
            if words == ["state"]:
                return Result(0, json.dumps(self.state(name)), "")
            if self.kill_before is not None:
                if not self.kill_before:
                    raise Killed
                self.kill_before -= 1
            self.log.append(f"{name} {' '.join(words)}")
            getattr(self, f"do_{words[0]}")(name, *words[1:])
            serving = [m for m in self.members if self.serves(m)]
            self.emptiest = min(self.emptiest, len(serving))
            return Result(0, "", "")

        return run

    @property
    def members(self):
        return [m.name for m in self.fleet.members(self.fleet.pools[0])]

    def serves(self, member):
        return self.holder is not None and member not in self.drained[self.holder] and member not in self.down

    def state(self, name):
        return {
            "holds": [str(p.ipv4) for p in self.fleet.pools] if name == self.holder else [],
            "vrrp": dict.fromkeys((p.name for p in self.fleet.pools), self.keepalived(name)),
            "retired": self.retired.get(name),
            "servers": [
                {
                    "pool": each.name,
                    "port": port,
                    "member": member.name,
                    "status": self.status(name, member.name),
                    "sessions": self.sessions.get((name, member.name), 0) if port == each.ports[0] else 0,
                    "queue": 0,
                    "drained": member.name in self.drained[name],
                    "why": self.drained[name].get(member.name, ""),
                }
                for each in self.fleet.pools
                for member in self.fleet.members(each)
                for port in each.ports
            ],
        }

    def keepalived(self, name):
        default = "FAULT" if name in self.retired else "MASTER" if name == self.holder else "BACKUP"
        return self.vrrp.get(name, default)

    def status(self, name, member):
        if member in self.down:
            return "DOWN"
        return "DRAIN" if member in self.drained[name] else "UP"

    def do_drain(self, name, member, *why):
        if why or member not in self.drained[name]:
            self.drained[name][member] = " ".join(why)

    def do_undrain(self, name, member):
        self.drained[name].pop(member, None)

    def do_cut(self, name, member):
        self.sessions.pop((name, member), None)

    def do_retire(self, name, why):
        self.retired[name] = why
        if self.holder == name:
            heirs = [b for b in self.drained if b not in self.retired and b not in self.silent]
            self.holder = heirs[0] if heirs else None

    def do_return(self, name):
        self.retired.pop(name, None)
        self.holder = self.holder or name

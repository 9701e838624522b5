"""The lab's balancers as tests ask them: who holds the virtual addresses, and who serves."""

import csv
import json
import socket

from mailwright.lab.shell import wait_until
from mailwright.model.errors import LabError
from roles.haproxy import SERVERS, SOCKET

BALANCE = "mailwright-balance"


class Balanced:
    """A pool with its balancers and members, out of the fleet file."""

    def __init__(self, lab, site, name="outgoing"):
        self.pool = next(pool for pool in site.fleet.pools if pool.name == name)
        self.balancers = [lab.host(name) for name in self.pool.balancers]
        self.members = [lab.host(machine.name) for machine in site.fleet.members(self.pool)]
        self.addresses = frozenset(map(str, self.pool.addresses))

    def states(self):
        """What each balancer says of itself; one that is down or frozen is not asked."""
        found = {}
        for host in self.balancers:
            if host.running:
                said = host.run(f"{BALANCE} state", timeout=20)
                if said.ok:
                    found[host.name] = json.loads(said.stdout)
        return found

    def serving(self):
        """The members that each answering balancer sends clients to at every port; cheap, by its socket."""
        found = []
        for host in self.balancers:
            try:
                rows = statistics(host)
                servers = json.loads(host.read(SERVERS))["servers"]
            except (LabError, OSError):
                continue
            up = {(row["pxname"], row["svname"]) for row in rows if row["status"].split()[:1] == ["UP"]}
            mine = [s for s in servers if s["pool"] == self.pool.name]
            out = {s["member"] for s in mine if (s["backend"], s["member"]) not in up}
            found.append({s["member"] for s in mine} - out)
        return found

    def holders(self):
        """Names of the balancers that hold any of the pool's addresses."""
        return [name for name, state in self.states().items() if self.addresses & set(state["holds"])]

    def holder(self):
        """The balancer that holds the addresses, and the one that does not."""
        names = self.holders()
        assert len(names) == 1, names
        active = next(host for host in self.balancers if host.name == names[0])
        return active, next(host for host in self.balancers if host is not active)

    def whole(self):
        """Whether every balancer answers, one holds all addresses, and each sees every member up."""
        states = self.states()
        held = [self.addresses & set(state["holds"]) for state in states.values()]
        return (
            len(states) == len(self.balancers)
            and sorted(held, key=len)[:-1] == [set()] * (len(held) - 1)
            and self.addresses in held
            and all(self.serves(host.name, *states) for host in self.members)
        )

    def serves(self, member, *balancers):
        """Whether these balancers (none: all that answer) send new sessions to a member."""
        states = self.states()
        mine = [
            server
            for name in balancers or states
            for server in states[name]["servers"]
            if server["member"] == member and server["pool"] == self.pool.name
        ]
        return bool(mine) and all(s["status"].startswith("UP") and not s["drained"] for s in mine)

    def wait_until_whole(self, timeout=180):
        wait_until(self.whole, "the pool is whole again", timeout=timeout, interval=0.2)

    def wait_until_held_by(self, host, timeout=90):
        wait_until(lambda: self.holders() == [host.name], f"{host.name} holds the addresses", timeout, 0.1)

    def begin(self):
        """Undo whatever a session that was killed has drained, and wait until the pool is whole."""
        for balancer in self.balancers:
            balancer.run([BALANCE, "return"], timeout=60)
            for member in self.members:
                balancer.run([BALANCE, "undrain", member.name], timeout=60)
        self.wait_until_whole()

    def take_back(self):
        """Have every balancer send clients to every member, whoever drained it."""
        for balancer in self.balancers:
            for member in self.members:
                balancer.run([BALANCE, "undrain", member.name]).require()

    def give_to(self, name):
        """Have a balancer of that name hold the addresses."""
        active, other = self.holder()
        if active.name != name:
            active.run("systemctl stop keepalived").require()
            self.wait_until_held_by(other)
            active.run("systemctl start keepalived").require()
            self.wait_until_whole()


def statistics(host):
    """What a balancer's HAProxy says of its servers (management guide, "show stat")."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(str(host.container.inside(SOCKET)))
        channel.sendall(b"show stat -1 4 -1\n")
        answer = b"".join(iter(lambda: channel.recv(65536), b""))
    return list(csv.DictReader(answer.decode().removeprefix("# ").splitlines()))

"""A world in which keys are exchanged: servers that lag, hosts that are away, resolvers that remember.

It keeps the history of everything, and `broken` says what a verifier somewhere might have seen go wrong:
it assumes that resolvers ask any server at any time and remember an answer for as long as they may.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from maildns.rotation import Sight, State, Timing
from mailwright.dkim.rotation import Rotation
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import Keyring, folded

DOMAIN = "brightpost.example"
HOSTS = ("out1", "out2")
TIMING = Timing(ttl=300, negative=60, queue=1000, revoked=500, max_age=50_000)
EVER = -(10**9)


class KilledError(BaseException):
    """SIGKILL: nothing of ours runs any more."""


def fleet(*, standby=False):
    return Fleet.model_validate(
        {
            "owner": {"name": "Test", "postmaster": "postmaster@example.org"},
            "dkim": {"standby": standby},
            "domains": [
                {
                    "name": DOMAIN,
                    "dkim": [
                        {"selector": "r1", "algorithm": "rsa"},
                        {"selector": "e1", "algorithm": "ed25519"},
                    ],
                }
            ],
            "machines": [
                {
                    "name": name,
                    "fqdn": f"{name}.{DOMAIN}",
                    "ipv4": f"203.0.113.{i}",
                    "roles": {"opendkim": {}},
                }
                for i, name in enumerate(HOSTS, 11)
            ],
        }
    )


@dataclass
class World:
    """The effects of a rotation, on nothing real."""

    fleet: Fleet = field(default_factory=fleet)
    now: int = 1_800_000_000
    kept: Keyring = field(default_factory=Keyring)
    kill_at: int | None = None
    """At which beginning or end of an effect, counted from the world's beginning, a command is killed."""

    def __post_init__(self):
        first = {"r1": "live", "e1": "live"}
        self.history = {name: [(EVER, dict(first))] for name in ("primary", "secondary")}
        self.secondary_answers = True
        self.secondary_follows = True
        self.away = set()
        self.signing = [(EVER, None, host, s) for host in HOSTS for s in first]
        """(from, until, host, selector): who signed with what."""
        self.secrets = set(first)
        self.forgotten = set()
        self.counted = 0
        self.saves = []

    # --- the command line

    def command(self, ask=lambda _: None, *, without=()):
        """Run a command until its end, or until it is killed; returns the rotation if it came to its end."""
        today = folded(self.fleet, self.kept)
        rotation = Rotation(
            today, today.domains, self.kept, self, lambda: self.now, without=frozenset(without)
        )
        try:
            rotation.adopt()
            ask(rotation)
            rotation.advance()
        except KilledError:
            return None
        return rotation

    def kill_after(self, effects):
        """Be killed before or after one of the next effects; `None`: be spared."""
        self.kill_at = None if effects is None else self.counted + effects

    def apply(self):
        """`mailwright apply`: everything as what was kept says, nothing recorded."""
        self._publish(self.kept, folded(self.fleet, self.kept).domains[0])
        self._deploy(self.kept)

    def settle(self):
        """Let time pass with all well, and the timer run."""
        self.away.clear()
        self.secondary_answers = self.secondary_follows = True
        self.sync()
        for _ in range(12):
            self.now += 700
            self.command(Rotation.begin_due)

    # --- effects

    def _effect(self):
        self.counted += 1
        if self.kill_at == self.counted:
            raise KilledError

    def save(self, keyring):
        if keyring != self.kept:
            self._effect()
            self.kept = keyring
            self.saves.append(keyring)
            self._effect()

    def taken(self, _domain, selector):
        return selector in self.secrets or self._was_shown(selector)

    def _was_shown(self, selector):
        return any(selector in zone for _, zone in self.history["primary"])

    def make_private(self, _domain, key):
        self._effect()
        assert key.selector not in self.forgotten, f"{key.selector} is made a second time"
        self.secrets.add(key.selector)
        self._effect()

    def forget_private(self, _domain, key):
        self._effect()
        self.secrets.discard(key.selector)
        if self._was_shown(key.selector):  # else nobody can mistake another key for it
            self.forgotten.add(key.selector)
        self._effect()

    def publish(self, keyring, places):
        assert keyring == self.kept, "it is not written down what is to be published"
        self._effect()
        self._publish(keyring, places[0][0])
        self._effect()

    def look(self, _keyring, _domain, key):
        wanted = {State.REVOKED: "revoked", State.DELETED: None}.get(key.state, "live")
        asked = ["primary"] + (["secondary"] if self.secondary_answers else [])
        lacking = [name for name in asked if self._zone(name).get(key.selector) != wanted]
        return Sight(self.now, tuple(lacking), () if self.secondary_answers else ("secondary",))

    def timing(self, _domain):
        return TIMING

    def deploy(self, keyring):
        assert keyring == self.kept, "hosts are given what is written down, and that is something else"
        self._effect()
        self._deploy(keyring)
        self._effect()
        return {host: "away" if host in self.away else "" for host in HOSTS}

    def hosts_sign(self, keyring):
        return self.stopped(keyring)

    def stopped(self, keyring):
        wanted = {k.selector for k in folded(self.fleet, keyring).domains[0].dkim}
        return {
            host: "" if self.signs(host) == wanted and host not in self.away else "not seen" for host in HOSTS
        }

    # --- what happens besides

    def sync(self):
        """The secondary transfers the zone, if it does at all."""
        if self.secondary_follows:
            self._write("secondary", self._zone("primary"))

    def _publish(self, keyring, domain):
        zone = {}
        for key in keyring.shown(domain):
            if key.state is not State.REVOKED:
                assert key.selector in self.secrets, f"{key.selector} is to be shown and lost"
            zone[key.selector] = "revoked" if key.state is State.REVOKED else "live"
        self._write("primary", zone)
        self.sync()

    def _write(self, server, zone):
        if zone != self._zone(server):
            self.history[server].append((self.now, dict(zone)))

    def _zone(self, server):
        return self.history[server][-1][1]

    def signs(self, host):
        return {s for _, until, name, s in self.signing if name == host and until is None}

    def _deploy(self, keyring):
        wanted = {k.selector for k in folded(self.fleet, keyring).domains[0].dkim}
        for host in set(HOSTS) - self.away:
            stops, starts = self.signs(host) - wanted, wanted - self.signs(host)
            assert wanted <= self.secrets, "a host is to sign with a key that is lost"
            self.signing = [
                (a, self.now if name == host and s in stops and until is None else until, name, s)
                for a, until, name, s in self.signing
            ]
            self.signing += [(self.now, None, host, s) for s in sorted(starts)]

    # --- what a verifier may have seen

    def broken(self):
        """Every way in which a signature could have failed, or a key gone too soon; empty: none."""
        urgent = {k.selector for k in self.kept.rings[DOMAIN].keys if k.urgent} if self.kept.rings else set()
        hurried = bool(urgent)
        found = []
        for began, ended, host, selector in self.signing:
            memory = TIMING.negative if hurried else max(TIMING.ttl, TIMING.negative)
            hold = 0 if selector in urgent else TIMING.queue
            until = self.now if ended is None else min(self.now, ended + hold)
            for server in self.history:
                gap = self._gap(server, selector, began - memory, until)
                if gap is not None:
                    found.append(
                        f"{host} signed with {selector} from {began} on; {server} lacked it at {gap}"
                    )
        return found + self._too_soon()

    def _gap(self, server, selector, since, until):
        """A time in [since, until) at which a server did not show a live key."""
        ends = [at for at, _ in self.history[server][1:]] + [self.now + 1]
        for (start, zone), end in zip(self.history[server], ends, strict=True):
            if start < until and end > since and zone.get(selector) != "live":
                return max(start, since)
        return None

    def _too_soon(self):
        """Records that went before everybody had seen them revoked for long enough."""
        revoked = defaultdict(lambda: None)
        found = []
        for at, zone in self.history["primary"]:
            gone = {s: revoked.pop(s) for s in list(revoked) if s not in zone}
            found += [f"{s} was deleted too soon" for s, since in gone.items() if at - since < TIMING.revoked]
            for selector, what in zone.items():
                if what == "revoked":
                    revoked.setdefault(selector, at)
        return found

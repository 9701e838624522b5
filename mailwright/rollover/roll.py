"""Exchange pinned keys step by step (RFC 7671 section 8.4), in an order that survives a kill anywhere.

The secrets say where things stand: a next key is announced, an old one is about to be taken back, neither is
peace. So whoever begins again reads them and goes on; only the wait for caches begins anew. Nothing is held
while it waits: what others have done meanwhile is seen before each step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from mailwright.model.errors import ConvergeError, DnsError, MailwrightError
from mailwright.rollover.effects import Effects, Keys

MARGIN = 5
"""Seconds beyond the TTL: resolvers count whole ones, and mail servers keep what these gave them."""
LOOK = 30
"""Seconds between looks at the servers, at least, while caches run out or a server is behind."""
PATIENCE = 180
"""Seconds that machines have to serve a new key: an authority may have to certify it first."""
AGAIN = 2
"""Seconds between looks at the machines."""


@dataclass(frozen=True)
class Wait:
    """A time to wait: `seconds` until the next look, `left` until the end as far as that is known."""

    seconds: float
    left: float
    why: str


@dataclass
class Roll:
    """One roll-over. `alone` holds the fleet against other commands, `wait` passes the time and shows it."""

    effects: Effects
    alone: Callable[[], AbstractContextManager[None]]
    clock: Callable[[], float]
    wait: Callable[[Wait], None]
    say: Callable[[str], None] = lambda _: None
    _mine: frozenset[str] | None = field(default=None, init=False)
    """The keys that this run announces."""
    _since: int | None = field(default=None, init=False)
    """When every server was first seen to show what is to be served."""
    _ttl: int = field(default=0, init=False)
    _missed: bool = field(default=False, init=False)
    """Whether a server was seen without it: then caches may be, too."""

    def run(self) -> None:
        """Go through all steps that are left, waiting between them.

        Raises:
            MailwrightError: something stands in the way; run again, it goes on from there.
        """
        while True:
            with self.alone():
                pause = self._step()
            if pause is None:
                return
            self.wait(pause)

    def _step(self) -> Wait | None:
        """Do what can be done now; how long to wait before the next step, `None` at the end."""
        keys = self.effects.keys()
        if not keys.old:
            if self._mine is not None and keys.coming != self._mine:
                self._overtaken(keys)
                return None
            keys = self._announced(keys)
        pause = self._until_known(keys)
        if pause is not None:
            return pause
        if not keys.old:
            self.effects.promote(keys)
            self.say("the next key is the one in use from now on")
        self._finish()
        return None

    def _overtaken(self, keys: Keys) -> None:
        """Somebody else went on with it while nobody was held."""
        if keys.used != self._mine:
            raise MailwrightError("the next key was exchanged meanwhile by somebody else; run this again")
        self.say("somebody else has finished this roll-over meanwhile")

    def _announced(self, keys: Keys) -> Keys:
        """Have next keys, and have the zones name them."""
        self.effects.require_fit()
        if self._mine is not None:
            return keys
        sight = self.effects.look(keys.used)
        if sight.wrong:
            raise DnsError(
                f"the key in use is not published everywhere: {'; '.join(sight.wrong)};"
                " `mailwright dns apply` comes first"
            )
        self._ttl = sight.ttl  # of the sets that caches may hold when the next key comes in
        self.effects.make_next()
        keys = self.effects.keys()
        self._mine = keys.coming
        self.effects.publish(old=True)
        return keys

    def _until_known(self, keys: Keys) -> Wait | None:
        """How long to wait until nobody can hold a set without the keys that are to be served."""
        sight = self.effects.look(keys.used | keys.coming)
        if sight.wrong:
            self._since, self._missed = None, True
            self.say(f"not seen everywhere yet: {'; '.join(sight.wrong)}")
            self.effects.publish(old=True)
            return Wait(LOOK, LOOK, "until every server is asked again")
        if keys.old and not self._missed:
            return None  # waited for before it became the one in use
        self._ttl = max(self._ttl, sight.ttl)
        if self._since is None:
            self._since = sight.at
            self.say(f"every server shows the key that is next; caches may lack it for {self._ttl} s")
            self.effects.note_announced(sight.at)
        left = self._since + self._ttl + MARGIN - self.clock()
        if left <= 0:
            return None
        return Wait(min(left, max(LOOK, left / 10)), left, "until no cache lacks the next key")

    def _finish(self) -> None:
        """Have all machines serve the key in use, see that they do, and take the old one back."""
        problems = self.effects.deploy()
        if problems:
            raise ConvergeError(f"{'; '.join(problems)}; both keys stay published, run this again")
        end = self.clock() + PATIENCE
        while problems := self.effects.not_served():
            left = end - self.clock()
            if left <= 0:
                raise ConvergeError(f"{'; '.join(problems)}; both keys stay published, run this again")
            self.wait(Wait(AGAIN, left, f"for {problems[0]}"))
        self.say("every port serves the new key")
        self.effects.publish(old=False)
        self.effects.forget_old()
        self.say("the old key is forgotten")

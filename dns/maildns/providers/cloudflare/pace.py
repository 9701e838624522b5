"""As fast as Cloudflare allows, however long it asks to wait.

1,200 requests in 5 minutes for a token, the user's dashboard included; who goes on after the 429 is
blocked for the rest of the window (https://developers.cloudflare.com/fundamentals/api/reference/limits/).
Each answer says in `Ratelimit` how many are left, so that we need not run into it.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from maildns.provider import ProviderError

RESERVE = 8
"""Requests that are left alone at the end of a window: threads that are under way may still take them."""

WORTH_SAYING = 5.0
"""Seconds of waiting from which on the operator is told."""

FIRST = 2.0
"""Seconds of the first wait after a refusal that does not say how long; each further one is twice as long."""

WINDOW = 300.0
"""Seconds in which requests are counted: no longer is waited for where nobody says how long."""

MOST = 10
"""How often in a row a refusal that does not say how long is waited out: some 25 minutes."""

PATIENCE = 3600.0
"""Seconds of one wait beyond which the operator is better served by running again."""

_ITEM = re.compile(r"r=(\d+);\s*t=(\d+)")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait: a number or a date (RFC 9110 section 10.2.3)."""
    text = headers.get("retry-after", "")
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


@dataclass
class Pace:
    """When the next request may go; one for all threads that share a token."""

    say: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _resume: float = 0.0
    _said: float = 0.0
    _refused: int = 0

    def wait(self) -> None:
        """Wait until requests are welcome again.

        Raises:
            ProviderError: that would take longer than an hour.
        """
        while (left := self._left()) > 0:
            self.sleep(left)

    def _left(self) -> float:
        with self._lock:
            left = self._resume - self.clock()
            if left > PATIENCE:
                raise ProviderError(
                    f"Cloudflare takes no requests for another {left:.0f} s (rate limit); run again then"
                )
            if left > WORTH_SAYING and self._said < self._resume:
                self._said = self._resume
                self.say(f"waiting {left:.0f} s for Cloudflare's rate limit")
            return left

    def answered(self, headers: Mapping[str, str]) -> None:
        """Note how much is left of the window."""
        spent = [
            float(reset)
            for left, reset in _ITEM.findall(headers.get("ratelimit", ""))
            if int(left) <= RESERVE
        ]
        with self._lock:
            self._refused = 0
            if spent:
                self._resume = max(self._resume, self.clock() + max(spent))

    def refused(self, headers: Mapping[str, str]) -> None:
        """Note a 429: wait as long as it says, or longer with each one that does not say.

        Raises:
            ProviderError: this has gone on for too long.
        """
        asked = retry_after(headers)
        with self._lock:
            if self._resume <= self.clock():  # the first of the threads that ran into it
                self._refused += 1
            if self._refused > MOST:
                raise ProviderError("Cloudflare takes no more requests (rate limit); run again later")
            if asked is None:
                asked = min(FIRST * 2 ** (self._refused - 1), WINDOW) * random.uniform(1.0, 1.25)  # noqa: S311 - spread
            self._resume = max(self._resume, self.clock() + asked)

    def back_off(self, failures: int) -> None:
        """Wait a little after a failure that is not about rates: 1, 2, 4 ... seconds, somewhat spread."""
        self.sleep(2.0 ** (failures - 1) * random.uniform(1.0, 1.25))  # noqa: S311 - spread, not secrecy

"""A pool that serves while something is done to its members: a client sends, the balancers are watched."""

import threading
from contextlib import contextmanager

from tests.lab.load import load

RATE = 5


class Watch(threading.Thread):
    """Asks the balancers again and again who serves; ends with the block."""

    def __init__(self, pool):
        super().__init__(daemon=True)
        self.pool, self.over = pool, threading.Event()
        self.seen = []
        """The members that each answering balancer sends clients to, look by look."""

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)

    def run(self):
        while not self.over.wait(0.25):
            self.seen.append(self.pool.serving())

    @property
    def fewest(self):
        """The fewest members that served at any look, at the balancer where they were fewest."""
        assert all(self.seen), "for a moment no balancer answered"
        return min(len(serving) for look in self.seen for serving in look)


@contextmanager
def under_load(deployed, site, pool, folder, evidence):
    """While a client sends and the balancers are watched; then accounts are made."""
    busy = {"rate": RATE, "connections": 4, "login": "newsletter"}
    with load(deployed, site, folder, pool.pool.addresses, port=465, **busy) as work:
        work.wait_for(20)
        with Watch(pool) as watch:
            yield
        work.more(20)
        figures = work.stop()
        account = work.settle(*pool.members)
    assert account.kept, account.faults
    assert (figures.refused, figures.given_up, figures.not_cured) == (0, 0, 0)
    assert watch.fewest >= len(pool.members) - 1
    evidence(
        f"{account}; {figures.failed_attempts} attempts failed, one retry cured each; never fewer than"
        f" {watch.fewest} of {len(pool.members)} members served, in {len(watch.seen)} looks; worst delay of a"
        f" message {figures.worst_delay:.1f} s"
    )

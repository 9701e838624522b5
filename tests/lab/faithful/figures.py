"""How long clients had to wait: figures of a journal. Pure."""

from dataclasses import asdict, dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Statistics:
    """Figures of a run; times in seconds."""

    messages: int
    accepted: int
    refused: int
    given_up: int
    failed_attempts: int
    """Attempts that were deferred, lost or left without an answer."""
    unknown: int
    """Those of them that may have been taken."""
    not_cured: int
    """Messages that failed again when they were tried a second time."""
    worst_delay: float
    """From a message's first try to its 250."""
    longest_gap: float
    """Between one 250 and the next: the longest outage that the client saw, its own waits included."""
    seconds: float
    """From the first try to the last 250."""

    @property
    def plain(self):
        return asdict(self)


def statistics(histories):
    """The figures of a run, `histories` as `journal.read` returns them."""
    all_ = [h for h in histories.values() if h.attempts]
    accepted = [h for h in all_ if h.accepted]
    began = min((h.attempts[0].began for h in all_), default=0)
    return Statistics(
        messages=len(histories),
        accepted=len(accepted),
        refused=sum(h.refused for h in all_),
        given_up=sum(h.given_up for h in all_),
        failed_attempts=sum(h.failed for h in all_),
        unknown=sum(h.unknown for h in all_),
        not_cured=sum(h.failed > 1 for h in all_),
        worst_delay=max((h.delay for h in accepted), default=0),
        longest_gap=longest_gap(histories),
        seconds=max((h.accepted.ended for h in accepted), default=began) - began,
    )


def longest_gap(histories, begin=0, end=float("inf")):
    """The longest time without a 250 that touches the time between `begin` and `end` (since the epoch)."""
    times = sorted(h.accepted.ended for h in histories.values() if h.accepted)
    gaps = [b - a for a, b in pairwise(times) if b >= begin and a <= end]
    return max(gaps, default=0)


def worst_delay(histories, begin=0, end=float("inf")):
    """The longest that a message took that was being handed in at some time between `begin` and `end`."""
    accepted = [h for h in histories.values() if h.accepted]
    touched = [h.delay for h in accepted if h.accepted.ended >= begin and h.attempts[0].began <= end]
    return max(touched, default=0)

"""What became of the mail: the client's journal against what lies in the mailboxes. Pure."""

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Arrival:
    """A copy of a message at its destination: when (seconds since the epoch), and whose queue it was in.

    `queue` is the queue id that the sending host gave it, empty if it is not told.
    """

    id: str
    at: float
    queue: str = ""


@dataclass(frozen=True)
class Account:
    """Ids of messages by what became of them. A fleet that keeps its word has none in `faults`."""

    sent: int
    """Messages that the client tried at all."""
    accepted: frozenset[str]
    """Answered 250."""
    lost: frozenset[str]
    """Answered 250, and not there: not at all, or not in the copy that the answer promised."""
    resent: frozenset[str]
    """There more than once, and for each surplus copy the client has an attempt without an answer: it had to
    send again (RFC 5321 6.1)."""
    redelivered: frozenset[str]
    """One queue file delivered more than once: its host stopped between the destination's 250 and its own
    note of it. No MTA can avoid that (RFC 1047); whether a host did stop is for the caller to say."""
    denied: frozenset[str]
    """There also from a try that was answered 4xx to its content: a disk that fails while it flushes may
    keep what it does not confirm. A host whose disk is well must not say one and do the other."""
    unexplained: frozenset[str]
    """There more often than all of that explains."""
    unanswered: frozenset[str]
    """There, though the client was never answered 250 and gave up or was ended."""
    refused: frozenset[str]
    given_up: frozenset[str]

    @property
    def faults(self):
        """What must not be, whatever failed."""
        return {"lost": self.lost, "unexplained": self.unexplained, "denied": self.denied}

    @property
    def kept(self):
        """Whether nothing was lost, and nothing is there too often without a reason."""
        return not any(self.faults.values())

    def __str__(self):
        words = (f"{len(self.accepted)} answered 250", f"{len(self.lost)} lost")
        optional = {
            "sent again after a cut answer and there twice": self.resent,
            "delivered again by a host that was cut": self.redelivered,
            "there twice after a 4xx to the content": self.denied,
            "there too often without a reason": self.unexplained,
            "there without an answer": self.unanswered,
            "refused": self.refused,
            "given up": self.given_up,
        }
        return ", ".join([*words, *(f"{len(ids)} {name}" for name, ids in optional.items() if ids)])


def account(histories, arrivals):
    """Hold what a client knows (`journal.read`) against the copies that arrived, also of other clients."""
    copies = defaultdict(list)
    for arrival in arrivals:
        copies[arrival.id].append(arrival)
    mine = {key: _Copies(history, copies[key]) for key, history in histories.items()}

    def those(test):
        return frozenset(key for key, found in mine.items() if test(found))

    return Account(
        sent=len(histories),
        accepted=those(lambda c: c.history.accepted),
        lost=those(lambda c: c.lost),
        resent=those(lambda c: c.surplus and not c.unexplained and not c.denied),
        redelivered=those(lambda c: c.again),
        denied=those(lambda c: c.denied),
        unexplained=those(lambda c: c.unexplained),
        unanswered=those(lambda c: c.there and not c.history.accepted),
        refused=those(lambda c: c.history.refused),
        given_up=those(lambda c: c.history.given_up),
    )


class _Copies:
    """The copies of one message beside its history."""

    def __init__(self, history, arrivals):
        self.history = history
        self.there = bool(arrivals)
        queues = [a.queue for a in arrivals if a.queue]
        self.queues = set(queues)
        self.again = len(queues) - len(self.queues)
        # Each acceptance by a host makes one queue file; a copy that does not tell counts as one.
        taken = len(self.queues) + sum(not a.queue for a in arrivals)
        self.surplus = taken > 1
        said = history.unknown + bool(history.accepted)
        self.unexplained = taken > said + history.denied
        self.denied = said < taken and not self.unexplained
        self._untold = len(queues) < len(arrivals)

    @property
    def lost(self):
        answer = self.history.accepted
        if answer is None:
            return False
        told = answer.queue and self.queues and not self._untold
        return answer.queue not in self.queues if told else not self.there

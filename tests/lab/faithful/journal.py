"""The client's journal: what became of every attempt, as lines of JSON that outlive a killed client.

    {"at": 1730000000.1, "event": "content", "id": "a1b2-00001", "to": "198.51.100.100"}
    {"at": 1730000000.2, "event": "attempt", "id": "a1b2-00001", "to": "198.51.100.100",
     "began": 1730000000.0, "outcome": "accepted", "stage": "content", "code": 250,
     "text": "2.0.0 Ok: queued as 4XyZ"}
    {"at": 1730000090.0, "event": "given up", "id": "a1b2-00002"}

Times are seconds since the epoch. `content` is written before the message leaves: without an `attempt` after
it, the client was killed and nobody knows.
"""

import json
import os
import re
import time
from dataclasses import dataclass, field

ACCEPTED, REFUSED, DEFERRED, LOST, UNKNOWN = "accepted", "refused", "deferred", "lost", "unknown"
"""Answered 2xx to the final dot; 5xx to the message; 4xx, or no service; no connection, or lost before the
content left; lost after it left, so that the message may have been taken."""

_QUEUED = re.compile(r"queued as ([0-9A-Za-z]+)")


class Journal:
    """Writes events, each with one write of its own."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, event, **fields):
        line = json.dumps({"at": time.time(), "event": event, **fields})
        os.write(self._file, f"{line}\n".encode())


@dataclass(frozen=True)
class Attempt:
    """One try to hand a message in, over however many addresses until one listened."""

    began: float
    ended: float
    outcome: str
    to: str
    stage: str
    code: int
    text: str

    @property
    def queue(self):
        """The queue id in the answer (Postfix's words), empty if there is none."""
        found = _QUEUED.search(self.text)
        return found[1] if found else ""


@dataclass
class History:
    """What a client knows of one message."""

    id: str
    attempts: list[Attempt] = field(default_factory=list)
    given_up: bool = False

    @property
    def accepted(self):
        """The attempt that was answered 250; `None`: none was."""
        return next((a for a in self.attempts if a.outcome == ACCEPTED), None)

    @property
    def refused(self):
        return any(a.outcome == REFUSED for a in self.attempts)

    @property
    def unknown(self):
        """How many attempts may have been taken though the client never heard."""
        return sum(a.outcome == UNKNOWN for a in self.attempts)

    @property
    def denied(self):
        """How many attempts were answered 4xx to the whole message."""
        return sum((a.outcome, a.stage) == (DEFERRED, "content") for a in self.attempts)

    @property
    def failed(self):
        """How many attempts were neither taken nor refused for good."""
        return sum(a.outcome not in (ACCEPTED, REFUSED) for a in self.attempts)

    @property
    def delay(self):
        """Seconds from the first try to the 250."""
        return self.accepted.ended - self.attempts[0].began


def read(lines):
    """The history of each message, by id. A last line that was cut off does not count."""
    found, open_ = {}, {}
    for line in lines:
        if not line.endswith("\n"):
            break
        event = json.loads(line)
        if event["event"] not in ("content", "attempt", "given up"):
            continue
        history = found.setdefault(event["id"], History(event["id"]))
        if event["event"] == "content":
            open_[event["id"]] = event
        elif event["event"] == "given up":
            history.given_up = True
        else:
            open_.pop(event["id"], None)
            details = (event[key] for key in ("outcome", "to", "stage", "code", "text"))
            history.attempts.append(Attempt(event["began"], event["at"], *details))
    for key, event in open_.items():
        cut = Attempt(event["at"], event["at"], UNKNOWN, event["to"], "content", 0, "the client ended")
        found[key].attempts.append(cut)
    return found

"""What a run tells while it goes on: one JSON object a line, from pyinfra's process to the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal[
    "connected",  # the machine answers
    "unreachable",  # it does not; `text` says why
    "planned",  # an operation of the plan, `changed`: it would change something; `text`: its diff
    "refused",  # the machine could not be planned; nothing was changed there; `text` says why
    "ready",  # the plan is complete; the run waits for `GO` on standard input
    "started",  # an operation began on a machine
    "finished",  # it ended well, `changed` says whether it did anything
    "failed",  # it ended badly; `text` is what it said. The machine takes no part in the rest
    "ended",  # the run is over
    "error",  # the run as a whole is impossible; `text` says why
]

GO = "go\n"
"""What the command line writes to let a planned run begin. End of file: leave everything as it is."""


@dataclass(frozen=True)
class Event:
    """One thing that happened, on a machine unless it concerns the whole run."""

    kind: Kind
    machine: str = ""
    operation: str = ""
    text: str = ""
    changed: bool = False
    seconds: float = 0.0

    def line(self) -> str:
        """The event as one line of JSON, with its end of line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, line: str) -> Event:
        """Read what `line` wrote."""
        return cls(**json.loads(line))

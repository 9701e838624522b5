"""On which terms machines leave the traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ROLLING = "rolling"
"""The reason under which a rolling run drains. What is drained for another reason is somebody else's."""
BY_HAND = "by hand"
"""The reason of `mailwright drain`, unless the operator gives a better one."""
SETTLE = 60.0
"""Seconds for a machine that was taken back to be seen serving, or for addresses to change hands."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Terms:
    """On which terms machines leave the traffic."""

    why: str
    """Kept with the drain, for whoever wonders."""
    wait: float = 300.0
    """Seconds for sessions to end."""
    cut: bool = False
    """End what is left of them then."""
    force: bool = False
    """Even if that leaves fewer serving than a pool keeps."""

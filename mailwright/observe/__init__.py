"""One look at a machine: a script made from its needs, and the reading of its answer. Pure.

The operations ask it over pyinfra, the verification suite over testinfra: both see the same.
"""

from __future__ import annotations

from mailwright.observe.parse import parse
from mailwright.observe.script import script
from mailwright.observe.state import (
    GroupState,
    Observation,
    ObservationError,
    PackageState,
    PathState,
    SysctlState,
    UnitState,
    UserState,
)

__all__ = [
    "GroupState",
    "Observation",
    "ObservationError",
    "PackageState",
    "PathState",
    "SysctlState",
    "UnitState",
    "UserState",
    "parse",
    "script",
]

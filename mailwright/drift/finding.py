"""What drift is made of: one thing on a machine, or in the DNS, that is not as the last apply left it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One change that no apply made. Its texts hold no secret."""

    kind: str
    """What happened, in an operator's words: `file edited`, `package held` ..."""
    subject: str
    """To what: a path, a package, a unit, a record."""
    before: str = ""
    """As the last apply left it; empty where it was not there."""
    after: str = ""
    """As it is now; empty where it is gone."""
    role: str = ""
    """The role that declares the thing, so that an apply puts it right; empty: nobody does."""
    text: tuple[str, ...] = ()
    """Lines of a unified diff, where text may be shown."""
    expected: bool = False
    """Nobody's hand: unattended-upgrades exchanged a package. Told, and no reason for an alarm."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same finding in the next report."""
        return (self.kind, self.subject, self.after)

    @property
    def change(self) -> str:
        """From what to what, on one line; empty where the kind says it all."""
        if self.before and self.after:
            return f"{self.before} -> {self.after}"
        return self.after or self.before

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"text": list(self.text)}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Finding:
        """Read what `as_data` wrote."""
        return cls(**{**data, "text": tuple(data["text"])})

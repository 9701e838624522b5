"""Resource records as sets, canonical, so that a plan is a comparison (RFC 2181 section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

RrKey = tuple[str, str]
"""(name, type): the name lower-case, absolute and dotted; the type in capitals."""


@dataclass(frozen=True)
class RRset:
    """All records of one name and type.

    `rdata` is in canonical presentation format as dnspython gives it with absolute names, except
    TXT, where each value is the whole text: chunks of 255 octets exist on the wire only.
    `reasons` says for the operator why each value exists; it takes no part in comparison.
    """

    name: str
    type: str
    ttl: int
    rdata: frozenset[str]
    reasons: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> RrKey:
        """What identifies the set in its zone."""
        return (self.name, self.type)

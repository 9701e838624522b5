"""What a roll-over asks of the world and does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Keys:
    """The TLSA values of a certificate's keys among the secrets: what they hold tells the step."""

    used: frozenset[str]
    """Those that machines are given."""
    coming: frozenset[str] = frozenset()
    """Those that are announced."""
    old: frozenset[str] = frozenset()
    """Those that machines were given before, until none serves them any more."""


@dataclass(frozen=True)
class Sight:
    """What the authoritative servers show."""

    at: int
    """Seconds since the epoch, after the last answer: since then, at the latest, it is so."""
    ttl: int
    """The longest time that anything of it may be kept, in seconds."""
    wrong: tuple[str, ...] = ()
    """Servers that lack something or do not answer, each in a sentence; empty: every server shows all."""


class Effects(Protocol):
    """What a roll-over does to the world. Each may be repeated; each may raise MailwrightError."""

    def keys(self) -> Keys:
        """What the secrets hold now, read anew."""
        ...

    def require_fit(self) -> None:
        """See that the next pairs can be served, before anything is done for them."""
        ...

    def make_next(self) -> None:
        """Have next keys among the secrets; those that are there stay."""
        ...

    def publish(self, *, old: bool) -> None:
        """Have the zones name the keys in use, the next ones, and with `old` those of before."""
        ...

    def look(self, wanted: frozenset[str]) -> Sight:
        """Ask every authoritative server whether it names all of `wanted`, with whatever else."""
        ...

    def note_announced(self, at: int) -> None:
        """Write down since when every server has shown the next keys."""
        ...

    def promote(self, keys: Keys) -> None:
        """Make the next keys those in use, all in one stroke, and these the old ones."""
        ...

    def deploy(self) -> tuple[str, ...]:
        """Give the machines the keys in use; what went wrong."""
        ...

    def not_served(self) -> tuple[str, ...]:
        """Connect from outside: where something else than the keys in use is served, or nothing."""
        ...

    def forget_old(self) -> None:
        """Have no old keys among the secrets."""
        ...

"""What maildns asks of a DNS provider: three methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from maildns.errors import MaildnsError
from maildns.records import RrKey, RRset


class ProviderError(MaildnsError):
    """A provider could not be read or changed; one line, without secrets."""


class ConflictError(ProviderError):
    """The zone moved between plan and apply: nothing was changed."""


@dataclass(frozen=True)
class Snapshot:
    """A zone as its provider holds it. `etag` identifies the state.

    A serial number would not do: signers move it. The apex SOA and what a signer makes (RRSIG, NSEC,
    DNSKEY and their kin) are left out.
    """

    zone: str
    rrsets: tuple[RRset, ...]
    etag: str
    opaque: Mapping[RrKey, str] = field(default_factory=dict)
    """Sets among `rrsets` that no records can express, with what they are: `an alias of ...`. They are
    never changed nor adopted; their values are words for the operator."""


@dataclass(frozen=True)
class Change:
    """One RRset from `old` to `new`; `None` means absent. Never both.

    Changes of the same `unit` are made in one batch or not at all: a record and the marker that
    says whose it is, and everything at a name whose type changes.
    """

    old: RRset | None
    new: RRset | None
    reason: str
    unit: str = ""

    @property
    def key(self) -> RrKey:
        """What identifies the changed set in its zone."""
        either = self.new or self.old
        if either is None:
            raise ValueError("a change from nothing to nothing")
        return either.key


class Provider(Protocol):
    """A place that holds zones."""

    def fetch(self, zone: str) -> Snapshot:
        """Read a whole zone.

        Raises:
            ProviderError: the zone or the credentials are not accepted, or nobody answers.
        """
        ...

    def apply(self, zone: str, changes: Sequence[Change], etag: str) -> None:
        """Make all changes, or as few batches as the provider's limits allow, if the zone is still at `etag`.

        Raises:
            ConflictError: the zone moved; nothing was changed.
            ProviderError: refused or unreachable; the message says what was done.
        """
        ...

    def audit(self, rrsets: Iterable[RRset]) -> tuple[str, ...]:
        """What this provider cannot hold, one sentence each; empty when all is well."""
        ...

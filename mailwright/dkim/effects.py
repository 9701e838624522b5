"""What a rotation asks of the world and does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from maildns.rotation import Key, Sight, Timing
from mailwright.model.domains import Domain
from mailwright.model.keyring import Keyring

SIGNS = "opendkim"
"""The role whose machines sign."""

Place = tuple[Domain, Key]


class Effects(Protocol):
    """What a rotation does to the world. Each may be repeated; each may raise MailwrightError."""

    def save(self, keyring: Keyring) -> None:
        """Write down where things stand, whole or not at all."""
        ...

    def taken(self, domain: Domain, selector: str) -> bool:
        """Whether a secret or a record of a selector is there already."""
        ...

    def make_private(self, domain: Domain, key: Key) -> None:
        """Have a private half among the secrets; one that is there stays."""
        ...

    def forget_private(self, domain: Domain, key: Key) -> None:
        """Have no private half among the secrets."""
        ...

    def publish(self, keyring: Keyring, places: Sequence[Place]) -> None:
        """Make the zones hold what the keys' states want, and nothing else of the zones any different."""
        ...

    def look(self, keyring: Keyring, domain: Domain, key: Key) -> Sight:
        """Ask every authoritative server for a key."""
        ...

    def timing(self, domain: Domain) -> Timing:
        """What the waiting times of a domain follow from."""
        ...

    def deploy(self, keyring: Keyring) -> Mapping[str, str]:
        """Have every host sign as the keyring says: each host with why that is not proved, or nothing."""
        ...

    def hosts_sign(self, keyring: Keyring) -> Mapping[str, str]:
        """As `deploy`, and change nothing."""
        ...

    def stopped(self, keyring: Keyring) -> Mapping[str, str]:
        """Change nothing, and see whether hosts sign with what the fleet names and with nothing else."""
        ...

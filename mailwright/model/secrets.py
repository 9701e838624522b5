"""Secrets: an age-encrypted file beside the fleet, or the environment."""

from __future__ import annotations

from typing import Protocol


class Secrets(Protocol):
    """Where roles and providers read secrets. Values never show in `repr`."""

    def get(self, name: str) -> str:
        """The secret's value.

        Raises:
            SecretError: there is none of that name; the message says which command sets it.
        """
        ...

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        ...

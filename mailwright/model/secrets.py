"""Secrets, as roles and providers see them: values by name, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mailwright.model.errors import MissingSecretError


class Secrets(Protocol):
    """Where roles and providers read secrets. Values never show in `repr`."""

    def get(self, name: str) -> str:
        """The secret's value.

        Raises:
            MissingSecretError: there is none of that name; the message says which command sets it.
            SecretError: the secrets cannot be opened.
        """
        ...

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        ...


@dataclass(frozen=True)
class GivenSecrets:
    """Secrets that are already at hand, for tests and for callers that made them."""

    values: Mapping[str, str] = field(repr=False)

    def get(self, name: str) -> str:
        """As in `Secrets`."""
        if name not in self.values:
            raise missing(name)
        return self.values[name]

    def names(self) -> tuple[str, ...]:
        """As in `Secrets`."""
        return tuple(sorted(self.values))


def missing(name: str) -> MissingSecretError:
    """The error for a secret that nobody has set."""
    return MissingSecretError(
        f"the secret {name} is missing: `mailwright secrets set INVENTORY {name}` sets it"
    )

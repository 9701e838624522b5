"""Taking secrets out of text that somebody will read. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mailwright.model.errors import SecretError
from mailwright.model.needs import Needs
from mailwright.model.secrets import Secrets

_SHORT = 6
"""Lines of a secret below this length are not hidden: they would hide `{`, `yes` and `key:` everywhere."""


class Redactor:
    """Takes secrets out of text that somebody will read."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Hide each line of each of `secrets`."""
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        # The longest first, so that no rest of one is left beside another.
        self._lines = sorted((line for line in lines if len(line) >= _SHORT), key=len, reverse=True)

    @classmethod
    def of(cls, secrets: Secrets, needs: Needs) -> Redactor:
        """Hide what the secrets hold, and what the machine's secret files say."""
        texts = [f.content.decode(errors="replace") for f in needs.files if f.secret]
        for name in secrets.names():
            try:
                texts.append(secrets.get(name))
            except SecretError:
                continue
        return cls(texts)

    def __call__(self, text: str) -> str:
        """Return the text with `***` for every secret."""
        for line in self._lines:
            text = text.replace(line, "***")
        return text

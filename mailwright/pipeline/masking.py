"""Take secrets out of text that others will read: logs, comments, artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

_SHORTEST = 8
"""Shorter values would blot out ordinary words. GitLab masks nothing shorter either."""
_STARS = "***"
_BOUNDARY = "-----"
"""Of PEM (RFC 7468 2): the lines that say only what kind of key this is."""
_SECRET_VARIABLES = re.compile(
    r"MAILWRIGHT_(AGE_IDENTITY|SECRET_\w+|GITLAB_TOKEN)|GITHUB_TOKEN|CI_JOB_TOKEN|ACTIONS_ID_TOKEN_REQUEST_TOKEN"
    r"|AWS_(SECRET_ACCESS_KEY|SESSION_TOKEN|ID_TOKEN)"
)


class Mask:
    """Puts stars in the place of secrets. Those of several lines are found line by line."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Keep what to look for; what is too short to be told from words is let through."""
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        told = [line for line in lines if len(line) >= _SHORTEST and not line.startswith(_BOUNDARY)]
        told.sort(key=len, reverse=True)  # a secret that begins like another one is taken out whole
        self._pattern = re.compile("|".join(map(re.escape, told))) if told else None

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub(_STARS, text) if self._pattern else text


def secrets_of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    """The values of variables that hold a secret, by their names."""
    return (value for name, value in environ.items() if _SECRET_VARIABLES.fullmatch(name))

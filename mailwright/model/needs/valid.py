"""What Debian and systemd allow as a name, a path or a mode."""

from __future__ import annotations

import re

from mailwright.model.errors import NeedsError

# deb-control(5) Package, useradd(8), systemd.unit(5), sysctl.d(5).
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)"
)
SYSCTL = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_:@-]+)+")
_MODE_LIMIT = 0o7777


def check(kind: str, value: str, pattern: re.Pattern[str]) -> None:
    """Refuse what does not match, naming the kind of thing it should be.

    Raises:
        NeedsError: it does not.
    """
    if not pattern.fullmatch(value):
        raise NeedsError(f"not a {kind}: {value[:80]!r}")


def check_path(path: str) -> None:
    """Refuse what is no absolute, normalised path.

    Raises:
        NeedsError: it is none.
    """
    parts = path.split("/")
    whole = path.startswith("/") and path != "/" and not {"", ".", ".."} & set(parts[1:])
    if not whole or not path.isprintable():
        raise NeedsError(f"not an absolute, normalised path without control characters: {path[:80]!r}")


def check_owner(owner: str, group: str, mode: int) -> None:
    """Refuse names and modes that are none.

    Raises:
        NeedsError: one is none.
    """
    check("user name", owner, ACCOUNT)
    check("group name", group, ACCOUNT)
    if not 0 <= mode <= _MODE_LIMIT:
        raise NeedsError(f"not a file mode: {mode!r}")

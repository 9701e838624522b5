"""One command at a time that exchanges a fleet's keys, or hands them to hosts."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailwright.model.errors import MailwrightError


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a fleet: its file is locked, because the keyring's own is replaced by each step.

    Raises:
        MailwrightError: somebody else on this machine holds it.
    """
    with file.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "another `mailwright apply`, `upgrade`, `dkim` or `certificates` is at work on this fleet"
            raise MailwrightError(f"{file}: {what}; run this again") from None
        yield

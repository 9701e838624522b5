"""One command at a time that changes a fleet file, exchanges a fleet's keys, or hands them to hosts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mailwright.model.document import display
from mailwright.model.errors import MailwrightError


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a fleet by a lock file beside its own, which is exchanged by whoever rewrites it.

    Who may not write there holds the fleet file itself: so does everybody else besides. The folder is not
    locked, as it is what each change of the secrets holds for a moment.

    Raises:
        MailwrightError: somebody else on this machine holds it.
    """
    with ExitStack() as held:
        beside = file.resolve()
        _hold(held, file, os.open(beside, os.O_RDONLY | os.O_CLOEXEC))
        lock = beside.with_name(f".{beside.name}.lock")
        with suppress(OSError):
            while not _same(handle := os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), lock):
                os.close(handle)
        yield


def _hold(held: ExitStack, file: Path, handle: int) -> None:
    held.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        what = "another mailwright command that changes things is at work on this fleet; run this again"
        raise MailwrightError(f"{display(file)}: {what}") from None

"""One command at a time that changes a fleet file, exchanges a fleet's keys, or hands them to hosts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mailwright.model.document import display
from mailwright.model.errors import MailwrightError


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a fleet by a lock file beside its own, which is another one after each rewriting.

    The fleet file is held, too: by whoever may not write beside it, that alone. Its folder is not, as each
    change of the secrets holds that for a moment.

    Raises:
        MailwrightError: somebody else on this machine holds it.
    """
    target = file.resolve()
    lock = target.with_name(f".{target.name}.lock")
    own = beside = None
    try:
        own = _held(os.open(target, os.O_RDONLY | os.O_CLOEXEC), file)
        beside = _beside(lock, file)
        yield
    finally:
        if beside is not None:
            with suppress(OSError):
                lock.unlink()  # while it is held: who waits for its name sees that it is gone
            os.close(beside)
        if own is not None:
            os.close(own)


def _beside(lock: Path, file: Path) -> int | None:
    """The lock file, made and held; nothing where none can be made."""
    while True:
        try:
            handle = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        _held(handle, file)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        os.close(handle)  # removed by its last holder after it was opened


def _held(handle: int, file: Path) -> int:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        what = "another mailwright command that changes things is at work on this fleet; run this again"
        raise MailwrightError(f"{display(file)}: {what}") from None
    return handle

"""Which release of a judge is installed."""

from __future__ import annotations

from audit.verdict import JudgeError
from mailwright.lab.shell import attempt


def release(package: str) -> str:
    """The upstream version of a Debian package on this machine.

    Raises:
        JudgeError: it is not installed.
    """
    ask = ("dpkg-query", "-W", "-f", "${db:Status-Status} ${source:Upstream-Version}", package)
    state, _, version = attempt(ask, timeout=120).stdout.partition(" ")
    if state != "installed":
        raise JudgeError(f"{package} is not installed on this machine: `make audit` sees to it")
    return version.removesuffix("+dfsg").removesuffix("+dfsg1")

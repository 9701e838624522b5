"""Why a machine owes a reboot, or a restart of services. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_FORESEEN = re.compile(r"linux-image-.*|(intel|amd64)-microcode|libc6|dbus(-daemon|-broker)?")
"""Packages after whose upgrade a reboot is due: the kernel, the processor's firmware, and what runs in
programs that cannot be restarted while the machine runs."""
_KERNEL = "another kernel"
# needrestart(1), README.batch.md: 1 is none, 2 an ABI compatible one, 3 another version; 0 is unknown.
_PENDING_KERNEL = ("2", "3")


@dataclass(frozen=True)
class Owed:
    """What a machine owes since its packages changed."""

    reboot: tuple[str, ...] = ()
    """What a reboot is asked for: packages, or `another kernel`."""
    restarts: tuple[str, ...] = ()
    """Units that still use libraries of before."""


MARKER = "cat /run/reboot-required.pkgs 2>/dev/null; [ ! -e /run/reboot-required ] || echo MARKER"
"""Asks for Debian's marker, which packages leave that want a reboot, and for their names."""


def owed(marker: str, needrestart: str) -> Owed:
    """Read what `MARKER` and `needrestart -b` say."""
    *reasons, last = dict.fromkeys(marker.split()) or [""]
    reasons = (reasons or ["/run/reboot-required"]) if last == "MARKER" else []
    kernel = re.search(r"^NEEDRESTART-KSTA: (\d)", needrestart, re.MULTILINE)
    if kernel and kernel[1] in _PENDING_KERNEL:
        reasons.append(_KERNEL)
    return Owed(tuple(reasons), tuple(re.findall(r"^NEEDRESTART-SVC: (\S+)", needrestart, re.MULTILINE)))


def foreseen(packages: Iterable[str]) -> tuple[str, ...]:
    """Those of some packages whose upgrade asks for a reboot."""
    return tuple(name for name in packages if _FORESEEN.fullmatch(name))

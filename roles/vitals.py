"""What every machine must have to go on: packages of Debian's, room on its disks, and random numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mailwright.model.errors import UnknownError
from mailwright.model.role import Check, Context, Result

_SHARE = 10
"""Per cent of a file system that must be free, of space and of inodes, up to the following."""
_SPACE = 2 * 1024**3
_INODES = 50_000
_PLACES = ("/", "/boot", "/home", "/srv", "/var", "/var/lib", "/var/log", "/var/spool")
_ENTROPY = 64
"""Bits. Linux 5.18 and later say 256 once the generator is seeded, earlier ones up to 4096 (random(4))."""


def checks(ctx: Context[Any], pinned: Iterable[str]) -> Iterable[Check]:
    """Where its packages come from (those of a `pinned` version are the operator's), and its headroom."""
    names = sorted({p.name for p in ctx.merged.packages} - set(pinned))
    yield Check(
        "packages come from Debian",
        f"apt-cache policy; echo; apt-cache policy {shlex.join(names)}",
        partial(_origins, names),
        "apt list --installed; take out the source that is not Debian's, and install Debian's version",
    )
    places = dict.fromkeys((*_PLACES, *(path.path for path in ctx.merged.backups)))
    yield Check(
        "disks have room",
        f"df -B1 --output=size,avail,itotal,iavail,target {shlex.join(places)} 2>/dev/null; :",
        _room,
        "du -xh / | sort -h | tail; journalctl --vacuum-size=, apt clean, or a larger disk",
    )
    yield Check(
        "random numbers do not run out",
        "cat /proc/sys/kernel/random/entropy_avail",
        _entropy,
        "give the virtual machine a virtio-rng device, or install rng-tools5",
    )


@dataclass(frozen=True)
class _Policy:
    """What apt-cache(8) `policy` says of a package."""

    installed: str
    candidate: str
    sources: Mapping[str, tuple[str, ...]]
    """Version to the archives that have it, as apt writes them."""


_SOURCE = re.compile(r" +-?\d+ (\S+ .+ Packages)")
_VERSION = re.compile(r" (?:\*\*\*|   ) (\S+) -?\d+")


def _origins(names: Collection[str], result: Result) -> str | None:
    archives, _, packages = result.stdout.partition("\n\n")
    ours = set(_debian(archives))
    if not ours:
        raise UnknownError("apt has no package lists of Debian's; apt update fetches them")
    if names and not packages.strip():
        raise UnknownError(f"apt says something of no package: {result.stderr.strip()[:200] or 'no answer'}")
    faults = [f for name, policy in _policies(packages) if (f := _foreign(name, policy, ours))]
    return "; ".join(faults) or None


def _debian(text: str) -> Iterator[str]:
    """The archives whose Release file says that it is Debian's."""
    archive = ""
    for line in text.splitlines():
        if found := _SOURCE.fullmatch(line):
            archive = found[1]
        elif re.match(r" +release .*\bo=Debian(,|$)", line) and archive:
            yield archive


def _policies(text: str) -> Iterator[tuple[str, _Policy]]:
    for block in re.split(r"\n(?=\S)", text.strip("\n")):
        name, *lines = block.splitlines() or [""]
        words = dict(line.strip().split(": ", 1) for line in lines if ": " in line)
        sources: dict[str, tuple[str, ...]] = {}
        version = ""
        for line in lines:
            if found := _VERSION.fullmatch(line):
                version = found[1]
                sources[version] = ()
            elif found := _SOURCE.fullmatch(line):
                sources[version] = (*sources.get(version, ()), found[1])
        yield name.rstrip(":"), _Policy(words.get("Installed", ""), words.get("Candidate", ""), sources)


def _foreign(name: str, policy: _Policy, ours: set[str]) -> str | None:
    if policy.installed in ("", "(none)"):
        return None  # whether it is there, its need asks
    places = policy.sources.get(policy.installed, ())
    if ours & set(places):
        return None
    if places:
        return f"{name} {policy.installed} is from {places[0]}"
    # A version that no archive has any more is an older one of theirs, while they offer a newer.
    known = policy.candidate != policy.installed
    return None if known else f"{name} {policy.installed} is from no archive"


def _room(result: Result) -> str | None:
    rows = [line.split(None, 4) for line in result.stdout.splitlines()[1:]]
    if not rows:
        raise UnknownError("df says nothing")
    faults = {}
    for size, free, inodes, left, target in rows:
        for what, total, there, most, unit in (
            ("MiB", size, free, _SPACE, 1024**2),
            ("inodes", inodes, left, _INODES, 1),
        ):
            # A file system that makes inodes as it goes has none to count.
            if total.isdigit() and int(total) and int(there) < min(int(total) * _SHARE // 100, most):
                faults[target, unit] = (
                    f"{target} has {int(there) // unit} {what} left of {int(total) // unit}"
                )
    return "; ".join(faults.values()) or None


def _entropy(result: Result) -> str | None:
    text = result.stdout.strip()
    if not text.isdigit():
        raise UnknownError(f"the kernel does not say: {result.stderr.strip()[:200]}")
    return None if int(text) >= _ENTROPY else f"the kernel has {text} bits of entropy"

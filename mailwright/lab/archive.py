"""The Debian archive as this machine reaches it: read from its own apt sources, never assumed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mailwright.model.errors import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RELEASES = {12: "bookworm", 13: "trixie"}
COMPONENTS = "main"

_APT = Path("/etc/apt")
_KNOWN = {"oldstable", "stable", "testing", "bullseye", *RELEASES.values(), "forky"}


@dataclass(frozen=True)
class Archive:
    """Base addresses of the Debian archive and of its security archive."""

    main: str
    security: str | None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Both addresses, or the one there is."""
        return (self.main, self.security) if self.security else (self.main,)

    def suites(self, release: str) -> tuple[tuple[str, str], ...]:
        """(address, suite) of everything a Debian machine of that release installs from."""
        pairs = [(self.main, release), (self.main, f"{release}-updates")]
        if self.security:
            pairs.append((self.security, f"{release}-security"))
        return tuple(pairs)

    def lines(self, release: str) -> tuple[str, ...]:
        """Those suites in the one-line format of sources.list(5).

        Hosts ask without TLS: the proxy on their bridge reaches the archive as this machine does, and a
        package is proved by its signature, whatever carried it.
        """
        return tuple(
            f"deb [signed-by={KEYRING}] {address.replace('https://', 'http://', 1)} {suite} {COMPONENTS}"
            for address, suite in self.suites(release)
        )


def machine_archive() -> Archive:
    """The archive this machine is configured with.

    Raises:
        LabError: its sources name no Debian archive.
    """
    files = [_APT / "sources.list", *sorted((_APT / "sources.list.d").glob("*"))]
    return choose(entry for file in files if file.is_file() for entry in entries(file.name, file.read_text()))


def choose(sources: Iterable[tuple[str, str]]) -> Archive:
    """Find the Debian archive among (address, suite) pairs.

    Raises:
        LabError: no suite is a release of Debian.
    """
    main = security = None
    for address, suite in sources:
        if suite in _KNOWN:
            main = main or _resolved(address)
        elif suite.endswith("-security") and suite.removesuffix("-security") in _KNOWN:
            security = security or _resolved(address)
    if main is None:
        raise LabError("this machine's apt sources name no Debian archive: the lab is built from it")
    return Archive(main, security)


def entries(name: str, text: str) -> Iterator[tuple[str, str]]:
    """(address, suite) of each binary package source in a file of sources.list(5), in either format."""
    if name.endswith(".sources"):
        for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
            fields = {
                k.lower(): v.split()
                for k, v in re.findall(r"^([\w-]+):(.*(?:\n\s.*)*)", stanza, re.MULTILINE)
            }
            if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
                yield from product(fields.get("uris", []), fields.get("suites", []))
    elif name.endswith(".list"):
        for line in text.splitlines():
            if found := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line):
                yield found[1], found[2]


def _resolved(address: str) -> str:
    """Debian's cloud images name a file that lists mirrors: take its first."""
    address = address.removesuffix("/")
    if not address.startswith("mirror+file:"):
        return address
    listed = Path("/" + address.removeprefix("mirror+file:").lstrip("/")).read_text().split()
    return listed[0].removesuffix("/")

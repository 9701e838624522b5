"""The Debian archive as this machine reaches it: read from its own apt sources, never assumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailwright.lab.shell import run
from mailwright.model.errors import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RELEASES = {12: "bookworm", 13: "trixie"}
COMPONENTS = "main"


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
    text = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"])
    return parse(text)


def parse(indextargets: str) -> Archive:
    """Find the Debian archive among lines of `address suite`.

    Raises:
        LabError: no line has a Debian release of ours or one of its neighbours.
    """
    known = {"stable", "oldstable", "testing", "forky", "bullseye", *RELEASES.values()}
    main = security = None
    for line in indextargets.splitlines():
        address, _, suite = line.strip().partition(" ")
        if suite in known:
            main = main or _resolved(address)
        elif suite.removesuffix("-security") in known and suite.endswith("-security"):
            security = security or _resolved(address)
    if main is None:
        raise LabError("this machine's apt sources name no Debian archive: the lab is built from it")
    return Archive(main, security)


def _resolved(address: str) -> str:
    """Debian's cloud images name a file that lists mirrors: take its first."""
    address = address.removesuffix("/")
    if not address.startswith("mirror+file:"):
        return address
    listed = Path("/" + address.removeprefix("mirror+file:").lstrip("/")).read_text().split()
    return listed[0].removesuffix("/")

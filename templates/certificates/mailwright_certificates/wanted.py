"""What is wanted of this machine, as the deploy wrote it down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Unit:
    """A systemd unit that serves a certificate."""

    name: str
    reload: bool
    """Whether it takes a new certificate by a reload; else it is restarted."""
    check: str
    """Shell that succeeds when its configuration may be taken; empty: it does so by itself."""


@dataclass(frozen=True)
class Pair:
    """One chain and key of a certificate, where services read them."""

    certificate: str
    algorithm: str
    """`ecdsa` (P-256) or `rsa` (2048 bits)."""
    chain: Path
    key: Path
    given: Path | None
    """A key that must be used because the world knows it already; `None`: a new one each time."""
    names: tuple[str, ...]
    group: str
    """Who, besides root, reads the key."""
    units: tuple[Unit, ...]

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.certificate} ({self.algorithm})"


@dataclass(frozen=True)
class Wanted:
    """Everything that is wanted."""

    directory: str
    """The authority's directory URL."""
    email: str | None
    authority_ca: Path | None
    """What its server is verified by besides the world's roots (PEM)."""
    challenge: tuple[str, ...]
    """certbot's options for the proof."""
    environment: dict[str, str]
    pairs: tuple[Pair, ...]
    home: Path
    """certbot's accounts and logs, and what is being made."""
    run: Path
    """What need not outlive a boot, on a file system that a full disk does not touch."""
    metrics: Path
    taken: Path
    """Where the deploy looks for the moment of a unit's last reload."""


def read(file: Path) -> Wanted:
    """Read what is wanted.

    Raises:
        OSError: the file cannot be read.
    """
    data: dict[str, Any] = json.loads(file.read_text())
    return Wanted(
        directory=data["directory"],
        email=data["email"],
        authority_ca=Path(data["authority_ca"]) if data["authority_ca"] else None,
        challenge=tuple(data["challenge"]),
        environment=data["environment"],
        pairs=tuple(_pair(each, pair) for each in data["certificates"] for pair in each["pairs"]),
        home=Path(data["home"]),
        run=Path(data["run"]),
        metrics=Path(data["metrics"]),
        taken=Path(data["taken"]),
    )


def _pair(certificate: dict[str, Any], pair: dict[str, Any]) -> Pair:
    return Pair(
        certificate["name"],
        pair["algorithm"],
        Path(pair["chain"]),
        Path(pair["key"]),
        Path(pair["given"]) if pair["given"] else None,
        tuple(certificate["names"]),
        certificate["group"],
        tuple(Unit(**unit) for unit in certificate["units"]),
    )

"""Certificates that roles want, and the files they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["ecdsa", "rsa"]
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa", "rsa")


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as files on the host."""

    algorithm: Algorithm
    prefix: str
    """What the names of its files, and of its secrets, begin with."""
    chain: str
    key: str


_PREFIXES: dict[Algorithm, str] = {"ecdsa": "", "rsa": "rsa-"}


@dataclass(frozen=True)
class Certificate:
    """A certificate that a role wants under `/etc/mailwright/certificates/NAME/`.

    The certificates role puts `fullchain.pem` and `privkey.pem` there (the key 0640, group `group`),
    with `rsa` among `algorithms` also `rsa-fullchain.pem` and `rsa-privkey.pem`, and when it exchanges
    them, units are reloaded or restarted by reading them. `names` are absolute and dotted.
    """

    name: str
    names: tuple[str, ...]
    group: str = "root"
    pinned: tuple[tuple[str, int], ...] = ()
    """Which of its names at which TCP ports have TLSA records that name its key beforehand (RFC 7672)."""
    algorithms: tuple[Algorithm, ...] = ("ecdsa",)
    """The algorithms of its keys: a pair for each."""

    @property
    def directory(self) -> str:
        """Where the pairs lie on the host."""
        return f"/etc/mailwright/certificates/{self.name}"

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pair of each algorithm."""
        return tuple(map(self.pair, self.algorithms))

    @property
    def pinned_ports(self) -> tuple[int, ...]:
        """The ports of `pinned`."""
        return tuple(sorted({port for _, port in self.pinned}))

    def pair(self, algorithm: Algorithm) -> Pair:
        """The pair of an algorithm, whether it is asked for or not."""
        prefix = _PREFIXES[algorithm]
        start = f"{self.directory}/{prefix}"
        return Pair(algorithm, prefix, f"{start}fullchain.pem", f"{start}privkey.pem")

    def demanded(self, pair: Pair) -> str | None:
        """The algorithm that a provided key must be of; the operator's choice where there is one only."""
        return pair.algorithm if len(self.algorithms) > 1 else None

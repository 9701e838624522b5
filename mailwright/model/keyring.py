"""The keys of a fleet and where each is in its life: `NAME.dkim.yaml` beside the fleet file.

The fleet file names a domain's first keys. From the first rotation on this file says which key signs and
which others the world must see. `mailwright dkim` writes it; it holds no secret and is made to be committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from maildns.policy.dkim import selector_name
from maildns.rotation import LIVE, Key, Ring, State
from mailwright.model.base import Model, Slug
from mailwright.model.domains import DkimKey, Domain
from mailwright.model.errors import FleetError
from mailwright.model.fleet import Fleet
from mailwright.model.mistakes import Found, found_by
from mailwright.model.names import DnsName
from mailwright.model.secrets_file import write_whole
from mailwright.model.yamlfile import read

FORMAT = 1

_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_HEAD = """\
# The DKIM keys of this fleet and where each is in its life. Written by `mailwright dkim`: commit it, and
# leave it to that. It holds no secret. A selector stays in it for good, because none is ever used twice.
"""


@dataclass(frozen=True)
class Keyring:
    """The rings of all domains that have one, by the domain's name without its final dot."""

    rings: Mapping[str, Ring] = field(default_factory=lambda: MappingProxyType({}))

    def ring(self, domain: DnsName) -> Ring:
        """The keys of a domain; empty where none was ever written down."""
        return self.rings.get(domain.bare, Ring())

    def put(self, domain: DnsName, ring: Ring) -> Keyring:
        """The same with another ring for a domain."""
        return Keyring({**self.rings, domain.bare: ring})

    def shown(self, domain: Domain) -> Iterator[Key]:
        """What the world must see of a domain: the keys that sign, then all others, revoked ones too."""
        ring = self.ring(domain.name)
        today = [_today(first, ring) for first in domain.dkim]  # the domain may be of another day
        signing = {k.selector: k.algorithm for k in today}
        for selector, algorithm in signing.items():
            yield Key(selector, algorithm, State.SIGNING, None)
        for key in ring.keys:
            if key.selector not in signing and key.state in (*LIVE, State.REVOKED):
                yield key

    def spent(self, domain: Domain) -> tuple[str, ...]:
        """Selectors whose private halves nobody may keep."""
        return tuple(k.selector for k in self.ring(domain.name).keys if k.state not in (*LIVE, State.MADE))

    @property
    def newest(self) -> int:
        """The latest time that was written down; 0 where none was."""
        times = (t for ring in self.rings.values() for key in ring.keys for t in (key.since, key.seen))
        return max((t for t in times if t is not None), default=0)

    def released(self) -> frozenset[str]:
        """Refusals of a DNS plan that rotations have overruled: keys that they let go of in good order."""
        return frozenset(
            f"signing-key={selector_name(domain + '.', key.selector)}"
            for domain, ring in self.rings.items()
            for key in ring.keys
            if key.state in (State.REVOKED, State.DELETED)
        )


def keyring_file(fleet_file: Path) -> Path:
    """`prod.dkim.yaml` beside `prod.yaml`."""
    return fleet_file.with_suffix(".dkim.yaml")


def folded(fleet: Fleet, keyring: Keyring) -> Fleet:
    """The fleet with the keys that sign today in place of its first ones."""
    domains = tuple(
        domain.model_copy(update={"dkim": tuple(_today(k, keyring.ring(domain.name)) for k in domain.dkim)})
        for domain in fleet.domains
    )
    return fleet.model_copy(update={"domains": domains})


def _today(first: DkimKey, ring: Ring) -> DkimKey:
    signer = ring.signer(first.algorithm)
    return DkimKey(selector=signer.selector, algorithm=first.algorithm) if signer else first


def disagreements(fleet: Fleet, keyring: Keyring) -> Iterator[Found]:
    """Keys that the fleet file names and the keyring does not allow, at their places in the fleet file."""
    for i, domain in enumerate(fleet.domains):
        ring = keyring.ring(domain.name)
        known = {k.selector: k for k in ring.keys}
        for j, key in enumerate(domain.dkim):
            where = ("domains", i, "dkim", j, "selector")
            signer, other = ring.signer(key.algorithm), known.get(key.selector)
            if signer and (other is None or other.algorithm != key.algorithm):
                advice = f"{signer.selector} signs; `mailwright dkim rotate` exchanges keys, not this line"
                yield where, f"{key.selector} was never the domain's {key.algorithm} key: {advice}"
            elif other and not signer:
                yield where, f"{key.selector} was used before; a selector is never used twice"


# --- the file


def _seconds(value: object) -> int:
    try:
        return int(datetime.strptime(str(value), _STAMP).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"not a time such as 2026-01-31T12:00:00Z: {value}") from None


_Time = Annotated[int, BeforeValidator(_seconds)]


class _Key(Model):
    selector: Slug
    algorithm: Literal["rsa", "ed25519"]
    state: State
    since: _Time | None = None
    seen: _Time | None = None
    ttl: int = Field(default=0, ge=0)
    standby: bool = False
    urgent: bool = False

    def key(self) -> Key:
        return Key(**self.model_dump())


class _File(Model):
    format: Literal[1]
    domains: dict[DnsName, tuple[_Key, ...]] = Field(default_factory=dict)


def read_keyring(file: Path) -> Keyring:
    """The keyring of a fleet; empty where nothing was ever written.

    Raises:
        FleetError: the file is damaged; one line for each mistake.
    """
    if not file.exists():
        return Keyring()
    document = read(file)
    try:
        content = _File.model_validate(document.data)
    except ValidationError as error:
        found = found_by(error, _File, document.data)
        raise FleetError([document.mistake(where, what) for where, what in found]) from None
    rings = {name.bare: Ring(tuple(k.key() for k in keys)) for name, keys in content.domains.items()}
    for name, ring in rings.items():
        selectors = [k.selector for k in ring.keys]
        if len(set(selectors)) < len(selectors):
            raise FleetError([document.mistake(("domains", name), "a selector stands there twice")])
    return Keyring(rings)


def write_keyring(file: Path, keyring: Keyring) -> None:
    """Put the file in place whole: a crash leaves the old one or the new one."""
    lines = [_HEAD + f"format: {FORMAT}", "domains:" if keyring.rings else "domains: {}"]
    for name, ring in sorted(keyring.rings.items()):
        lines.append(f"  {name}:")
        lines += [f"    - {{ {_line(key)} }}" for key in ring.keys]
    write_whole(file, ("\n".join(lines) + "\n").encode(), mode=0o644)


def _line(key: Key) -> str:
    values: dict[str, object] = {
        "selector": f'"{key.selector}"',  # in quotes: `null` and `true` are selectors, too
        "algorithm": key.algorithm,
        "state": key.state,
        "since": stamp(key.since) if key.since is not None else None,
        "seen": stamp(key.seen) if key.seen is not None else None,
        "ttl": key.ttl or None,
        "standby": "true" if key.standby else None,
        "urgent": "true" if key.urgent else None,
    }
    return ", ".join(f"{name}: {value}" for name, value in values.items() if value is not None)


def stamp(seconds: int) -> str:
    """A time as the file and reports write it: UTC (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_STAMP)

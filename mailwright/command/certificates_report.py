"""What `mailwright certificates status` knows of each certificate: what lies on its host, and what comes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailwright.certificate import ANNOUNCED, NEXT_KEY, OLD_KEY, names_of, secret_name, uncovered
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.fleet import Machine
from mailwright.model.keyring import stamp
from mailwright.model.needs import Certificate, Pair
from mailwright.model.role import Result
from mailwright.model.site import Site
from mailwright.verify import batch
from mailwright.verify.ssh import runner

_AT_ONCE = 16
_DAY = 86400


@dataclass(frozen=True)
class Report:
    """One certificate on one machine."""

    machine: str
    certificate: str
    algorithm: str
    names: tuple[str, ...] = ()
    """That it is valid for, without final dots."""
    issuer: str = ""
    not_after: int | None = None
    """Seconds since the epoch."""
    left: int = 0
    """Seconds until then."""
    pinned: tuple[int, ...] = ()
    """TCP ports at which TLSA records name its key."""
    coming: str = ""
    """Where a roll-over of its key stands; empty: there is none."""
    fault: str = ""
    silence: str = ""
    """Why nothing is known."""

    @property
    def line(self) -> str:
        """The certificate in one line."""
        what = f"{self.machine}  {self.certificate}  {self.algorithm}"
        if self.silence or self.not_after is None:
            return f"{what}  {self.silence or self.fault}"
        until = f"until {stamp(self.not_after)} ({self.left // _DAY} days)"
        return f"{what}  {until}" + (f"  {self.fault}" if self.fault else "")

    @property
    def details(self) -> Iterator[str]:
        """More of it."""
        if self.not_after is not None:
            yield f"names: {', '.join(self.names)}"
            yield f"issuer: {self.issuer}"
        if self.pinned:
            ports = ", ".join(map(str, self.pinned))
            yield f"pinned at port {ports}{f'; {self.coming}' if self.coming else ''}"

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "machine": self.machine,
            "certificate": self.certificate,
            "algorithm": self.algorithm,
            "names": list(self.names),
            "issuer": self.issuer or None,
            "not_after": stamp(self.not_after) if self.not_after is not None else None,
            "pinned": list(self.pinned),
            "roll_over": self.coming or None,
            "fault": self.fault or None,
            "unknown": self.silence or None,
        }


def reports(site: Site, machines: Sequence[Machine], now: float) -> list[Report]:
    """Ask each machine once, all at the same time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda machine: list(_of_machine(site, machine, now)), machines)
        return [report for each in found for report in each]


def _of_machine(site: Site, machine: Machine, now: float) -> Iterator[Report]:
    wanted = [(c, pair) for c in site.plan(machine).merged.certificates for pair in c.pairs]
    if not wanted:
        return
    commands = [
        command
        for _, pair in wanted
        for command in (
            f"cat {shlex.quote(pair.chain)}",
            f"openssl pkey -in {shlex.quote(pair.key)} -pubout -outform DER | sha256sum",
        )
    ]
    silence, results = "", dict[int, Result]()
    try:
        results = batch.parse(runner(machine)(batch.script(commands)).stdout)
    except UnknownError as error:
        silence = str(error)
    for i, (certificate, pair) in enumerate(wanted):
        chain, key = results.get(2 * i), results.get(2 * i + 1)
        known = _known(certificate, chain, key, now) if chain and key else {"silence": silence or "no answer"}
        yield Report(
            machine.name,
            certificate.name,
            pair.algorithm,
            pinned=certificate.pinned_ports,
            coming=_coming(site, certificate, pair),
            **known,
        )


def _known(certificate: Certificate, chain: Result, key: Result, now: float) -> Mapping[str, Any]:
    """What follows from what lies on the machine."""
    try:
        leaf = x509.load_pem_x509_certificates(chain.stdout.encode())[0]
    except (ValueError, IndexError):
        return {"fault": "there is no certificate"}
    names = names_of(leaf)
    after = int(leaf.not_valid_after_utc.timestamp())
    return {
        "names": tuple(sorted(names)),
        "issuer": leaf.issuer.rfc4514_string(),
        "not_after": after,
        "left": after - int(now),
        "fault": "; ".join(_faults(certificate, leaf, key, now)),
    }


def _faults(certificate: Certificate, leaf: x509.Certificate, key: Result, now: float) -> Iterator[str]:
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.stdout.split()[:1] != [sha256(spki).hexdigest()]:
        yield "its key is another"
    if leaf.not_valid_after_utc.timestamp() <= now:
        yield "expired"
    yield from uncovered(leaf, certificate.names)


def _coming(site: Site, certificate: Certificate, pair: Pair) -> str:
    """Where a roll-over stands, by what is among the secrets."""
    if not certificate.pinned:
        return ""
    try:
        there = set(site.secrets.names())
    except MailwrightError:
        return ""
    if secret_name(certificate, OLD_KEY, pair) in there:
        return "the key before it is still published: `mailwright certificates roll` is not at its end"
    if secret_name(certificate, NEXT_KEY, pair) not in there:
        return ""
    since = secret_name(certificate, ANNOUNCED)
    return (
        f"its next key is announced since {site.secrets.get(since)}" if since in there else "a next key waits"
    )

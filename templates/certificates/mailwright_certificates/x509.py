"""Certificates and keys, as openssl(1) reads and makes them. No key is ever an argument or in a message."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", re.DOTALL)
_NEW_KEY = {
    "ecdsa": ("EC", "ec_paramgen_curve:P-256"),
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
}
_PLACEHOLDER_DAYS = "30"
_LATE = timedelta(minutes=5)
"""How far this machine's clock may be behind that of an authority."""


class UnfitError(Exception):
    """A chain or a key that may not be served; the message says why, in a line."""


@dataclass(frozen=True)
class Leaf:
    """What is known of a certificate."""

    names: frozenset[str]
    issuer: str
    subject: str
    not_before: datetime
    not_after: datetime

    def due(self, now: datetime) -> bool:
        """Whether only a third of its lifetime is left: certificates live for a week or for years."""
        return self.not_after - now < (self.not_after - self.not_before) / 3

    def lacking(self, names: Iterable[str]) -> list[str]:
        """Those of the names that it is not for."""
        return [name for name in names if name not in self.names]


def pair(chain: Path, key: Path) -> Leaf:
    """What a chain and its key are, once they belong together.

    Raises:
        UnfitError: they do not, or one of them cannot be read.
    """
    fields = ("-subject", "-issuer", "-dates", "-ext", "subjectAltName", "-pubkey")
    shown = openssl("x509", "-in", chain, "-noout", "-nameopt", "RFC2253", "-dateopt", "iso_8601", *fields)
    if _public(shown) != _public(openssl("pkey", "-in", key, "-pubout", "-passin", "pass:")):
        raise UnfitError("the key is not that of the certificate")
    said = dict(line.split("=", 1) for line in shown.splitlines() if re.match(r"[a-zA-Z]+=", line))
    return Leaf(
        frozenset(re.findall(r"DNS:([^\s,]+)", shown)),
        said["issuer"].strip(),
        said["subject"].strip(),
        datetime.fromisoformat(said["notBefore"]),
        datetime.fromisoformat(said["notAfter"]),
    )


def same_key(one: Path, other: Path) -> bool:
    """Whether two private keys are one.

    Raises:
        UnfitError: one cannot be read.
    """
    return len({openssl("pkey", "-in", each, "-pubout", "-passin", "pass:") for each in (one, other)}) == 1


def of_algorithm(key: Path, algorithm: str) -> bool:
    """Whether a private key is `ecdsa` or `rsa`.

    Raises:
        UnfitError: it cannot be read.
    """
    public = openssl("pkey", "-in", key, "-pubout", "-passin", "pass:")
    shown = openssl("pkey", "-pubin", "-noout", "-text_pub", stdin=public.encode())
    return ("Modulus:" in shown) == (algorithm == "rsa")


def verified(chain: bytes) -> None:
    """Each certificate of a PEM chain was issued by the next one, and none has expired.

    Raises:
        UnfitError: one was not.
    """
    each = _PEM.findall(chain)
    at = f"{(now() + _LATE).timestamp():.0f}"
    for lower, upper in pairwise(each):
        with tempfile.TemporaryDirectory() as folder:
            below, above = Path(folder, "below"), Path(folder, "above")
            below.write_bytes(lower)
            above.write_bytes(upper)
            try:
                trust = ("-partial_chain", "-no-CApath", "-no-CAstore", "-CAfile", above)
                openssl("verify", "-attime", at, *trust, below)
            except UnfitError:
                what = "a certificate of the chain was not issued by the next one, or has expired"
                raise UnfitError(what) from None


def make_key(file: Path, algorithm: str) -> None:
    """Draw a private key."""
    kind, option = _NEW_KEY[algorithm]
    openssl("genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", file)


def request(key: Path, names: Iterable[str], file: Path) -> None:
    """Make a signing request (PKCS #10, DER) for some names."""
    config = file.with_name("request.cnf")
    config.write_text(_request(names))
    openssl("req", "-new", "-key", key, "-config", config, "-outform", "DER", "-out", file)


def self_sign(key: Path, names: Iterable[str], file: Path) -> None:
    """Make a certificate that is good for encryption and for nothing else, valid for a month."""
    config = file.with_name("request.cnf")
    config.write_text(_request(names))
    made = ("-config", config, "-days", _PLACEHOLDER_DAYS, "-out", file)
    openssl("req", "-x509", "-key", key, *made)


def expires(leaf: Leaf, now: datetime) -> str | None:
    """Why a certificate may not be served at this moment, or `None`."""
    if now < leaf.not_before - _LATE:
        return f"not valid before {leaf.not_before:%Y-%m-%d %H:%M} UTC"
    return f"expired on {leaf.not_after:%Y-%m-%d %H:%M} UTC" if now >= leaf.not_after else None


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def _request(names: Iterable[str]) -> str:
    """openssl-req(1). Names stand in the extension only: the subject has no room for long ones."""
    alternatives = ",".join(f"DNS:{name}" for name in names)
    return (
        "[req]\nprompt = no\ndistinguished_name = subject\nreq_extensions = more\nx509_extensions = more\n"
        f"[subject]\nO = mail\n[more]\nsubjectAltName = {alternatives}\n"
    )


def _public(text: str) -> str:
    return text[text.index("-----BEGIN PUBLIC KEY") : text.index("-----END PUBLIC KEY")]


def openssl(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Run the program with files that only we can read; returns what it printed.

    Raises:
        UnfitError: it failed; with its last word.
    """
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False, umask=0o077
    )
    if done.returncode != 0:
        files = " and ".join(str(a) for a in arguments if isinstance(a, Path))
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UnfitError(f"openssl {arguments[0]} {files}: {lines[0].strip()[:200]}")
    return done.stdout.decode(errors="replace")

"""Who can open a secrets file: age identities, and the recipients that are their public halves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyrage
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from mailwright.model.errors import SecretError

IDENTITY = "MAILWRIGHT_AGE_IDENTITY"
"""Environment: an age identity itself, for CI."""
IDENTITY_FILE = "MAILWRIGHT_AGE_IDENTITY_FILE"
"""Environment: the path of an identity file."""


@dataclass(frozen=True)
class Identity:
    """What opens a file, where it comes from, and the recipient that is its public half."""

    where: str
    recipient: str
    key: object = field(repr=False)


def identities(file: Path, environ: Mapping[str, str]) -> list[Identity]:
    """Every identity at hand: those of the environment, and those in `file` if it exists.

    Raises:
        SecretError: one of them is unreadable, or readable by others.
    """
    found: list[Identity] = []
    if text := environ.get(IDENTITY):
        found += parse_identities(text, f"${IDENTITY}")
    files = [Path(environ[IDENTITY_FILE])] if environ.get(IDENTITY_FILE) else []
    files += [file] if file.exists() else []
    for one in files:
        found += parse_identities(_private_text(one), str(one))
    return found


@dataclass(frozen=True)
class Drawn:
    """A new age identity."""

    text: str = field(repr=False)
    """`AGE-SECRET-KEY-1...`: 74 characters, none of them lower-case."""
    recipient: str


def draw() -> Drawn:
    """A new age identity, kept nowhere."""
    identity = pyrage.x25519.Identity.generate()
    return Drawn(str(identity), str(identity.to_public()))


def make_identity(file: Path) -> str:
    """A new age identity in a file of its own, 0600, in the format of age-keygen(1). Never replaces one.

    Returns the recipient that it belongs to.
    """
    made = draw()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(f"# public key: {made.recipient}\n{made.text}\n")
    except OSError as error:
        raise SecretError(f"{file}: the identity cannot be written: {error.strerror}") from None
    return made.recipient


def parse_identities(text: str, where: str) -> list[Identity]:
    """The identities of an age identity file, or an unencrypted SSH private key.

    Raises:
        SecretError: there is none, or one is malformed.
    """
    lines = [line.strip() for line in text.splitlines()]
    try:
        if "PRIVATE KEY-----" in text:
            return [_ssh_identity(text, where)]
        keys = [pyrage.x25519.Identity.from_str(x) for x in lines if x and not x.startswith("#")]
    except (pyrage.IdentityError, ValueError, TypeError, UnsupportedAlgorithm):
        keys = []
    if not keys:
        raise SecretError(f"{where}: holds no age identity (a line AGE-SECRET-KEY-1...)")
    return [Identity(where, str(key.to_public()), key) for key in keys]


def _ssh_identity(text: str, where: str) -> Identity:
    key = pyrage.ssh.Identity.from_buffer(text.encode())
    public = load_ssh_private_key(text.encode(), password=None).public_key()
    return Identity(where, public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), key)


def parse_recipient(text: str) -> object:
    """An age recipient `age1...`, or an SSH public key.

    Raises:
        SecretError: neither.
    """
    kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(text)
    except (pyrage.RecipientError, ValueError):
        raise SecretError(f"not an age recipient (age1...) nor an SSH public key: {text[:80]!r}") from None


def _private_text(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise SecretError(f"{file}: an identity that others can read: `chmod 600 {file}`")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SecretError(f"{file}: the identity cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretError(f"{file}: holds no age identity (a line AGE-SECRET-KEY-1...)") from None

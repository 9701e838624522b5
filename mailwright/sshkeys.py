"""SSH keys that programs use among themselves: without a passphrase."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from mailwright.model.errors import SecretError


def ssh_key() -> str:
    """A new ed25519 private key as OpenSSH writes it."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_key(private: str) -> str:
    """The public half of an OpenSSH private key, as a line of authorized_keys without comment.

    Raises:
        SecretError: it is no such key, or a passphrase protects it.
    """
    try:
        public = load_ssh_private_key(private.encode(), password=None).public_key()
        return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    except (ValueError, TypeError):
        raise SecretError("an SSH key for backups is no OpenSSH private key without a passphrase") from None

"""Submission passwords as hosts may have them: as hashes that are the same in every run."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache

import bcrypt

from mailwright.model.errors import SecretError

# 2^8 rounds, about 20 ms. The passwords are 192 random bits, which no number of rounds makes safer, and
# the cost is paid for each login in every run and by the mail server for every authentication.
# Dovecot itself takes 2^5 (doveadm-pw(1), -r).
COST = 8
MAX_BYTES = 72
"""bcrypt looks no further than this."""
MIN_LENGTH = 12


@lru_cache(maxsize=4096)
def password_hash(login: str, password: str, salt_secret: str) -> str:
    """`{BLF-CRYPT}$2y$...` as Dovecot reads it.

    The salt is an HMAC of the login under `salt_secret`: the same in every run, so that the file on the
    host does not change, and without the secret nobody can compute tables for it in advance.

    Raises:
        SecretError: bcrypt would cut the password, or it is too short to withstand guessing.
    """
    octets = password.encode()
    if len(octets) > MAX_BYTES or b"\0" in octets:
        raise SecretError(
            f"the secret submission/{login} must have at most {MAX_BYTES} octets, none of them zero"
        )
    if len(password) < MIN_LENGTH:
        raise SecretError(f"the secret submission/{login} must have at least {MIN_LENGTH} characters")
    digest = hmac.new(salt_secret.encode(), login.encode(), hashlib.sha256).digest()[:16]
    # bcrypt writes base64 with an alphabet of its own.
    salt = base64.b64encode(digest).rstrip(b"=").translate(_TO_BCRYPT)
    hashed = bcrypt.hashpw(octets, b"$2b$%02d$" % COST + salt).decode()
    # 2y is the same algorithm by the name under which Dovecot and crypt(5) know it.
    return "{BLF-CRYPT}$2y$" + hashed.removeprefix("$2b$")


_TO_BCRYPT = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)

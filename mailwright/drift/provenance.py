"""Who applies what from here: the operator, the controller, and the commit of the fleet's repository."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from mailwright.drift.record import Applied
from mailwright.model.keyring import keyring_file

BY = "MAILWRIGHT_BY"
"""Environment: who is behind this run, where the local account says nothing (a pipeline's)."""

_PATIENCE = 10
"""Seconds for git."""


def applied(fleet_file: Path, roles: tuple[str, ...] = ()) -> Applied:
    """What a run that ends now leaves on a host."""
    commit, dirty = _commit(fleet_file.parent.absolute())
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Applied(_who(), now, commit, dirty, fleet_digest(fleet_file), roles)


def fleet_digest(fleet_file: Path) -> str:
    """The digest of a fleet file and its keyring: SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    for file in (fleet_file, keyring_file(fleet_file)):
        digest.update(file.read_bytes() if file.is_file() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


def _who() -> str:
    said = os.environ.get(BY, "").strip()
    if said.isprintable() and said:
        return said[:200]
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@cache
def _commit(folder: Path) -> tuple[str, bool]:
    """The commit that is checked out around a folder, and whether anything differs from it."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD").strip()
    return commit, bool(commit and _git(folder, "status", "--porcelain", "--untracked-files=no"))


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""

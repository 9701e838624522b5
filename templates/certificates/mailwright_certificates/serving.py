"""The pair that services read, exchanged in one step.

`fullchain.pem` and `privkey.pem` are links through one link, `.ALGORITHM`, to a folder that holds both: who
renames another over that one exchanges both files at the same moment, and a kill leaves a whole pair, the
old or the new. The outer links are dated anew, because units compare that time with their last reload.
"""

from __future__ import annotations

import grp
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from mailwright_certificates import x509
from mailwright_certificates.wanted import Pair

CHAIN, KEY, ORIGIN = "fullchain.pem", "privkey.pem", "origin"
_KEY_MODE, _CHAIN_MODE, _FOLDER_MODE = 0o640, 0o644, 0o750


def fault(pair: Pair, directory: str) -> str | None:
    """Why what is served is not what is wanted, or `None`; that it ends soon is no fault yet."""
    try:
        leaf = x509.pair(pair.chain, pair.key)
        wrong_key = _wrong_key(pair)
    except x509.UnfitError as error:
        return str(error)
    lacking = leaf.lacking(pair.names)
    reasons = (
        wrong_key,
        x509.expires(leaf, x509.now()),
        f"it is not for {', '.join(lacking)}" if lacking else None,
        "it is self-signed" if leaf.issuer == leaf.subject else None,
        None if _origin(pair) == directory else f"it was not issued by {directory}",
    )
    return next((reason for reason in reasons if reason), None)


def _wrong_key(pair: Pair) -> str | None:
    if pair.given:
        known = x509.same_key(pair.key, pair.given)
        return None if known else "its key is not the one that the world is told of"
    return None if x509.of_algorithm(pair.key, pair.algorithm) else f"its key is no {pair.algorithm} key"


def _origin(pair: Pair) -> str | None:
    """Who issued what is served, as far as it was put there by us."""
    try:
        return (_link(pair) / ORIGIN).read_text() if _linked(pair) else None
    except OSError:
        return None


def put(pair: Pair, chain: bytes, key: bytes, origin: str) -> None:
    """Serve a chain and its key from now on.

    Raises:
        OSError: they cannot be written; what was served still is.
    """
    _adopt(pair)
    _exchange(pair, chain, key, origin)


def tidy(pair: Pair) -> None:
    """Right the owners and modes of what is served, and remove what a kill or an exchange left behind."""
    current = _link(pair).resolve()
    for path in pair.chain.parent.glob(f".{pair.algorithm}-*"):
        if path != current:
            shutil.rmtree(path, ignore_errors=True)
    if current.is_dir() and _linked(pair):
        for name, mode in ((KEY, _KEY_MODE), (CHAIN, _CHAIN_MODE), (".", _FOLDER_MODE)):
            _dress(current / name, pair.group, mode)


def _adopt(pair: Pair) -> None:
    """Turn plain files, which another mode of the role left, into links to the same content."""
    if not _linked(pair):
        with suppress(OSError):  # there are none, and nothing to keep
            _exchange(pair, pair.chain.read_bytes(), pair.key.read_bytes(), "")


def _exchange(pair: Pair, chain: bytes, key: bytes, origin: str) -> None:
    place = pair.chain.parent
    fresh = place / f".{pair.algorithm}-{time.time_ns()}"
    fresh.mkdir(_KEY_MODE)
    try:
        for name, content, mode in ((KEY, key, _KEY_MODE), (CHAIN, chain, _CHAIN_MODE)):
            _write(fresh / name, content, pair.group, mode)
        _write(fresh / ORIGIN, origin.encode(), pair.group, _CHAIN_MODE)
        _dress(fresh, pair.group, _FOLDER_MODE)
        _sync(fresh)
        _symlink(_link(pair), fresh.name)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    for path, target in _links(pair):
        # Also where it is right already: what reads it is to see that it is newer.
        _symlink(path, target)
    _sync(place)


def _link(pair: Pair) -> Path:
    return pair.chain.with_name(f".{pair.algorithm}")


def _links(pair: Pair) -> tuple[tuple[Path, str], ...]:
    return (pair.key, f".{pair.algorithm}/{KEY}"), (pair.chain, f".{pair.algorithm}/{CHAIN}")


def _linked(pair: Pair) -> bool:
    return all(path.is_symlink() and str(path.readlink()) == target for path, target in _links(pair))


def _symlink(path: Path, target: str) -> None:
    """Make a link, or turn it elsewhere in one step; rename(2) gives it a new date."""
    half = path.with_name(f"{path.name}.new")
    half.unlink(missing_ok=True)
    half.symlink_to(target)
    half.replace(path)


def _write(path: Path, content: bytes, group: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    _dress(path, group, mode)


def _dress(path: Path, group: str, mode: int) -> None:
    gid, seen = grp.getgrnam(group).gr_gid, path.stat()
    if seen.st_gid != gid:
        os.chown(path, -1, gid)
    if seen.st_mode & 0o7777 != mode:
        path.chmod(mode)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

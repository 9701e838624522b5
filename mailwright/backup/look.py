"""Runs on a host: what lies below some paths, to be compared with what lies there on another host.

It is sent as text and stands alone: Python's standard library only, that of Debian 12's 3.11 at the least.
It changes nothing and shows no content, only digests; what vanishes while it looks is left out.

    python3 - PATH...      # JSON lines, gzipped, in base64
"""

from __future__ import annotations

import base64
import errno
import grp
import gzip
import hashlib
import json
import os
import pwd
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

_BLOCK = 1 << 20
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


def entries(top: str) -> Iterator[dict[str, Any]]:
    """A path and everything below it, without following links."""
    with suppress(FileNotFoundError, NotADirectoryError):
        yield _entry(top)
    for folder, below, files in os.walk(top):
        for name in sorted(below + files):
            with suppress(FileNotFoundError):
                yield _entry(os.path.join(folder, name))  # noqa: PTH118 - paths are octets that were read


def _entry(path: str) -> dict[str, Any]:
    found = os.lstat(path)
    kind = _KINDS[stat.S_IFMT(found.st_mode)]
    return {
        "path": path,
        "kind": kind,
        "owner": _user(found.st_uid),
        "group": _group(found.st_gid),
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "size": found.st_size if kind == "file" else 0,
        "content": _content(path, kind),
        "xattrs": _xattrs(path),
        "changed": found.st_ctime,
        "written": found.st_mtime,
    }


def _content(path: str, kind: str) -> str:
    if kind == "link":
        return os.readlink(path)  # noqa: PTH115 - as above
    return _digest(path) if kind == "file" else ""


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:  # noqa: PTH123 - as above
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _xattrs(path: str) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        values = {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names)}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return {}
        raise
    return {name: hashlib.sha256(value).hexdigest() for name, value in values.items()}


@cache
def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


@cache
def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def main(tops: list[str]) -> None:
    """Print what is below the paths."""
    lines = (json.dumps(entry) for top in tops for entry in entries(top))
    sys.stdout.buffer.write(base64.b64encode(gzip.compress("\n".join(lines).encode())))


if __name__ == "__main__":
    main(sys.argv[1:])

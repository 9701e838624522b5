"""Markers of ownership in the comments of the records themselves.

    maildns1 owner=OWNER value=1f0e3dad99908345

says that OWNER published this record with this value (`maildns.planning.ownership.value_digest`): an edit by
hand keeps the comment and so shows. What somebody else has written into a comment stays; parts are
divided by ` | `.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SEPARATOR = " | "
_PART = re.compile(r"maildns1 owner=([a-z0-9][a-z0-9.-]{0,62}) value=([0-9a-f]{16})")


def marks(comment: str) -> Iterator[tuple[str, str]]:
    """Each (owner, digest of the value) in a comment."""
    for part in comment.split(_SEPARATOR):
        match = _PART.fullmatch(part)
        if match:
            yield match[1], match[2]


def remarked(comment: str, owner: str, digest: str | None) -> str:
    """The comment with this owner's mark, and no other of the same owner; `None` takes it away."""
    parts = [p for p in comment.split(_SEPARATOR) if p and not _is_of(p, owner)]
    if digest is not None:
        parts.append(f"maildns1 owner={owner} value={digest}")
    return _SEPARATOR.join(parts)


def _is_of(part: str, owner: str) -> bool:
    match = _PART.fullmatch(part)
    return match is not None and match[1] == owner

"""Debian versions compared (Debian Policy Manual, section 5.6.12; deb-version(7)). Pure."""

from __future__ import annotations

import re
from itertools import zip_longest

_PARTS = re.compile(r"(\D*)(\d*)")


def newer(one: str, other: str) -> bool:
    """Whether `one` is a later version than `other`."""
    return _key(one) > _key(other)


def _key(version: str) -> tuple[int, _Part, _Part]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"
    return int(epoch) if epoch.isdigit() else 0, _Part(upstream), _Part(revision)


class _Part:
    """An upstream version or a Debian revision: texts and numbers in turns."""

    def __init__(self, text: str) -> None:
        self.pairs = [(m[1], int(m[2] or 0)) for m in _PARTS.finditer(text) if m[0]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Part) and not self > other and not other > self

    def __hash__(self) -> int:
        return 0

    def __gt__(self, other: _Part) -> bool:
        for (a, m), (b, n) in zip_longest(self.pairs, other.pairs, fillvalue=("", 0)):
            if _order(a) != _order(b):
                return _order(a) > _order(b)
            if m != n:
                return m > n
        return False


def _order(text: str) -> list[int]:
    """A tilde comes before the end, which comes before letters, which come before everything else."""
    return [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in text] + [0]

"""The `tag=value; tag=value` lists that DKIM, DMARC, MTA-STS, TLS-RPT and BIMI records are."""

from __future__ import annotations

import re

from maildns.errors import RecordError

_TAG = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_.-]*)\s*=\s*(.*?)\s*$", re.DOTALL)


def read_tags(text: str, source: str, *, twice: bool = False) -> dict[str, str]:
    """The tags of a record with their values, in its order; `source` is the RFC that says how it is written.

    With `twice` a repeated tag is ignored after the first (RFC 8461 section 3.2); else it is a mistake.

    Raises:
        RecordError: something between two semicolons is no tag with a value.
    """
    tags: dict[str, str] = {}
    for part in filter(str.strip, text.split(";")):
        match = _TAG.match(part)
        if match is None or (match[1] in tags and not twice):
            raise RecordError(f"not a tag=value list ({source}): {part.strip()[:40]!r}")
        tags.setdefault(match[1], match[2])
    return tags

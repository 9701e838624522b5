"""A zone as octoDNS's YAML provider reads it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from octodns.yaml import safe_dump
from octodns.zone import Zone

from maildns.errors import RecordError
from maildns.providers.octodns_records import PLAIN, record_of
from maildns.records import RRset


def write_yaml(zone: str, rrsets: Iterable[RRset]) -> str:
    """The content of octoDNS's `ZONE.yaml`.

    Raises:
        RecordError: octoDNS cannot express a set.
    """
    there = Zone(zone, [])
    names: dict[str, list[dict[str, Any]]] = {}
    for each in sorted(rrsets, key=lambda r: r.key):
        fault = next(filter(None, map(PLAIN.fault, each.rdata)), "") if each.type == "TXT" else ""
        if fault:
            raise RecordError(f"{each.name} TXT: {fault}")
        record = record_of(each, there, PLAIN)
        names.setdefault(record.name, []).append({"type": each.type, **record.data})
    content = {name: held[0] if len(held) == 1 else held for name, held in names.items()}
    text = io.StringIO()
    safe_dump(content, text)
    return text.getvalue()

"""pyspf as an oracle: its DNS replaced by a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import spf


class Answer:
    """What pyspf concludes."""

    def __init__(self, query: Any, checked: tuple[str, int, str]) -> None:
        self.result, _, text = checked
        self.explanation = "" if text in spf.EXPLANATIONS.values() or self.result != "fail" else text
        self.lookups = query.lookups


def ask(
    records: Mapping[tuple[str, str], Sequence[str]],
    failing: Collection[tuple[str, str]],
    ip: str,
    sender: str,
    helo: str,
) -> Answer:
    """One question to pyspf, by the RFC (its strict mode)."""
    saved, spf.DNSLookup = spf.DNSLookup, _dns(records, failing)
    try:
        query = spf.query(i=ip, s=sender, h=helo, receiver="unknown", strict=True)
        return Answer(query, query.check())
    finally:
        spf.DNSLookup = saved


def _dns(
    records: Mapping[tuple[str, str], Sequence[str]], failing: Collection[tuple[str, str]]
) -> Callable[..., list[Any]]:
    def lookup(name: str, type_: str, *_: object) -> list[Any]:
        name = name.lower().removesuffix(".")
        if (name, type_) in failing:
            raise spf.TempError("DNS timeout")
        if (name, "CNAME") in records:
            return [((name, "CNAME"), records[name, "CNAME"][0])]
        return [((name, type_), _data(type_, value)) for value in records.get((name, type_), ())]

    return lookup


def _data(type_: str, value: str) -> Any:
    if type_ == "TXT":
        return (value.encode("utf-8", "surrogateescape"),)
    if type_ == "MX":
        preference, host = value.split()
        return int(preference), host.removesuffix(".")
    return value.removesuffix(".") if type_ == "PTR" else value

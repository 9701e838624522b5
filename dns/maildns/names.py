"""Which zone a name lives in, and what a name there may hold."""

from __future__ import annotations

from collections.abc import Iterable


def within(name: str, zone: str) -> bool:
    """Whether `name` is `zone` or below it. Both canonical."""
    return zone in (".", name) or name.endswith("." + zone)


def longest_zone(name: str, zones: Iterable[str]) -> str | None:
    """The zone of `zones` that holds `name`: the longest suffix by labels."""
    return max((z for z in zones if within(name, z)), key=len, default=None)


def challenge(name: str) -> bool:
    """Whether an ACME client works at this name; plans never touch it (RFC 8555 section 8.4)."""
    return name.split(".", 1)[0] == "_acme-challenge"


def shared(name: str, type_: str) -> bool:
    """Whether several parties keep values in one set there.

    Ownership proofs, SPF and others meet in the TXT set of a host or domain name; under an
    underscore label (`_dmarc`, a DKIM selector) a TXT set is one party's (RFC 8552).
    """
    return type_ == "TXT" and not any(label.startswith("_") for label in name.split("."))

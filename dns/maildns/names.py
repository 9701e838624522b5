"""Which zone a name lives in, and what a name there may hold."""

from __future__ import annotations

from collections.abc import Container, Iterator


def within(name: str, zone: str) -> bool:
    """Whether `name` is `zone` or below it. Both canonical."""
    return zone in (".", name) or name.endswith("." + zone)


def longest_zone(name: str, zones: Container[str]) -> str | None:
    """The zone of `zones` that holds `name`: the longest suffix by labels.

    As many questions as the name has labels: `zones` may be a thousand, so let it be a set or a mapping.
    """
    return next((zone for zone in _upwards(name) if zone in zones), None)


def _upwards(name: str) -> Iterator[str]:
    """The name and all names above it, to the root."""
    while name:
        yield name
        name = name.partition(".")[2]
    yield "."


def challenge(name: str) -> bool:
    """Whether an ACME client works at this name; plans never touch it (RFC 8555 section 8.4)."""
    return name.split(".", 1)[0] == "_acme-challenge"


def shared(name: str, type_: str) -> bool:
    """Whether several parties keep values in one set there.

    Ownership proofs, SPF and others meet in the TXT set of a host or domain name; under an
    underscore label (`_dmarc`, a DKIM selector) a TXT set is one party's (RFC 8552).
    """
    return type_ == "TXT" and not any(label.startswith("_") for label in name.split("."))

"""Mistakes in what a fleet file accepts."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.judging.lint import RULES
from mailwright.model.document import Where
from mailwright.model.fleet import Fleet
from mailwright.model.mistakes import Found, suggestion


def accepted_lints(fleet: Fleet) -> Iterator[Found]:
    """Names in `accept` that no lint has: a typing error would silence nothing, and nobody would see it."""
    known = [rule.name for rule in RULES]
    places: list[tuple[Where, tuple[str, ...]]] = [(("dns", "accept"), fleet.dns.accept)]
    places += [(("domains", i, "accept"), domain.accept) for i, domain in enumerate(fleet.domains)]
    for where, names in places:
        for j, name in enumerate(names):
            if name not in known:
                yield (*where, j), f"no lint is called {name}{suggestion(name, known)}"

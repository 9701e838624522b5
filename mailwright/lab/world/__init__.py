"""The outside world of a lab: hosts that are not ours, run by software that is not ours.

Each module says which packages one of them has and which files make it what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mailwright.lab.container import Seed


@dataclass(frozen=True)
class WorldHost:
    """What makes a bare Debian this host of the world."""

    packages: tuple[str, ...]
    files: tuple[Seed, ...]
    """Its configuration: written at its birth, and again whenever the fleet file changes it."""
    units: tuple[str, ...] = ()
    """Restarted when one of `files` changed."""
    once: tuple[Seed, ...] = ()
    """Written at its birth, and later only where missing: the host itself changes them."""


def template(file: str, /, **arguments: Any) -> bytes:  # noqa: ANN401 - a template takes any data
    """Render a file of this package."""
    return _environment().get_template(file).render(arguments).encode()


@cache
def _environment() -> Environment:
    return Environment(  # noqa: S701 - configuration files, not HTML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

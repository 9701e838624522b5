"""Templates to file contents: Jinja2 with explicit arguments, where nothing is ever silently empty."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from mailwright.model.errors import MailwrightError


def render(template: str, /, **arguments: Any) -> bytes:  # noqa: ANN401 - a template takes any data
    """Render `ROLE/NAME.j2` from the `templates` folder beside the `roles` package in use.

    Loops and conditions eat their own line; the final newline stays. A value is put in as it is, so
    it must be one line: a fleet file must not be able to smuggle a directive into a configuration.
    Render several lines with a loop.

    Raises:
        MailwrightError: no such template, an argument is missing, or a value is `None` or has
            control characters.
    """
    try:
        return _environment().get_template(template).render(arguments).encode()
    except (TemplateError, ValueError) as error:
        raise MailwrightError(f"templates/{template}: {type(error).__name__}: {error}") from error


def template_folders() -> tuple[Path, ...]:
    """The `templates` folders beside the `roles` package, which is located here but not imported."""
    spec = find_spec("roles")
    places = spec.submodule_search_locations if spec else None
    return tuple(Path(place).parent / "templates" for place in places or ())


@cache
def _environment() -> Environment:
    return Environment(  # noqa: S701 - configuration files, not HTML: escaping would spoil them
        loader=FileSystemLoader(template_folders()),
        undefined=StrictUndefined,
        finalize=_one_line,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _one_line(value: Any) -> Any:  # noqa: ANN401 - whatever the template puts out
    if value is None:
        raise ValueError("a value is None")
    if isinstance(value, str) and any(unicodedata.category(c) == "Cc" and c != "\t" for c in value):
        raise ValueError(f"a value has control characters: {value[:60]!r}")
    return value

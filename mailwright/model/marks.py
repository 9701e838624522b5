"""Texts of a fleet file that name something elsewhere, found by the mark on their type."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel

from mailwright.model.document import Where


class SecretReference:
    """The text is the name of a secret."""


class AudienceReference:
    """The text is a firewall audience: one of `AUDIENCES`, or a named network of the fleet."""


def marked(value: object, mark: type, where: Where = ()) -> Iterator[tuple[Where, str]]:
    """Every text in the fields of a model, and of models inside, whose annotation bears `mark`."""
    if isinstance(value, BaseModel):
        for key, info in type(value).model_fields.items():
            inner, place = getattr(value, key), (*where, key)
            if _bears(info.annotation, info.metadata, mark):
                yield from _texts(inner, place)
            else:
                yield from marked(inner, mark, place)
        return
    for step, inner in _items(value):
        yield from marked(inner, mark, (*where, step))


def _bears(annotation: object, metadata: Iterable[object], mark: type) -> bool:
    if any(isinstance(one, mark) for one in metadata):
        return True
    return any(
        _bears(part, getattr(part, "__metadata__", ()), mark)
        for part in typing.get_args(annotation)
        if not (isinstance(part, type) and issubclass(part, BaseModel))
    )


def _texts(value: object, where: Where) -> Iterator[tuple[Where, str]]:
    if isinstance(value, str):
        yield where, value
    for step, inner in _items(value):
        yield from _texts(inner, (*where, step))


def _items(value: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, Mapping):
        return [(str(key), inner) for key, inner in value.items()]
    return enumerate(value) if isinstance(value, (tuple, list)) else ()

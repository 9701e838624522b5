"""What pydantic found wrong, in the operator's words: one line a mistake, at its line of the file."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mailwright.model.document import Where, quote
from mailwright.model.names import PATTERNS

_FEW = 20  # as many words as one takes in at a glance
Found = tuple[Where, str]
"""A mistake before it is put on a line: where, and what."""


@dataclass(frozen=True)
class _Located:
    """One pydantic error at its place in the data; `union` tells which branch of which union it is of."""

    where: Where
    error: ErrorDetails
    union: tuple[Where, str] | None


def found_by(error: ValidationError, model: type[BaseModel], data: object) -> list[Found]:
    """Every mistake of a validation, places relative to `data`, which was validated."""
    located = [_locate(detail, data) for detail in error.errors(include_url=False)]
    # An entry that is wrong does not count, so the list of it is then said to be too short.
    located = [a for a in located if a.error["type"] != "too_short" or not any(_below(b, a) for b in located)]
    unions: dict[Where, dict[str, list[_Located]]] = {}
    found: list[Found] = []
    for one in located:
        if one.union is None:
            found.append((one.where, _sentence(one, model)))
        else:
            at, branch = one.union
            unions.setdefault(at, {}).setdefault(branch, []).append(one)
    for at, branches in unions.items():
        found += _of_union(at, branches, model)
    return found


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for a misspelt word, else what there is."""
    known = sorted(known)
    if close := get_close_matches(word, known, 1):
        return f"; did you mean {close[0]}?"
    return f"; there is {', '.join(known)}" if 0 < len(known) <= _FEW else ""


def _locate(error: ErrorDetails, data: object) -> _Located:
    """Drop from pydantic's location what is not a key or an index of the data: names of union branches."""
    where: Where = ()
    union: tuple[Where, str] | None = None
    steps = error["loc"]
    for i, step in enumerate(steps):
        if step == "[key]":
            continue
        if _holds(data, step):
            where, data = (*where, step), data[step]  # type: ignore[index]
        elif not (error["type"] == "missing" and i == len(steps) - 1):
            union = union or (where, str(step))
    if error["type"] == "union_tag_invalid":
        where = (*where, _unquoted(str(error["ctx"]["discriminator"])))
    return _Located(where, error, union)


def _below(one: _Located, other: _Located) -> bool:
    return len(one.where) > len(other.where) and one.where[: len(other.where)] == other.where


def _holds(data: object, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(data, list) and step < len(data)
    return isinstance(data, dict) and step in data


def _of_union(at: Where, branches: dict[str, list[_Located]], model: type[BaseModel]) -> list[Found]:
    """One mistake for a value that fits no branch; those of the nearest branch where one nearly fits."""
    near = [errors for errors in branches.values() if all(_inside(e, at) for e in errors)]
    if near:
        return [(e.where, _sentence(e, model)) for e in min(near, key=len)]
    sentences = list(dict.fromkeys(_sentence(e, model) for errors in branches.values() for e in errors))
    value = next(iter(branches.values()))[0].error["input"]
    wanted = [s.removeprefix("must be ").partition(":")[0] for s in sentences if s.startswith("must be ")]
    if len(wanted) > 1:
        return [(at, f"must be {' or '.join(wanted)}{_shown(value)}")]
    return [(at, sentences[0])]


def _inside(one: _Located, at: Where) -> bool:
    """Whether the value is of the kind a branch wants, and wrong within."""
    return one.where != at or one.error["type"] == "missing"


def _sentence(one: _Located, model: type[BaseModel]) -> str:
    error, context = one.error, one.error.get("ctx", {})
    kind, value = error["type"], context.get("tag", error["input"])
    if kind == "missing":
        return f"{error['loc'][-1]} is missing"
    if kind == "extra_forbidden":
        return "unknown key" + suggestion(str(one.where[-1]), _fields(model, one.where[:-1]))
    if kind in ("value_error", "assertion_error"):
        reason = str(context.get("error", error["msg"]))
        return reason.replace(str(value), quote(value)) if str(value) else reason
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return PATTERNS.get(pattern, f"must look like {pattern}") + _shown(value)
    if kind in _WORDINGS:
        return _WORDINGS[kind](context) + _shown(value)
    return _unknown(error) + _shown(value)


def _length(verb: str, key: str) -> Callable[[Mapping[str, Any]], str]:
    def say(context: Mapping[str, Any]) -> str:
        what = "character" if "field_type" not in context else "entry"
        number = int(context[key])
        plural = what if number == 1 else {"entry": "entries", "character": "characters"}[what]
        return f"must have at {verb} {number} {plural}"

    return say


def _said(text: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda context: text.format(**context)


_WORDINGS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _said("must be text")),
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size", "finite_number"),
        _said("must be a whole number"),
    ),
    **dict.fromkeys(
        ("float_type", "float_parsing", "decimal_type", "decimal_parsing"), _said("must be a number")
    ),
    **dict.fromkeys(("bool_type", "bool_parsing"), _said("must be true or false")),
    **dict.fromkeys(
        ("tuple_type", "list_type", "set_type", "frozen_set_type", "iterable_type"),
        _said("must be a list, in [ ] or with a - before each entry"),
    ),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"),
        _said("must be `key: value` lines, or {{}}"),
    ),
    **dict.fromkeys(("literal_error", "enum"), lambda c: f"must be {_unquoted(str(c['expected']))}"),
    **dict.fromkeys(("ip_v4_address", "ip_v6_address", "ip_any_address"), _said("not an IP address")),
    **dict.fromkeys(
        ("ip_v4_network", "ip_v6_network", "ip_any_network"), _said("not a network of this family")
    ),
    **dict.fromkeys(
        ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
        _said("must be a date such as 2026-11-30"),
    ),
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), _said("must be a duration")),
    "none_required": _said("must be left out"),
    "greater_than": _said("must be more than {gt}"),
    "greater_than_equal": _said("must be at least {ge}"),
    "less_than": _said("must be less than {lt}"),
    "less_than_equal": _said("must be at most {le}"),
    "multiple_of": _said("must be a multiple of {multiple_of}"),
    "too_short": _length("least", "min_length"),
    "too_long": _length("most", "max_length"),
    "string_too_short": _length("least", "min_length"),
    "string_too_long": _length("most", "max_length"),
    "union_tag_not_found": lambda c: f"{_unquoted(str(c['discriminator']))} is missing",
    "union_tag_invalid": lambda c: f"must be {_unquoted(str(c['expected_tags']))}",
}


def _unquoted(words: str) -> str:
    return words.replace("'", "")


def _unknown(error: ErrorDetails) -> str:
    """Pydantic's own words for the kinds that no fleet file has met yet, without its habits of speech."""
    message = error["msg"].replace("Input should be", "must be").partition("[type=")[0].strip()
    return message[:1].lower() + message[1:]


def _shown(value: object) -> str:
    """`: value` where it is short and plain; a list or mapping is better looked at in the file."""
    if value is None:
        return ": nothing there"
    if isinstance(value, bool):
        return f": {str(value).lower()}"
    return f": {quote(value)}" if isinstance(value, (str, int, float)) else ""


def _fields(model: type[BaseModel], where: Sequence[str | int]) -> list[str]:
    """The keys that a mapping at this place may have."""
    models = [model]
    for step in where:
        inner = [m.model_fields[step].annotation for m in models if step in m.model_fields]
        models = [found for annotation in inner for found in _models(annotation)] if inner else models
    return [name for m in models for name in m.model_fields]


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]

"""Macro strings (RFC 7208 section 7): parsed once, expanded for each message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from maildns.errors import RecordError
from maildns.policy.spf.lookup import MAX_NAME

EXP_ONLY = "crt"
"""Letters that mean something in an explanation's text only (section 7.2)."""

_EXPAND = re.compile(r"%(?:\{([slodiphcrtv])([0-9]*)(r?)([-.+,/_=]*)\}|([%_-]))", re.IGNORECASE | re.ASCII)
_LITERAL = re.compile(r"[!-$&-~]+")
_LITERAL_OR_SPACE = re.compile(r"[ -$&-~]+")
_LDH = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_CONSTANTS = {"%": "%", "_": " ", "-": "%20"}


class SpfSyntaxError(RecordError):
    """A policy that receivers refuse as a whole: a permanent error (RFC 7208 section 4.6)."""


@dataclass(frozen=True)
class Macro:
    """One `%{...}`."""

    letter: str
    """Lower-case."""
    keep: int | None
    """How many right-hand parts stay; `None` for all."""
    reverse: bool
    delimiters: str
    escape: bool
    """An upper-case letter: what is not unreserved in a URL is percent-encoded."""

    def expand(self, value: str) -> str:
        """Transform a value (section 7.3): split, reverse, keep, join with dots."""
        parts = re.split(f"[{re.escape(self.delimiters or '.')}]", value)
        if self.reverse:
            parts.reverse()
        if self.keep is not None:
            parts = parts[-self.keep :]
        text = ".".join(parts)
        return quote(text, safe="-._~", errors="surrogateescape") if self.escape else text


@dataclass(frozen=True)
class MacroString:
    """Literal text and macros."""

    text: str
    """As published."""
    parts: tuple[str | Macro, ...]

    @property
    def constant(self) -> str | None:
        """What it always expands to; `None` where that depends on the message."""
        if any(isinstance(part, Macro) for part in self.parts):
            return None
        return self.expand(str)

    @property
    def letters(self) -> frozenset[str]:
        """The macro letters that occur."""
        return frozenset(part.letter for part in self.parts if isinstance(part, Macro))

    def expand(self, value: Callable[[str], str]) -> str:
        """The text for a message; `value` gives what a letter stands for."""
        return "".join(
            part.expand(value(part.letter)) if isinstance(part, Macro) else part for part in self.parts
        )


def macro_string(text: str) -> MacroString:
    """Read `macro-string`, as in modifiers that nobody knows.

    Raises:
        SpfSyntaxError: against the grammar of section 7.1.
    """
    return _read(text, _LITERAL, allowed="")


def explain_string(text: str) -> MacroString:
    """Read `explain-string`: spaces, and the letters c, r and t, are allowed here.

    Raises:
        SpfSyntaxError: as `macro_string`.
    """
    return _read(text, _LITERAL_OR_SPACE, allowed=EXP_ONLY)


def domain_spec(text: str) -> MacroString:
    """Read `domain-spec`: a macro string that ends in a macro or in a top label.

    Raises:
        SpfSyntaxError: as `macro_string`, or the end is neither.
    """
    spec = macro_string(text)
    if not (_ends_in_macro(text) or _ends_in_toplabel(text)):
        raise SpfSyntaxError(f"not a full domain name: {text[:80]!r} (RFC 7208 section 7.1)")
    return spec


def target_name(spec: MacroString, value: Callable[[str], str]) -> str:
    """The name to ask for: expanded, lower-case, dotted, cut from the left to 253 octets (section 7.3)."""
    name = spec.expand(value).removesuffix(".").lower()
    while _octets(name) > MAX_NAME and "." in name:
        name = name.partition(".")[2]
    return name + "."


def _read(text: str, literal: re.Pattern[str], allowed: str) -> MacroString:
    parts: list[str | Macro] = []
    at = 0
    while at < len(text):
        if plain := literal.match(text, at):
            parts.append(plain[0])
            at = plain.end()
        elif macro := _EXPAND.match(text, at):
            parts.append(_macro(macro, allowed))
            at = macro.end()
        else:
            raise SpfSyntaxError(f"{text[at : at + 12]!r} is no macro and no plain text in {text[:80]!r}")
    return MacroString(text, tuple(parts))


def _macro(match: re.Match[str], allowed: str) -> str | Macro:
    letter, digits, reverse, delimiters, constant = match.groups()
    if constant:
        return _CONSTANTS[constant]
    if letter.lower() in set(EXP_ONLY) - set(allowed):
        raise SpfSyntaxError(f"{match[0]} stands in explanations only (RFC 7208 section 7.2)")
    if digits and not digits.strip("0"):
        raise SpfSyntaxError(f"{match[0]} keeps no part; the number must not be zero (RFC 7208 section 7.3)")
    # More parts than a name can have are all of them; int() refuses thousands of digits.
    keep = int(digits) if digits and len(digits.lstrip("0")) <= len(str(MAX_NAME)) else None
    return Macro(letter.lower(), keep, bool(reverse), delimiters, letter.isupper())


def _ends_in_macro(text: str) -> bool:
    return any(match.end() == len(text) for match in _EXPAND.finditer(text))


def _ends_in_toplabel(text: str) -> bool:
    _, dot, label = text.removesuffix(".").rpartition(".")
    return bool(dot) and _LDH.fullmatch(label) is not None and not label.isdigit()


def _octets(name: str) -> int:
    return len(name.encode("utf-8", "surrogateescape"))

"""What the evaluator asks of DNS: values, nothing, or a failure that may pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from maildns.errors import MaildnsError

MAX_LABEL, MAX_NAME = 63, 253  # octets: RFC 1035 section 2.3.4; the length byte and the root are not counted


class LookupFailedError(MaildnsError):
    """DNS did not say: a timeout, SERVFAIL. Asked again later it may."""


class Lookup(Protocol):
    """A way to ask DNS; aliases (CNAME) are followed behind it."""

    def __call__(self, name: str, type_: str) -> tuple[str, ...]:
        """The values of a set: empty when the name does not exist or has none of that type.

        `name` is lower-case with a final dot, its labels unescaped. Values are those of
        `maildns.records`: a TXT value is the whole text (octets beyond UTF-8 as surrogate
        escapes), MX is `10 mx.example.org.`, PTR a dotted name.

        Raises:
            LookupFailedError: nobody answers, or with an error other than NXDOMAIN.
        """
        ...


class StaticLookup:
    """DNS out of a table, for tests and for what is about to be published."""

    def __init__(
        self, zones: Mapping[tuple[str, str], Iterable[str]], failing: Iterable[tuple[str, str]] = ()
    ) -> None:
        """`zones` maps (name, type) to values; asking one of `failing` raises. A `CNAME` is followed."""
        self._table = {(_dotted(name), type_): tuple(values) for (name, type_), values in zones.items()}
        self._failing = {(_dotted(name), type_) for name, type_ in failing}

    def __call__(self, name: str, type_: str) -> tuple[str, ...]:
        """As in `Lookup`."""
        seen = {name}
        while (name, "CNAME") in self._table:
            name = _dotted(self._table[name, "CNAME"][0])
            if name in seen:
                raise LookupFailedError(f"{name}: aliases in a circle")
            seen.add(name)
        if (name, type_) in self._failing:
            raise LookupFailedError(f"{name} {type_}: no answer")
        return self._table.get((name, type_), ())


def askable(name: str) -> bool:
    """Whether a query can be made of a name: labels of 1 to 63 octets, 253 in all."""
    octets = name.removesuffix(".").encode("utf-8", "surrogateescape")
    return len(octets) <= MAX_NAME and all(0 < len(label) <= MAX_LABEL for label in octets.split(b"."))


def _dotted(name: str) -> str:
    return name.lower().removesuffix(".") + "."

"""Between octoDNS's records and ours. Pure.

octoDNS has a class for each record type and keeps values as parts. Both sides can write a value as a
line of a master file, so that is where they meet; TXT alone needs a dialect. What cannot be
expressed on our side (geo and dynamic answers, health checks, types that only one provider has, odd
values) becomes a set with one opaque value: a plan sees that something is there and whose it is
not, and the adapter never writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from octodns.record import Record, ValuesMixin
from octodns.zone import Zone

from maildns.errors import RecordError
from maildns.records import RrKey, RRset, canonical_name, canonical_value

OPAQUE = "octoDNS: "
"""How a value begins that only octoDNS understands. No canonical value of a type but TXT begins so."""

_HEX = {"DS": 3, "SSHFP": 2, "TLSA": 3}
"""Types that end in hexadecimal digits, and how many words stand before them."""

_LOC_WORDS = 9
"""Words of a LOC up to its altitude; size and precisions may follow (RFC 1876 section 3)."""

_LOC_DEFAULTS = ("1.00m", "10000.00m", "10.00m")

_ESCAPED = re.compile(rb"\\(\d{3})|\\(.)", re.DOTALL)


@dataclass(frozen=True)
class TextDialect:
    """How a provider's octoDNS class takes the text of a TXT value."""

    decode: Callable[[str], str]
    encode: Callable[[str], str]
    cannot: str = ""
    """A regular expression: what it cannot be trusted with."""

    def fault(self, text: str) -> str:
        """Why the text cannot be written; empty when it can."""
        found = re.search(self.cannot, text) if self.cannot else None
        return f"providers differ in how octoDNS hands them {found[0]!a} in a text" if found else ""


def _decode_presentation(value: str) -> str:
    octets = _ESCAPED.sub(
        lambda m: bytes([int(m[1])]) if m[1] else m[2], value.encode("utf-8", "surrogateescape")
    )
    return octets.decode("utf-8", "surrogateescape")


def _encode_presentation(text: str) -> str:
    def escaped(octet: int) -> str:
        if octet in b'"\\;':
            return "\\" + chr(octet)
        return chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03}"  # noqa: PLR2004 - printable ASCII

    return "".join(map(escaped, text.encode("utf-8", "surrogateescape")))


PLAIN = TextDialect(
    decode=lambda value: value.replace("\\;", ";"),
    encode=lambda text: text.replace(";", "\\;"),
    cannot=r'[^\x20-\x7e]|["\\]',
)
"""octoDNS's own (docs/records.md there): semicolons escaped, everything else as it is. What it says about
quotation marks and backslashes, each provider understands in another way."""

PRESENTATION = TextDialect(_decode_presentation, _encode_presentation)
"""What stands between the quotation marks of a master file (RFC 1035 section 5.1): every octet fits."""


def rrset_of(record: Record, dialect: TextDialect) -> RRset:
    """A record as a set of ours, with opaque values where we cannot express it. Never fails."""
    try:
        name = canonical_name(record.fqdn)
    except RecordError:
        name = record.fqdn.lower()
    return RRset(name, record._type, int(record.ttl or 0), frozenset(values_of(record, dialect)))  # noqa: SLF001 - octoDNS has no other


def values_of(record: Record, dialect: TextDialect) -> Mapping[str, Any]:
    """Each value in our spelling to the same value as octoDNS has it."""
    beyond = beyond_us(record)
    if beyond:
        return {f"{OPAQUE}{beyond} {identity(record)}": None}
    held = record.values if isinstance(record, ValuesMixin) else [record.value]
    return {_canonical(record._type, value, dialect): getattr(value, "data", value) for value in held}  # noqa: SLF001


def beyond_us(record: Record) -> str:
    """What a record does beyond holding values; empty when it does nothing else."""
    if getattr(record, "dynamic", None):
        return "dynamic record"
    if getattr(record, "geo", None):
        return "geo record"
    return "health-checked record" if record.octodns.get("healthcheck") else ""


def identity(record: Record) -> str:
    """All that octoDNS knows of a record, in one spelling."""
    return json.dumps(record.data, sort_keys=True, default=str)


def is_opaque(each: RRset) -> bool:
    """Whether a set is beyond us: it is somebody's, and is never written."""
    return each.type != "TXT" and any(value.startswith(OPAQUE) for value in each.rdata)


def record_of(
    each: RRset, zone: Zone, dialect: TextDialect, *, like: Record | None = None, lenient: bool = True
) -> Record:
    """A set as a record of octoDNS.

    Values that `like`, the record it replaces, has already are handed on just as the provider gave
    them, and so is what the provider keeps about the record (`octodns:` in octoDNS's files).

    Raises:
        RecordError: octoDNS cannot express the set.
        octodns.record.ValidationError: it may not hold it, unless `lenient`.
    """
    kind = Record.registered_types().get(each.type)
    if kind is None:
        raise RecordError(f"{each.name} {each.type}: octoDNS does not know the type")
    held = values_of(like, dialect) if like is not None else {}
    values = [held[v] if v in held else _parts(kind, each, v, dialect) for v in sorted(each.rdata)]
    data: dict[str, Any] = {"type": each.type, "ttl": each.ttl}
    if issubclass(kind, ValuesMixin):
        data["values"] = values
    elif len(values) == 1:
        data["value"] = values[0]
    else:
        raise RecordError(f"{each.name} {each.type}: octoDNS holds one value, not {len(values)}")
    if like is not None and like.octodns:
        data["octodns"] = like.octodns
    return Record.new(zone, zone.hostname_from_fqdn(each.name), data, lenient=lenient)


def by_key(zone: Zone, dialect: TextDialect) -> dict[RrKey, Record]:
    """The records of a zone, as we call them."""
    return {rrset_of(record, dialect).key: record for record in zone.records}


def _canonical(type_: str, value: Any, dialect: TextDialect) -> str:  # noqa: ANN401 - one class a type
    if type_ == "TXT":
        return dialect.decode(str(value))
    try:
        return canonical_value(type_, value.to_rdata_text())  # a provider's own types have no such thing
    except (RecordError, AttributeError):
        return f"{OPAQUE}{json.dumps(getattr(value, 'data', value), sort_keys=True, default=str)}"


def _parts(kind: type[Record], each: RRset, value: str, dialect: TextDialect) -> Any:  # noqa: ANN401
    if each.type == "TXT":
        return dialect.encode(value)
    values = kind._value_type  # noqa: SLF001
    try:
        parts = values.from_rdata_text(_as_octodns_reads(each.type, value))
        (back,) = values.process([parts]) if issubclass(kind, ValuesMixin) else (values.process(parts),)
    except Exception as error:  # noqa: BLE001 - each type raises what it likes
        raise RecordError(f"{each.name} {each.type} {value}: octoDNS does not read it ({error})") from None
    if _canonical(each.type, back, dialect) != value:
        raise RecordError(f"{each.name} {each.type} {value}: octoDNS makes {back} of it")
    return parts


def _as_octodns_reads(type_: str, value: str) -> str:
    """A line that splits into its parts at each blank, and leaves none out."""
    words = value.split(" ")
    if type_ in _HEX:
        before = _HEX[type_]
        return " ".join([*words[:before], "".join(words[before:])])
    if type_ == "LOC":
        return " ".join([*words, *_LOC_DEFAULTS[max(0, len(words) - _LOC_WORDS) :]])
    return value

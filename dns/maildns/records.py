"""Resource records as sets, canonical, so that a plan is a comparison (RFC 2181 section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from maildns.errors import RecordError

RrKey = tuple[str, str]
"""(name, type): the name lower-case, absolute and dotted; the type in capitals."""

CHUNK = 255
"""Octets of a TXT character-string (RFC 1035 section 3.3)."""

MAX_RDATA = 65535
"""Octets of a record's data: its length field has 16 bits (RFC 1035 section 3.2.1)."""

MAX_TTL = 2**31 - 1  # RFC 2181 section 8


@dataclass(frozen=True)
class Entry:
    """One value that the world should see, and the sentence that says why."""

    name: str
    type: str
    value: str
    reason: str


@dataclass(frozen=True)
class RRset:
    """All records of one name and type.

    `rdata` is in canonical presentation format as dnspython gives it with absolute names, except
    TXT, where each value is the whole text: chunks of 255 octets exist on the wire only.
    `reasons` says for the operator why each value exists, in the order of `sorted(rdata)`; it
    takes no part in comparison.
    """

    name: str
    type: str
    ttl: int
    rdata: frozenset[str]
    reasons: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> RrKey:
        """What identifies the set in its zone."""
        return (self.name, self.type)

    def explained(self) -> Iterator[tuple[str, str]]:
        """Each value with its reason (empty where nobody gave one), in a stable order."""
        values = sorted(self.rdata)
        reasons = self.reasons if len(self.reasons) == len(values) else ("",) * len(values)
        yield from zip(values, reasons, strict=True)


def canonical_name(text: str) -> str:
    """The name lower-case, absolute and dotted.

    Raises:
        RecordError: not a name, relative, or not in ASCII.
    """
    if not text.isascii():
        raise RecordError(f"{text[:80]!r}: an internationalised name is written as its A-labels, xn--...")
    try:
        name = dns.name.from_text(text, origin=None)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise RecordError(f"not a DNS name: {text[:80]!r} ({error})") from None
    if not name.is_absolute():
        raise RecordError(f"a name here ends in a dot: {text[:80]!r}")
    return name.canonicalize().to_text()


def canonical_value(type_: str, value: str) -> str:
    """A value in the one spelling in which equal records compare equal.

    TXT is taken as whole text, octet by octet (UTF-8, other octets as surrogate escapes). All
    other types are read in presentation format with absolute names.

    Raises:
        RecordError: not a value of that type, or one with a relative name in it.
    """
    return from_rdata(to_rdata(type_, value))


def to_rdata(type_: str, value: str) -> dns.rdata.Rdata:
    """The dnspython form of a value; TXT is cut into chunks of 255 octets.

    Raises:
        RecordError: not a value of that type.
    """
    if type_ == "TXT":
        return _text_rdata(value)
    try:
        rdtype = dns.rdatatype.from_text(type_)
        rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, value, origin=None, relativize=False)
        wire = rdata.to_digestable()  # fails on a relative name
        return dns.rdata.from_wire(dns.rdataclass.IN, rdtype, wire, 0, len(wire))
    except (dns.exception.DNSException, ValueError) as error:
        if isinstance(error, dns.name.NeedAbsoluteNameOrOrigin):
            raise RecordError(f"{type_} {value!r}: a name in a value ends in a dot") from None
        raise RecordError(f"not a value of type {type_}: {value[:120]!r} ({error})") from None


def from_rdata(rdata: dns.rdata.Rdata) -> str:
    """The canonical value of what a server gave."""
    if isinstance(rdata, TXT):
        return b"".join(rdata.strings).decode("utf-8", "surrogateescape")
    wire = rdata.to_digestable()
    return dns.rdata.from_wire(rdata.rdclass, rdata.rdtype, wire, 0, len(wire)).to_text()


def _text_rdata(text: str) -> dns.rdata.Rdata:
    try:
        octets = text.encode("utf-8", "surrogateescape")
    except UnicodeError:
        raise RecordError(f"a text that is not octets: {text[:80]!r}") from None
    chunks = [octets[i : i + CHUNK] for i in range(0, len(octets), CHUNK)] or [b""]
    if sum(len(chunk) + 1 for chunk in chunks) > MAX_RDATA:
        raise RecordError(f"a text of {len(octets)} octets fits no TXT record")
    return TXT(dns.rdataclass.IN, dns.rdatatype.TXT, chunks)


def rrset(name: str, type_: str, ttl: int, values: Iterable[str], reasons: Iterable[str] = ()) -> RRset:
    """Build a canonical set. `reasons` are given in the order of `values`.

    Raises:
        RecordError: a name or value that cannot be published, no value, or a TTL out of range.
    """
    if not 0 <= ttl <= MAX_TTL:
        raise RecordError(f"{name} {type_}: TTL {ttl} is outside 0 to {MAX_TTL}")
    values = tuple(values)
    why: dict[str, list[str]] = {}
    for value, reason in zip(values, tuple(reasons) or ("",) * len(values), strict=True):
        said = why.setdefault(canonical_value(type_, value), [])
        if reason and reason not in said:
            said.append(reason)
    if not why:
        raise RecordError(f"{name} {type_}: a set without values")
    explained = tuple("; ".join(why[value]) for value in sorted(why))
    return RRset(canonical_name(name), type_, ttl, frozenset(why), explained)


def collect(entries: Iterable[Entry], ttl: int) -> tuple[RRset, ...]:
    """Fold values into sets, sorted by name and type; a value said twice keeps both reasons.

    Raises:
        RecordError: as `rrset`, or two values where the RFCs allow one.
    """
    table: dict[RrKey, list[Entry]] = {}
    for entry in entries:
        table.setdefault((canonical_name(entry.name), entry.type), []).append(entry)
    sets = tuple(
        rrset(name, type_, ttl, [e.value for e in group], [e.reason for e in group])
        for (name, type_), group in sorted(table.items())
    )
    _refuse_contradictions(sets)
    return sets


def _refuse_contradictions(sets: Iterable[RRset]) -> None:
    """What no zone may hold, whoever wants it."""
    types: dict[str, set[str]] = {}
    for each in sets:
        types.setdefault(each.name, set()).add(each.type)
        if each.type == "CNAME" and len(each.rdata) > 1:
            raise RecordError(f"{each.name}: two CNAME records")
        if each.type == "MX" and len(each.rdata) > 1 and "0 ." in each.rdata:
            raise RecordError(f"{each.name}: a null MX beside another MX (RFC 7505 section 3)")
        spf = [v for v in each.rdata if each.type == "TXT" and text_tag(v) == "v=spf1"]
        if len(spf) > 1:
            raise RecordError(f"{each.name}: two SPF records, a permanent error (RFC 7208 section 4.5)")
    for name, held in types.items():
        if "CNAME" in held and len(held) > 1:
            other = ", ".join(sorted(held - {"CNAME"}))
            raise RecordError(f"{name}: CNAME beside {other} (RFC 2181 section 10.1)")


def text_tag(text: str) -> str:
    """What kind of record a TXT value is: its `v=` tag or its verification key, lower-case.

    `v=spf1 a -all` gives `v=spf1`, `v=DMARC1; p=none` gives `v=dmarc1`, and
    `google-site-verification=x` gives `google-site-verification`.
    """
    first = text.replace(";", " ").split(" ", 1)[0].lower()
    return first if first.startswith("v=") else first.split("=", 1)[0]

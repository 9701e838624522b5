"""Master files (RFC 1035 section 5): zones as text, for people and for servers that are fed by file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile
from dns.rdtypes.ANY.TXT import TXT

from maildns.errors import RecordError
from maildns.records import CHUNK, RrKey, RRset, canonical_name, from_rdata, to_rdata

_PLACE = re.compile(r"^line:(\d+): ")
_CAUGHT = re.compile(r"caught exception <class '[\w.]+'>: ")

_TIMES = "7200 900 1209600 3600"
"""Refresh, retry, expire, and how long a name's absence is kept: within RFC 1912 2.2 and RFC 2308 5."""


@dataclass(frozen=True)
class Spine:
    """What makes a whole zone out of some records: SOA and NS at its apex."""

    servers: tuple[str, ...]
    """Host names, the primary first."""
    hostmaster: str
    """A mail address."""
    serial: int

    def lines(self) -> Iterator[str]:
        """The two sets.

        Raises:
            RecordError: not host names, or not an address.
        """
        servers = [canonical_name(name) for name in self.servers]
        local, _, domain = self.hostmaster.rpartition("@")
        box = dns.name.Name([local.encode(), *dns.name.from_text(canonical_name(f"{domain}.")).labels])
        yield f"@ IN SOA {servers[0]} {box.to_text()} {self.serial} {_TIMES}"
        yield from (f"@ IN NS {server}" for server in servers)


def write_zone(
    zone: str, rrsets: Iterable[RRset], about: Iterable[str] = (), spine: Spine | None = None
) -> str:
    """The records as a master file, each after a comment with its reason. The same sets give the same text.

    `about` is the comment at the top. Without a `spine` the file is a part of a zone, to be put into
    one. The file sets its own origin and TTL, so that several can stand in one after the other.

    Raises:
        RecordError: a spine that cannot be written.
    """
    origin = dns.name.from_text(zone)
    placed = [(dns.name.from_text(each.name), each) for each in rrsets]
    placed.sort(key=lambda pair: (pair[0], pair[1].type))
    usual = Counter(each.ttl for _, each in placed).most_common(1)
    ttl = usual[0][0] if usual else 3600
    lines = [*(_comment(line) for line in about), f"$ORIGIN {zone}", f"$TTL {ttl}"]
    lines += ["", *spine.lines()] if spine else []
    for name, each in placed:
        # Below the root, names stand in full: such records are pasted into many zones.
        shown = name.to_text() if zone == "." else name.relativize(origin).to_text()
        own = "" if each.ttl == ttl else f"{each.ttl} "
        for value, reason in each.explained():
            lines += ["", _comment(reason)] if reason else [""]
            lines.append(f"{shown} {own}IN {each.type} {_value(each.type, value)}")
    return "\n".join(lines) + "\n"


def read_zone(text: str, zone: str) -> tuple[RRset, ...]:
    """The sets of a master file, whether or not it is a whole zone; nothing is left out.

    `zone` is the origin until the file names one. Sets that no zone may hold (a CNAME beside others)
    are given as they stand.

    Raises:
        RecordError: not a master file; the message says near which line.
    """
    found = _Found()
    reader = dns.zonefile.Reader(
        dns.tokenizer.Tokenizer(text, "line"),
        dns.rdataclass.IN,
        cast("Any", found),
        allow_directives=("$GENERATE", "$ORIGIN", "$TTL"),
        default_ttl=3600,
    )
    try:
        reader.current_origin = reader.last_name = dns.name.from_text(zone)
        reader.read()
    except (dns.exception.DNSException, ValueError, UnicodeError) as error:
        raise RecordError(f"not a master file: {_plain(str(error))}") from None
    return tuple(
        RRset(*key, found.ttls[key], frozenset(values)) for key, values in sorted(found.values.items())
    )


class _Found:
    """Takes records as dnspython's reader finds them, in place of its zones.

    These pass over what is out of zone, and let a CNAME and what stands beside it replace each other.
    """

    def __init__(self) -> None:
        self.values: dict[RrKey, set[str]] = {}
        self.ttls: dict[RrKey, int] = {}

    @property
    def manager(self) -> _Found:
        return self

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return dns.name.root, False, dns.name.root

    def check_put_rdataset(self, check: object) -> None:
        """Nothing is checked."""

    def _set_origin(self, origin: dns.name.Name | None) -> None:
        """Names come absolute."""

    def add(self, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
        key = name.canonicalize().to_text(), dns.rdatatype.to_text(rdata.rdtype)
        self.values.setdefault(key, set()).add(from_rdata(rdata))
        self.ttls[key] = min(ttl, self.ttls.get(key, ttl))  # one for a set (RFC 2181 section 5.2)


def _comment(text: str) -> str:
    """One line, whatever is in it: a line break would begin a record."""
    return f"; {' '.join(text.split())}".rstrip()


def _value(type_: str, value: str) -> str:
    rdata = to_rdata(type_, value)
    if not isinstance(rdata, TXT) or len(value) <= CHUNK:
        return rdata.to_text()
    chunks = (TXT(rdata.rdclass, rdata.rdtype, [chunk]).to_text() for chunk in rdata.strings)
    return "(\n    " + "\n    ".join(chunks) + " )"


def _plain(message: str) -> str:
    """What dnspython says, without its class names: `near line 3: ...`"""
    return _CAUGHT.sub("", _PLACE.sub(r"near line \1: ", message))

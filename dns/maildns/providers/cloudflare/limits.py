"""What Cloudflare cannot hold.

https://developers.cloudflare.com/dns/manage-dns-records/reference/dns-record-types/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from maildns.providers.cloudflare.codec import WRITABLE, fields_of
from maildns.records import RRset, to_rdata

TTLS = range(60, 86_400 + 1)
"""Seconds. 30 is possible on Enterprise only, and 1 means that Cloudflare chooses."""

MAX_WIRE = 4096
"""Octets of one record's data."""

MAX_CONTENT = 8192
"""Characters of all values of one name and type, as they are written."""


def unholdable(rrsets: Iterable[RRset]) -> Iterator[str]:
    """One sentence for each set that the API would refuse."""
    for each in rrsets:
        yield from (f"{each.name} {each.type}: {why}" for why in _why_not(each))


def _why_not(each: RRset) -> Iterator[str]:
    if each.type not in WRITABLE:
        yield f"Cloudflare is given no records of this type here, only {', '.join(sorted(WRITABLE))}"
        return
    if each.ttl not in TTLS:
        yield f"TTL {each.ttl} is outside {TTLS[0]} to {TTLS[-1]}, which is what Cloudflare holds"
    if each.type == "TXT" and "" in each.rdata:
        yield "Cloudflare holds no empty text"
    large = [v for v in each.rdata if len(to_rdata(each.type, v).to_digestable()) > MAX_WIRE]
    if large:
        yield f"a record of more than {MAX_WIRE} octets, which is all that Cloudflare holds"
    if sum(len(_content(each.type, value)) for value in each.rdata) > MAX_CONTENT:
        yield f"values of more than {MAX_CONTENT} characters together, which is all that Cloudflare holds"


def _content(type_: str, value: str) -> str:
    fields = fields_of(type_, value)
    return str(fields["content"]) if "content" in fields else value

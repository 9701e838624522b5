"""Between records as Cloudflare's API writes them and ours.

A record is a JSON object. Names have no dot at the end and are A-labels; `content` is the value,
but for MX, whose preference is `priority`, and for SRV, CAA, TLSA and SSHFP, which are read and
written in the fields of `data`. TXT is quoted character-strings (RFC 1035 section 5.1), yet older
records are plain text. The API gives some numbers as fractions and TLSA in capitals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from maildns.errors import RecordError
from maildns.records import canonical_name, canonical_value, from_rdata, to_rdata

AUTOMATIC = 1
"""The TTL that stands for Cloudflare's own choice ..."""

AUTOMATIC_SECONDS = 300
"""... which this is (https://developers.cloudflare.com/dns/manage-dns-records/reference/ttl/)."""

PROXIABLE = frozenset({"A", "AAAA", "CNAME"})

_Fields = dict[str, Any]


def name_of(text: str) -> str:
    """A name as we write it. The API's are A-labels; zones made long ago may be in Unicode.

    Raises:
        RecordError: not a name.
    """
    absolute = text.rstrip(".") + "."
    if not absolute.isascii():
        try:
            absolute = dns.name.from_text(absolute, idna_codec=dns.name.IDNA_2008_Practical).to_text()
        except dns.exception.DNSException:
            raise RecordError(f"not a DNS name: {text[:80]!r}") from None
    return canonical_name(absolute)


def api_name(name: str) -> str:
    """A name as the API writes it: without the dot, except the root."""
    return name.removesuffix(".") or "."


def ttl_of(raw: Mapping[str, Any]) -> int:
    """Seconds that the world sees."""
    ttl = int(raw["ttl"])
    return AUTOMATIC_SECONDS if ttl == AUTOMATIC else ttl


def value_of(raw: Mapping[str, Any]) -> str:
    """The canonical value of a record; of one that we cannot read, its content as it is."""
    type_, content, data = raw["type"], raw.get("content") or "", raw.get("data") or {}
    if type_ == "TXT":
        return _text(content)
    try:
        if type_ == "MX":
            return canonical_value(type_, f"{int(raw['priority'])} {_dotted(content)}")
        if type_ in _HOSTS:
            return canonical_value(type_, _dotted(content))
        if type_ in _FROM_DATA:
            return canonical_value(type_, _FROM_DATA[type_](data))
        return canonical_value(type_, content)
    except (RecordError, KeyError, TypeError, ValueError):
        return str(content)


def fields_of(type_: str, value: str) -> _Fields:
    """What says this value in a request.

    Raises:
        RecordError: a type that is not written here, or not a value of it.
    """
    rdata = to_rdata(type_, value)
    if type_ in {"A", "AAAA"}:
        return {"content": value}
    if type_ == "TXT":
        return {"content": rdata.to_text()}
    if type_ in _HOSTS:
        return {"content": api_name(value)}
    if type_ == "MX":
        priority, host = value.split()
        return {"content": api_name(host), "priority": int(priority)}
    if type_ in _TO_DATA:
        return {"data": _TO_DATA[type_](rdata)}
    raise RecordError(f"records of type {type_} are not written through Cloudflare's API here")


def _text(content: str) -> str:
    if not content.startswith('"'):
        return content  # from before Cloudflare asked for quotes
    try:
        return from_rdata(dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, content))
    except dns.exception.DNSException:
        return content


def _dotted(host: str) -> str:
    return host if host.endswith(".") else name_of(host)


_HOSTS = frozenset({"CNAME", "NS", "PTR"})


def _srv(data: Mapping[str, Any]) -> str:
    numbers = (int(data[key]) for key in ("priority", "weight", "port"))
    return f"{' '.join(map(str, numbers))} {_dotted(data['target'])}"


def _caa(data: Mapping[str, Any]) -> str:
    value = str(data["value"]).replace("\\", "\\\\").replace('"', '\\"')
    return f'{int(data["flags"])} {data["tag"]} "{value}"'


_FROM_DATA: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "SRV": _srv,
    "CAA": _caa,
    "TLSA": lambda d: f"{int(d['usage'])} {int(d['selector'])} {int(d['matching_type'])} {d['certificate']}",
    "SSHFP": lambda d: f"{int(d['algorithm'])} {int(d['type'])} {d['fingerprint']}",
}

_TO_DATA: dict[str, Callable[[Any], _Fields]] = {
    "SRV": lambda r: {
        "priority": r.priority,
        "weight": r.weight,
        "port": r.port,
        "target": api_name(r.target.to_text()),
    },
    "CAA": lambda r: {"flags": r.flags, "tag": r.tag.decode(), "value": r.value.decode("utf-8", "replace")},
    "TLSA": lambda r: {
        "usage": r.usage,
        "selector": r.selector,
        "matching_type": r.mtype,
        "certificate": r.cert.hex(),
    },
    "SSHFP": lambda r: {"algorithm": r.algorithm, "type": r.fp_type, "fingerprint": r.fingerprint.hex()},
}

WRITABLE = frozenset({"A", "AAAA", "MX", "TXT", *_HOSTS, *_TO_DATA})
"""The types that we publish; all others are read and left alone."""

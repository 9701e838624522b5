"""What Cloudflare makes of a record that it is given: checked, and in the spelling it answers with.

Facts: names are complete and in Punycode, and one that does not end in the zone's name gets it
appended; TTL is 1 or 60 to 86,400; only A, AAAA and CNAME can be proxied, and then the TTL is 1; MX
has its preference in `priority`; SRV, CAA, TLSA and SSHFP must come in the fields of `data`, and
TLSA goes back in capitals; TXT is printable ASCII, strings in quotes of at most 255 octets, longer
ones are split, and text without quotes is kept as it is; hosts lose their last dot, except the root;
addresses come back in RFC 5952 form; one record is at most 4,096 octets; a comment is one line of
100 characters on the free plan and 500 on others; tags are not for the free plan.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from tests.dns.cloudflare_fake.errors import invalid

TYPES = {
    "A", "AAAA", "CAA", "CERT", "CNAME", "DNSKEY", "DS", "HTTPS", "LOC", "MX", "NAPTR", "NS",
    "OPENPGPKEY", "PTR", "SMIMEA", "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI",
}  # fmt: skip
HOSTS = {"CNAME", "NS", "PTR"}
PROXIABLE = {"A", "AAAA", "CNAME"}
DATA = {
    "SRV": ("priority", "weight", "port", "target"),
    "CAA": ("flags", "tag", "value"),
    "TLSA": ("usage", "selector", "matching_type", "certificate"),
    "SSHFP": ("algorithm", "type", "fingerprint"),
}
KNOWN = {"id", "name", "type", "content", "data", "priority", "ttl", "proxied", "comment", "tags", "settings"}

_HOST = re.compile(r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}")
_STRING = re.compile(r'"((?:[^"\\]|\\\d{3}|\\\D)*)"\s*')
_ESCAPE = re.compile(r"\\(\d{3}|\D)|([^\\])", re.DOTALL)


def normal(body: dict[str, Any], zone: str, *, paid: bool) -> dict[str, Any]:
    """The record as it is stored: every field present."""
    for unknown in set(body) - KNOWN:
        raise invalid(1004, f"{unknown} is not a field of a record")
    type_ = body.get("type")
    if type_ not in TYPES:
        raise invalid(1004, f"{type_} is not a type of record")
    proxied = body.get("proxied", False)
    if not isinstance(proxied, bool) or (proxied and type_ not in PROXIABLE):
        raise invalid(9041, "Invalid proxied mode. Record cannot be proxied")
    record = {
        "name": _name(body.get("name"), zone),
        "type": type_,
        "ttl": 1 if proxied else _ttl(body.get("ttl", 1)),
        "proxied": proxied,
        "proxiable": type_ in PROXIABLE,
        "comment": _comment(body.get("comment"), 500 if paid else 100),
        "tags": _tags(body.get("tags") or [], paid=paid),
    }
    return record | _value(type_, body)


def _name(name: object, zone: str) -> str:
    if not isinstance(name, str) or not name:
        raise invalid(1004, "name is required")
    name = name.removesuffix(".").lower()
    if name == "@":
        name = zone
    if not name.isascii():
        name = name.encode("idna").decode()
    if name != zone and not name.endswith(f".{zone}"):
        name = f"{name}.{zone}"
    if len(name) > 253 or any(not 0 < len(label) < 64 for label in name.split(".")):
        raise invalid(1004, "DNS name is too long")
    return name


def _ttl(ttl: object) -> int:
    if not isinstance(ttl, int | float) or ttl != int(ttl) or not (ttl == 1 or 60 <= ttl <= 86400):
        raise invalid(9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic.")
    return int(ttl)


def _comment(comment: object, limit: int) -> str | None:
    if comment is None or comment == "":
        return None
    if not isinstance(comment, str) or "\n" in comment or "\r" in comment:
        raise invalid(1004, "DNS record comment has invalid characters")
    if len(comment) > limit:
        raise invalid(9313, f"DNS record comment exceeds the maximum length of {limit} characters.")
    return comment


def _tags(tags: list[str], *, paid: bool) -> list[str]:
    if tags and not paid:
        raise invalid(9301, f"DNS record has {len(tags)} tags, exceeding the quota of 0.")
    return tags


def _value(type_: str, body: dict[str, Any]) -> dict[str, Any]:
    if type_ in DATA:
        return _from_data(type_, body.get("data"))
    content = body.get("content")
    if not isinstance(content, str):
        raise invalid(1004, "content is required")
    if type_ in _ADDRESSES:
        return {"content": _address(content, *_ADDRESSES[type_])}
    if type_ == "MX":
        priority = _number(body.get("priority"), "priority", 65535)
        return {"content": _host(content, type_), "priority": priority}
    if type_ in HOSTS:
        return {"content": _host(content, type_)}
    return {"content": _text(content) if type_ == "TXT" else content}


_ADDRESSES: dict[str, tuple[type, int, str]] = {
    "A": (ipaddress.IPv4Address, 9005, "A record must be a valid IPv4"),
    "AAAA": (ipaddress.IPv6Address, 9006, "AAAA record must be a valid IPv6"),
}


def _address(content: str, kind: type, code: int, what: str) -> str:
    try:
        return str(kind(content))
    except ValueError:
        raise invalid(code, f"Content for {what} address.") from None


def _host(content: str, type_: str) -> str:
    host = content.removesuffix(".") or "."
    root = host == "." and type_ in {"MX", "SRV"}
    if not root and (len(host) > 253 or not _HOST.fullmatch(host)):
        raise invalid(9009, f"Content for {type_} record must be a hostname.")
    return host


def _number(value: object, field: str, most: int) -> int:
    if not isinstance(value, int | float) or value != int(value) or not 0 <= value <= most:
        raise invalid(9101, f"{field} is a required data field.")
    return int(value)


def _from_data(type_: str, data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise invalid(9101, f"{DATA[type_][0]} is a required data field.")
    for field in DATA[type_]:
        if field not in data:
            raise invalid(9101, f"{field} is a required data field.")
    if type_ == "SRV":
        fields: dict[str, Any] = {f: _number(data[f], f, 65535) for f in ("priority", "weight", "port")}
        fields["target"] = _host(data["target"], "SRV")
        content = f"{fields['weight']} {fields['port']} {fields['target']}"
        return {"data": fields, "content": content, "priority": fields["priority"]}
    if type_ == "CAA":
        fields = {"flags": _number(data["flags"], "flags", 255), "tag": data["tag"], "value": data["value"]}
        return {"data": fields, "content": f'{fields["flags"]} {fields["tag"]} "{fields["value"]}"'}
    *numbers, last = DATA[type_]
    fields = {f: _number(data[f], f, 255) for f in numbers}
    try:
        fields[last] = bytes.fromhex(data[last]).hex().upper()
    except (TypeError, ValueError):
        raise invalid(9101, f"{last} is a required data field.") from None
    return {"data": fields, "content": " ".join(map(str, fields.values()))}


def _text(content: str) -> str:
    if re.search(r"[^\x20-\x7e]", content):
        raise invalid(9051, "Invalid TXT record. Record may only contain printable ASCII!")
    if '"' not in content:
        if not content:
            raise invalid(1004, "Content for TXT record must not be empty.")
        return content
    strings, at = [], 0
    while at < len(content):
        match = _STRING.match(content, at)
        if match is None:
            raise invalid(1004, "Content for TXT record has inconsistent quotation marks.")
        strings.append(list(_ESCAPE.finditer(match[1])))
        at = match.end()
    if not any(strings):
        raise invalid(1004, "Content for TXT record must not be empty.")
    pieces = [string[i : i + 255] for string in strings for i in range(0, len(string), 255)]
    if sum(len(piece) + 1 for piece in pieces) > 4096:
        raise invalid(1004, "DNS record exceeds the maximum wire format size of 4096 bytes.")
    return " ".join('"' + "".join(match[0] for match in piece) + '"' for piece in pieces)

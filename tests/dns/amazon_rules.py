"""What Amazon documents of ChangeResourceRecordSets and moto does not keep, with Amazon's messages.

moto lets pass: values in a wrong form, a CNAME beside other records, a DELETE of what is no longer so,
too many characters, and half a batch.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator

TYPES = "A AAAA CAA CNAME DS HTTPS MX NAPTR NS PTR SOA SPF SRV SSHFP SVCB TLSA TXT"
CHUNK = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]|\\[0-3][0-7]{2})*)"')
OCTET = re.compile(r"\\[0-3][0-7]{2}|\\.|.")

Wanted = tuple[str, str, str, int, tuple[str, ...] | None]
"""Action, name, type, TTL and values of one change; no values of an alias."""

Content = dict[tuple[str, str], tuple[int, frozenset[str]] | None]
"""A zone: name and type to TTL and values; `None` for aliases and their like."""


def refusals(
    changes: Iterable[Wanted], zone: Content, apex: str, count: int, characters: int
) -> Iterator[str]:
    """Why Amazon would not make this batch; it looks at one change after the other."""
    if count > 1000:
        yield "Number of records limit of 1000 exceeded."
    if characters > 32000:
        yield "RDATA character limit of 32000 exceeded."
    touched: Counter[tuple[str, str, str]] = Counter()
    for action, name, type_, ttl, values in changes:
        what = f"resource record set [name='{name}', type='{type_}']"
        new = None if values is None else (ttl, frozenset(values))
        touched[action, name, type_] += 1
        if touched[action, name, type_] > 1:
            yield f"The request contains an invalid set of changes for a resource record set '{type_} {name}'"
        if name != apex and not name.endswith("." + apex):
            yield f"RRSet with DNS name {name} is not permitted in zone {apex}"
        if action == "DELETE":
            yield from _delete_refusals(what, (name, type_), new, zone, apex)
            continue
        if action == "CREATE" and (name, type_) in zone:
            yield f"Tried to create {what} but it already exists"
        yield from _value_refusals(type_, values)
        yield from _neighbour_refusals(name, type_, zone, apex)
        zone[name, type_] = new


def _delete_refusals(
    what: str, key: tuple[str, str], said: tuple[int, frozenset[str]] | None, zone: Content, apex: str
) -> Iterator[str]:
    if key not in zone:
        yield f"Tried to delete {what} but it was not found"
    elif zone.pop(key) != said:
        yield f"Tried to delete {what} but the values provided do not match the current values"
    if key[0] == apex and key[1] in {"NS", "SOA"}:
        yield f"A HostedZone must contain at least one {key[1]} record for the zone itself."


def _neighbour_refusals(name: str, type_: str, zone: Content, apex: str) -> Iterator[str]:
    types = {t for n, t in zone if n == name and t != type_}
    if type_ == "CNAME" and name == apex:
        yield f"RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {apex}"
    elif type_ == "CNAME" and types:
        yield (
            f"RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records "
            f"with the same DNS name in zone {apex}"
        )
    elif "CNAME" in types:
        yield (
            f"RRSet of type {type_} with DNS name {name} is not permitted because a conflicting RRSet of "
            f"type CNAME with the same DNS name already exists in zone {apex}"
        )


def _value_refusals(type_: str, values: tuple[str, ...] | None) -> Iterator[str]:
    if values is None:
        return
    if type_ not in TYPES.split():
        yield f"Value '{type_}' at 'type' failed to satisfy constraint"
    if not values:
        yield "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]]"
    if len(values) > 400:
        yield "Cannot have more than 400 records in a RRSet."
    if len(set(values)) != len(values):
        yield "Duplicate Resource Record"
    for value in values:
        problem = "TooLong" if len(value) > 4000 else _problem(type_, value)
        if problem:
            yield f"Invalid Resource Record: FATAL problem: {problem} encountered with '{value}'"


def _problem(type_: str, value: str) -> str | None:
    if any(not " " <= c <= "~" for c in value):
        return "UnsupportedCharacter (Value contains unsupported characters)"
    if type_ in {"A", "AAAA"}:
        try:
            version = ipaddress.ip_address(value).version
        except ValueError:
            version = 0
        return None if version == (4 if type_ == "A" else 6) else "ARRDATAIllegalIPAddress"
    if type_ in {"TXT", "SPF"}:
        chunks = CHUNK.findall(value)
        if " ".join(f'"{chunk}"' for chunk in chunks) != value:
            return "InvalidCharacterString (Value should be enclosed in quotation marks)"
        if any(len(OCTET.findall(chunk)) > 255 for chunk in chunks):
            return "CharacterStringTooLong (Value is too long)"
    return None

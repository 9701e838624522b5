r"""Between our sets and Amazon's ResourceRecordSet.

Amazon's presentation format is a master file's but for one thing: where RFC 1035 section 5.1 escapes an
octet as `\DDD` in decimal, Amazon takes and gives octal, and in names everything that is not a letter,
digit, hyphen or underscore comes back so: `\052` is the asterisk of a wildcard (Route 53 Developer
Guide, "DNS domain name format" and "Supported DNS record types").
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from maildns.records import RrKey, RRset, from_rdata, to_rdata

Raw = Mapping[str, Any]
"""A ResourceRecordSet as boto3 gives and takes it."""

TYPES = frozenset(
    "A AAAA CAA CNAME DS HTTPS MX NAPTR NS PTR SOA SPF SRV SSHFP SVCB TLSA TXT".split()  # noqa: SIM905
)
"""What Route 53 holds."""

_SIMPLE = {"Name", "Type", "TTL", "ResourceRecords"}
"""The members of a set that is nothing but DNS; with any other it is an alias or has a routing policy."""

_PLAIN = frozenset((string.ascii_lowercase + string.digits + "-_").encode())
_TOKEN = re.compile(r"\\\d{3}|\\.|.", re.DOTALL)
_OCTAL = re.compile(r"\\([0-3][0-7]{2})|\\.", re.DOTALL)


def encode_name(name: str) -> str:
    """A canonical name as Amazon lists it."""
    labels = dns.name.from_text(name).labels[:-1]
    return "".join("".join(map(_octet, label)) + "." for label in labels)


def decode_name(text: str) -> str:
    """A name as Amazon lists it, canonical.

    Raises:
        dns.exception.DNSException: not a name.
    """
    return dns.name.from_text(_decimal(text)).canonicalize().to_text()


def encode(each: RRset) -> dict[str, Any]:
    """A set as Amazon takes it: values in a stable order, TXT in quoted chunks of 255 octets.

    Raises:
        RecordError: a value is not one of its type.
    """
    return {
        "Name": encode_name(each.name),
        "Type": each.type,
        "TTL": each.ttl,
        "ResourceRecords": [{"Value": encode_value(each.type, value)} for value in sorted(each.rdata)],
    }


def encode_value(type_: str, value: str) -> str:
    """One canonical value in Amazon's spelling.

    Raises:
        RecordError: not a value of that type.
    """
    # Without chunksize dnspython cuts long hexadecimal fields into words.
    return _octal(to_rdata(type_, value).to_text(chunksize=0))


def decode(raw: Raw) -> RRset:
    """A simple set from Amazon's spelling. Names in values are absolute there, dotted or not.

    Raises:
        dns.exception.DNSException, ValueError: a value that cannot be read.
    """
    rdtype = dns.rdatatype.from_text(raw["Type"])
    values = (
        dns.rdata.from_text(
            dns.rdataclass.IN, rdtype, _decimal(r["Value"]), origin=dns.name.root, relativize=False
        )
        for r in raw["ResourceRecords"]
    )
    return RRset(*key_of(raw), raw["TTL"], frozenset(map(from_rdata, values)))


def key_of(raw: Raw) -> RrKey:
    """Name and type, canonical."""
    return (decode_name(raw["Name"]), raw["Type"])


def special(raw: Raw) -> str | None:
    """What makes this more than a DNS record set, as words for the operator; `None` where nothing does."""
    alias = raw.get("AliasTarget")
    if alias is not None:
        return f"an alias of {alias['DNSName']}"
    if "TrafficPolicyInstanceId" in raw:
        return "part of a traffic policy"
    if set(raw) - _SIMPLE:
        return f"a set with a routing policy ({raw.get('SetIdentifier', 'without an identifier')})"
    return None


def _octet(octet: int) -> str:
    return chr(octet) if octet in _PLAIN else f"\\{octet:03o}"


def _octal(text: str) -> str:
    r"""Decimal escapes become octal ones; in a quoted string `\"` and `\\` stay."""
    quoted = False
    spelled = []
    for token in _TOKEN.findall(text):
        if token == '"':  # noqa: S105 - of the text
            quoted = not quoted
        escaped = token.startswith("\\") and not (quoted and token in {'\\"', "\\\\"})
        spelled.append(f"\\{_code(token[1:]):03o}" if escaped else token)
    return "".join(spelled)


def _code(escape: str) -> int:
    return int(escape) if len(escape) > 1 else ord(escape)


def _decimal(text: str) -> str:
    return _OCTAL.sub(lambda match: f"\\{int(match[1], 8):03d}" if match[1] else match[0], text)

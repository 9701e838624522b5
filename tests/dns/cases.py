"""Every kind of record that a fleet may want, one set each.

A provider holds it, or documents that it cannot: the names are what `Target.cannot` speaks of. Each
set lies at a name of its own, the apex excepted.
"""

from __future__ import annotations

import base64
import random

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maildns.records import RRset, rrset

TTL = 600


def dkim_text(bits: int, seed: int = 0) -> str:
    """A key record of that size. Nobody holds the private half: the modulus is merely a number."""
    modulus = random.Random(seed).getrandbits(bits) | 1 | 1 << (bits - 1)  # noqa: S311 - no secret
    key = RSAPublicNumbers(65537, modulus).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


_HOST = "mail.example.net."

_RECORDS: dict[str, tuple[str, str, list[str]]] = {
    # Apex
    "apex-a": ("", "A", ["192.0.2.80"]),
    "apex-mx": ("", "MX", [f"10 {_HOST}", "20 mail2.example.net."]),
    "apex-txt": ("", "TXT", ["v=spf1 a -all", "site-verification=AbC"]),
    "apex-caa": ("", "CAA", ['0 issue "ca.example.net"', '0 iodef "mailto:security@example.net"']),
    # Every type that the fleet publishes
    "a": ("host", "A", ["192.0.2.1"]),
    "aaaa": ("host", "AAAA", ["2001:db8::1"]),
    "mx": ("host", "MX", [f"10 {_HOST}"]),
    "mx-equal": ("mx-equal", "MX", [f"10 {_HOST}", "10 mail2.example.net.", "0 mail3.example.net."]),
    "null-mx": ("null-mx", "MX", ["0 ."]),
    "cname": ("alias", "CNAME", ["host.example.net."]),
    "ptr": ("21.100", "PTR", [_HOST]),
    "srv": ("_submissions._tcp", "SRV", [f"0 1 465 {_HOST}", f"10 0 465 {_HOST}"]),
    "srv-none": ("_imap._tcp", "SRV", ["0 0 0 ."]),
    "caa-none": ("caa-none", "CAA", ['0 issue ";"', '0 issuewild ";"']),
    "caa-parameters": (
        "caa-parameters",
        "CAA",
        ['0 issue "ca.example.net; accounturi=https://ca.example.net/acct/1; validationmethods=dns-01"'],
    ),
    "caa-critical": ("caa-critical", "CAA", ['128 issue "ca.example.net"']),
    "tlsa": ("_25._tcp.mail", "TLSA", ["3 1 1 " + "0a" * 32, "3 1 1 " + "f0" * 32]),
    "tlsa-whole": ("_465._tcp.mail", "TLSA", ["2 0 0 " + "5c" * 300]),
    # Names
    "wildcard-a": ("*.click", "A", ["192.0.2.3"]),
    "wildcard-mx": ("*", "MX", ["0 ."]),
    "wildcard-txt": ("*", "TXT", ["v=spf1 -all"]),
    "wildcard-cname": ("*.track", "CNAME", ["host.example.net."]),
    "idn": ("xn--bcher-kva", "A", ["192.0.2.4"]),
    "idn-target": ("idn-target", "MX", ["10 mail.xn--bcher-kva.example."]),
    "deep-name": (".".join("abcdefghijklmnop"), "A", ["192.0.2.5"]),
    "long-label": ("x" * 63, "A", ["192.0.2.6"]),
    "underscores": ("s1._domainkey.a_b", "TXT", ["v=DKIM1; p="]),
    # Many values
    "sixty-values": ("sixty", "A", [f"192.0.2.{n}" for n in range(60)]),
    "twenty-texts": ("twenty", "TXT", [f"verification-{n}={'v' * n}" for n in range(20)]),
    # Texts
    **{f"text-{n}": (f"_t{n}", "TXT", ["t" * n]) for n in (0, 1, 254, 255, 256, 511, 765, 2000, 4000)},
    "text-blanks": ("_blanks", "TXT", [" at either end  ", "in  the   middle"]),
    "text-only-blanks": ("_only-blanks", "TXT", ["   "]),
    "text-quotes": ("_quotes", "TXT", ['"', 'a "quoted" word', '"all of it"', "'"]),
    "text-semicolons": ("_semicolons", "TXT", ["v=X; a=b;; c=d;", ";", r"v=X\; a=b"]),
    "text-backslashes": ("_backslashes", "TXT", ["\\", "a\\", '\\"', r"\032\\ \100 \x"]),
    "text-case": ("_case", "TXT", ["MiXeD", "mixed", "MIXED"]),
    "text-marks": ("_marks", "TXT", ["(a) $ORIGIN @ # %{i}._spf.%{d2} {b} <c>, &amp; `d` | ~e"]),
    "text-quote-on-the-edge": ("_edge", "TXT", ["x" * 254 + '"' + "\\" + "y" * 300]),
    "text-control": ("_control", "TXT", ["tab\there", "line\nbreak\r\n"]),
    "text-unicode": ("_unicode", "TXT", ["ünïcode \u2709"]),
    "text-octets": ("_octets", "TXT", ["\udcff an octet that is no UTF-8"]),
    # Keys
    "dkim-2048": ("k2048._domainkey", "TXT", [dkim_text(2048)]),
    "dkim-4096": ("k4096._domainkey", "TXT", [dkim_text(4096)]),
    "dkim-ed25519": ("ed._domainkey", "TXT", ["v=DKIM1; k=ed25519; p=" + "A" * 43 + "="]),
    # TTLs
    **{f"ttl-{ttl}": (f"ttl{ttl}", "A", ["192.0.2.7"]) for ttl in (0, 1, 60, 86_400, 2_147_483_647)},
}

CASES = tuple(_RECORDS)


def wanted(zone: str) -> dict[str, RRset]:
    """Each case as a set in the zone."""
    return {case: _rrset(case, zone, *record) for case, record in _RECORDS.items()}


def _rrset(case: str, zone: str, label: str, type_: str, values: list[str]) -> RRset:
    ttl = int(case.removeprefix("ttl-")) if case.startswith("ttl-") else TTL
    return rrset(f"{label}.{zone}" if label else zone, type_, ttl, values)

"""DNS blocklists (RFC 5782): names to ask for, and what the answers mean. Pure.

A list that refuses to answer looks like a clean bill of health to the careless: NXDOMAIN. So each list is
first asked for its test entries; what it says about us counts only if it says the right thing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Literal

from maildns.asking.authority import AskError
from maildns.judging.check import State, Verdict

KIND = "blocklists"

Reply = frozenset[str] | AskError
"""The A records of an entry, empty where it is not listed; or why nobody says."""

_CODES = IPv4Network("127.0.0.0/8")  # RFC 5782 section 2.1
_REFUSED = (
    IPv4Network("127.255.255.0/24"),  # Spamhaus: wrong name, public resolver, too many queries
    IPv4Network("127.0.0.1/32"),  # URIBL and others: query refused; RFC 5782 wants it listed nowhere
    IPv4Network("127.0.1.255/32"),  # Spamhaus DBL: asked for an address
)


@dataclass(frozen=True)
class Blocklist:
    """A list: its zone, and what it lists."""

    zone: str
    """Absolute and dotted."""
    of: Literal["addresses", "domains"]
    ipv6: bool = False
    """Whether it lists IPv6 addresses, too."""
    listed: str = ""
    """A domain that is always listed, where that is not `test` (RFC 5782 section 5)."""

    def takes(self, entry: str) -> bool:
        """Whether the list could hold this address or domain at all."""
        address = _address(entry)
        if address is None:
            return self.of == "domains"
        return self.of == "addresses" and (self.ipv6 or isinstance(address, IPv4Address))

    def name(self, entry: str) -> str:
        """The name to ask for: the address's octets or nibbles reversed, or the domain, before the zone."""
        address = _address(entry)
        if address is None:
            return f"{entry.removesuffix('.')}.{self.zone}"
        return f"{address.reverse_pointer.rsplit('.', 2)[0]}.{self.zone}"

    def tests(self, entry: str) -> tuple[str, str]:
        """The entry that must be listed and the one that must not (RFC 5782 sections 2.3, 2.4 and 5)."""
        address = _address(entry)
        if address is None:
            return self.listed or "test", "invalid"
        six = isinstance(address, IPv6Address)
        return ("::ffff:7f00:2", "::ffff:7f00:1") if six else ("127.0.0.2", "127.0.0.1")


DEFAULTS = (
    Blocklist("zen.spamhaus.org.", "addresses", ipv6=True),
    Blocklist("b.barracudacentral.org.", "addresses"),
    Blocklist("bl.spamcop.net.", "addresses"),
    Blocklist("dbl.spamhaus.org.", "domains", listed="dbltest.com"),
)
"""The lists whose word keeps most mail out."""


def distrust(blocklist: Blocklist, must: Reply, must_not: Reply) -> str | None:
    """Why the list's answers mean nothing here, by its two test entries; `None` when they do."""
    for reply in (must, must_not):
        if isinstance(reply, AskError):
            return str(reply)
    if why := _refusal(must) or _refusal(must_not):
        return f"{blocklist.zone} does not answer us: {why}"
    if not must:
        return f"{blocklist.zone} does not even list its own test entry: it does not answer this resolver"
    if must_not:
        return f"{blocklist.zone} lists what no list may list: it, or the resolver, answers everybody alike"
    return None


def judge(subject: str, blocklist: Blocklist, entry: str, reply: Reply, says: str = "") -> Verdict:
    """What a list that is to be believed says of an entry; `says` is its own text about it."""
    what = f"{entry} at {blocklist.zone.removesuffix('.')}"
    if isinstance(reply, AskError):
        return Verdict(subject, what, State.UNKNOWN, str(reply), KIND)
    if why := _refusal(reply):
        return Verdict(subject, what, State.UNKNOWN, f"{blocklist.zone} does not answer us: {why}", KIND)
    if reply:
        text = f": {says}" if says else ""
        sentence = f"should not be listed, and is ({', '.join(sorted(reply))}){text}"
        remedy = "stop what caused it, then ask the list to remove the entry"
        return Verdict(subject, what, State.FAULT, sentence, KIND, remedy)
    return Verdict(subject, what, State.OK, "not listed", KIND)


def unbelieved(subject: str, blocklist: Blocklist, entry: str, why: str) -> Verdict:
    """The verdict on an entry of a list whose test entries are wrong."""
    return Verdict(subject, f"{entry} at {blocklist.zone.removesuffix('.')}", State.UNKNOWN, why, KIND)


def _refusal(reply: Reply) -> str | None:
    """Why an answer is no listing at all."""
    for value in sorted(reply) if not isinstance(reply, AskError) else ():
        address = IPv4Address(value)
        if any(address in network for network in _REFUSED):
            return (
                f"{value} means that it refuses to be asked (use a resolver of your own, or its paid service)"
            )
        if address not in _CODES:
            return f"{value} is no return code of a list (127.0.0.0/8): somebody else answers in its name"
    return None


def _address(entry: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(entry)
    except ValueError:
        return None

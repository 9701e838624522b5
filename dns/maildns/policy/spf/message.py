"""The message that a policy is asked about, as macros see it (RFC 7208 section 7.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

UNKNOWN = "unknown"
"""What `%{p}` and `%{r}` stand for when nobody knows (section 7.3)."""


@dataclass(frozen=True)
class Message:
    """What macros stand for, the domain aside (section 7.2)."""

    ip: Address
    local: str
    sender_domain: str
    helo: str
    receiver: str
    clock: Callable[[], float]

    def letter(self, letter: str) -> str:
        """What a letter stands for; `d` and `p` are not the message's."""
        if letter == "i":
            v4 = isinstance(self.ip, IPv4Address)
            # Case only shows in explanations; the public test suite for RFC 7208 has capitals.
            return str(self.ip) if v4 else ".".join(self.ip.exploded.replace(":", "").upper())
        return {
            "s": f"{self.local}@{self.sender_domain}",
            "l": self.local,
            "o": self.sender_domain,
            "h": self.helo,
            "v": "in-addr" if isinstance(self.ip, IPv4Address) else "ip6",
            "c": str(self.ip),
            "r": self.receiver,
            "t": str(int(self.clock())),
        }[letter]

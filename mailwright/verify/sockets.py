"""Listening sockets: reading `ss`, and comparing it with the ports that a machine's needs declare."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from mailwright.model.needs import Port

Address = IPv4Address | IPv6Address

COMMAND = "ss -Hltunp"
"""Listening TCP and unconnected UDP sockets, numeric, with their programs (ss(8), package iproute2)."""

_IPV4, _IPV6 = 4, 6

# Netid, State, Recv-Q, Send-Q, Local Address:Port, Peer Address:Port, Process.
_LINE = re.compile(
    r"""(?P<proto>tcp|udp)\s+\S+\s+\d+\s+\d+\s+(?P<address>\S+):(?P<port>\d+)\s+\S+(?:\s+users:\(\("(?P<program>[^"]*)")?"""
)

_DHCP_CLIENT = frozenset({("udp", 68), ("udp", 546)})
"""A machine's own network set-up listens there (RFC 2131, RFC 8415); no role's business."""


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections or datagrams.

    `families` is what it answers: a `*` socket of ss answers both. `address` is `None` for a wildcard.
    """

    proto: Literal["tcp", "udp"]
    address: Address | None
    families: frozenset[int]
    port: int
    program: str = ""

    @property
    def local(self) -> bool:
        """Reachable from this machine only."""
        return self.address is not None and self.address.is_loopback

    def answers(self, address: Address) -> bool:
        """Whether a client that connects to `address` finds this socket."""
        return self.address == address or (self.address is None and address.version in self.families)

    def __str__(self) -> str:
        """As an operator writes it: `tcp 127.0.0.1:25 (master)`."""
        if self.address is not None:
            where = f"[{self.address}]" if self.address.version == _IPV6 else str(self.address)
        elif self.families == {_IPV4, _IPV6}:
            where = "*"
        else:
            where = "[::]" if _IPV6 in self.families else "0.0.0.0"  # noqa: S104 - its name, not a binding
        return f"{self.proto} {where}:{self.port}" + (f" ({self.program})" if self.program else "")


def parse(output: str) -> frozenset[Listener]:
    """Read what `COMMAND` printed.

    Raises:
        ValueError: a line is not what ss prints; an unread socket must not count as absent.
    """
    return frozenset(_listener(line) for line in output.splitlines() if line.strip())


def _listener(line: str) -> Listener:
    found = _LINE.match(line)
    if not found:
        raise ValueError(f"not a line of ss: {line[:120]}")
    proto: Literal["tcp", "udp"] = "tcp" if found["proto"] == "tcp" else "udp"
    address, families = _address(found["address"])
    return Listener(proto, address, families, int(found["port"]), found["program"] or "")


def _address(text: str) -> tuple[Address | None, frozenset[int]]:
    if text == "*":
        return None, frozenset({_IPV4, _IPV6})
    address = ip_address(text.partition("%")[0].strip("[]"))
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return (None if address.is_unspecified else address), frozenset({address.version})


def closed(port: Port, listeners: Iterable[Listener], addresses: Iterable[Address]) -> str | None:
    """What is wrong with a declared port, or `None` when it is served as declared.

    A port with the audience `local` must be served on a loopback address; any other on all `addresses`:
    every address of the machine, because the DNS tells the world all of them, or those it is declared for.
    """
    mine = [x for x in listeners if (x.proto, x.port) == (port.proto, port.number)]
    if not mine:
        return "nothing listens"
    if port.audience == "local":
        return None if any(x.local or x.address is None for x in mine) else _list(mine)
    deaf = [str(a) for a in addresses if not any(x.answers(a) for x in mine)]
    return f"nothing listens on {', '.join(deaf)}; only {_list(mine)}" if deaf else None


def undeclared(
    ports: Iterable[Port], before: Iterable[Listener], after: Iterable[Listener]
) -> list[Listener]:
    """Sockets that no need declares, or that are open to others or elsewhere than declared, sorted.

    A `local` port is for loopback, and one that is declared for some addresses is for those (and loopback).
    Looked at twice: a resolver opens a UDP port for each question it asks and closes it with the
    answer, so that a UDP socket counts only if it was there `before` and `after`.
    """
    declared: dict[tuple[str, int], list[Port]] = {}
    for port in ports:
        declared.setdefault((port.proto, port.number), []).append(port)

    def fits(x: Listener, port: Port) -> bool:
        if x.local:
            return True
        if port.audience == "local":
            return False
        return not port.at or str(x.address) in port.at

    def strange(x: Listener) -> bool:
        wanted = declared.get((x.proto, x.port), [])
        return (x.proto, x.port) not in _DHCP_CLIENT and not any(fits(x, port) for port in wanted)

    first = frozenset(before)
    return sorted((x for x in after if strange(x) and (x.proto == "tcp" or x in first)), key=str)


def _list(listeners: Iterable[Listener]) -> str:
    return ", ".join(sorted(str(x) for x in listeners))

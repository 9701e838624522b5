"""What authoritative servers themselves say: asked directly, no recursion, TCP when truncated."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from maildns.errors import MaildnsError
from maildns.names import within
from maildns.planning.order import lost
from maildns.provider import Change
from maildns.records import RrKey, from_rdata

Lookup = Callable[[str], tuple[str, ...]]
"""The addresses of a host name; empty when it has none or nobody says."""

EDNS_PAYLOAD = 1232  # what passes everywhere without fragments (DNS flag day 2020)

TIMEOUT = 2.0
"""Seconds for one attempt."""

ATTEMPTS = 2
"""A datagram may be lost."""


class AskError(MaildnsError):
    """A server did not answer, or not with authority."""


class SilentError(AskError):
    """A server did not answer at all: nothing is known of what it holds."""


class LameError(AskError):
    """A server answered, but not for this zone: it was named and does not serve it (RFC 8499 section 7)."""


@dataclass(frozen=True)
class Server:
    """One authoritative server of a zone."""

    name: str
    address: str
    port: int = 53

    def __str__(self) -> str:
        return (
            self.address if self.name == self.address else f"{self.name.removesuffix('.')} ({self.address})"
        )

    def ask(self, name: str, type_: str) -> frozenset[str]:
        """The canonical values of a set, empty where there is none.

        Raises:
            AskError: no answer in time, an error, or an answer without authority.
        """
        return values_in(self.query(name, type_), name, type_)

    def query(
        self, name: str, type_: str, *, tcp: bool = False, recurse: bool = False
    ) -> dns.message.Message:
        """The server's whole answer, with signatures where there are any (RFC 4035 section 3.2.1).

        Raises:
            SilentError: no answer in time.
            LameError: an error, or an answer without authority.
            AskError: an answer that cannot be read.
        """
        query = dns.message.make_query(name, type_, use_edns=0, payload=EDNS_PAYLOAD, want_dnssec=True)
        if not recurse:
            query.flags &= ~dns.flags.RD
        answer = self._answered(query, tcp=tcp)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise LameError(f"{self} answers {dns.rcode.to_text(answer.rcode())} for {name} {type_}")
        if not answer.flags & dns.flags.AA:
            raise LameError(f"{self} answers without authority for {name}")
        return answer

    def referral(self, zone: str) -> dns.message.Message:
        """What the server says to one who asks it for a zone's servers: a parent refers, with glue.

        Over TCP, so that no glue is left out for want of room (RFC 9471).

        Raises:
            AskError: no answer, or an error.
        """
        query = dns.message.make_query(zone, "NS", use_edns=0, payload=EDNS_PAYLOAD)
        query.flags &= ~dns.flags.RD
        answer = self._answered(query, tcp=True)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise LameError(f"{self} answers {dns.rcode.to_text(answer.rcode())} for {zone} NS")
        return answer

    def _answered(self, query: dns.message.Message, *, tcp: bool) -> dns.message.Message:
        over = " over TCP" if tcp else ""
        try:
            return self._exchange(query, tcp=tcp)
        except dns.exception.Timeout:
            raise SilentError(f"{self} does not answer{over}") from None
        except (OSError, EOFError) as error:
            raise SilentError(f"{self}{over}: {type(error).__name__} {error}".rstrip()) from None
        except dns.exception.DNSException as error:
            raise AskError(f"{self}{over}: {type(error).__name__} {error}".rstrip()) from None

    def _exchange(self, query: dns.message.Message, *, tcp: bool) -> dns.message.Message:
        if tcp:
            return dns.query.tcp(query, self.address, timeout=TIMEOUT, port=self.port)
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(dns.exception.Timeout):
                return self._try(query)
        return self._try(query)

    def _try(self, query: dns.message.Message) -> dns.message.Message:
        answer, _ = dns.query.udp_with_fallback(query, self.address, timeout=TIMEOUT, port=self.port)
        return answer


def values_in(answer: dns.message.Message, name: str, type_: str) -> frozenset[str]:
    """The canonical values of a set in an answer, empty where there is none."""
    rdtype = dns.rdatatype.from_text(type_)
    found = answer.get_rrset(answer.answer, dns.name.from_text(name), dns.rdataclass.IN, rdtype)
    return frozenset(from_rdata(rdata) for rdata in found or ())


def servers_of(zone: str, first: Server, lookup: Lookup, port: int = 53) -> tuple[Server, ...]:
    """`first` and all servers that the zone's NS records name: each address once, by its name there.

    Names within the zone are asked of `first` itself: the world reaches them by its glue. A name
    without an address is left out; the delegation is not judged here.

    Raises:
        AskError: `first` does not answer.
    """
    found = {first.address: first}
    for name in sorted(first.ask(zone, "NS")):
        own = within(name, zone)
        addresses = (a for t in ("A", "AAAA") for a in sorted(first.ask(name, t))) if own else lookup(name)
        for address in addresses:
            known = found.get(address)
            if known is None:
                found[address] = Server(name, address, port)
            elif known.name == known.address:
                found[address] = replace(known, name=name)
    return tuple(found.values())


def within_reach(servers: Iterable[Server], route: Callable[[str], bool]) -> tuple[Server, ...]:
    """The servers, less addresses that this machine has no route to where the same server has another.

    Many machines have no IPv6: that says nothing of a server which answers them over IPv4. `route` tells
    whether there is one to an address.
    """
    servers = tuple(servers)
    reached = {server.name for server in servers if route(server.address)}
    return tuple(s for s in servers if s.name not in reached or route(s.address))


@dataclass(frozen=True)
class Missing:
    """A server that does not serve a change."""

    server: Server
    key: RrKey
    why: str


Proof = Callable[[Server, RrKey], str | None]
"""Why a server's answer to a question proves nothing; `None` where it does."""


def no_proof(_: Server, __: RrKey) -> None:
    """Take answers at their word."""


def not_serving(server: Server, changes: Iterable[Change], proof: Proof = no_proof) -> Missing | None:
    """The first change that the server does not serve yet, or not so that resolvers believe it."""
    for change in changes:
        try:
            values = server.ask(*change.key)
        except AskError as error:
            return Missing(server, change.key, str(error))
        # Other values may be there: somebody else's at a shared name, a wildcard's at one that is gone.
        wanted = change.new.rdata if change.new else frozenset()
        if not wanted <= values or values & lost(change):
            return Missing(server, change.key, f"{server} still answers without the change")
        if why := proof(server, change.key):
            return Missing(server, change.key, why)
    return None


def wait_until_served(
    expected: Mapping[Server, Iterable[Change]],
    deadline: float,
    *,
    proof: Proof = no_proof,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Missing, ...]:
    """Ask each server until it serves its changes, or `deadline` seconds have passed.

    Returns what is missing then; empty when the world sees everything. In a signed zone, `proof`
    (`maildns.asking.proof.ZoneProof`) sees that answers are signed, and that what is gone is denied.
    """
    end = clock() + deadline
    waiting = {server: list(changes) for server, changes in expected.items()}
    wait = 0.1
    while True:
        found = {server: not_serving(server, changes, proof) for server, changes in waiting.items()}
        waiting = {server: waiting[server] for server, missing in found.items() if missing}
        missing = tuple(m for m in found.values() if m)
        if not missing or clock() >= end:
            return missing
        pause(min(wait, max(0.0, end - clock())))
        wait = min(wait * 2, 5.0)

"""One run's questions to the world: each is asked once, whoever needs the answer."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dns.message

from maildns.asking.authority import AskError, Server, SilentError, values_in
from maildns.asking.dial import Dial, dial
from maildns.judging.chain import Chain, chain_to
from maildns.judging.check import ALIASES
from maildns.policy.spf import LookupFailedError
from mailwright.lab.paths import lab_state
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.world import World
from mailwright.zones import zone_providers

T = TypeVar("T")


class Memo:
    """Answers by question, errors too. Who asks what is being asked already waits for that answer."""

    def __init__(self) -> None:
        """Know nothing."""
        self._lock = threading.Lock()
        self._table: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer to `key`, made by the first who asks."""
        with self._lock:
            future = self._table.get(key)
            mine = future is None
            if future is None:
                future = self._table[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                future.set_exception(error)
        return future.result()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Remembered(Server):
    """A server whose answers are remembered, and its silence: a dead one costs one timeout in all."""

    memo: Memo = field(default_factory=Memo, compare=False, repr=False)
    dead: dict[tuple[str, int], str] = field(default_factory=dict, compare=False, repr=False)

    __str__ = Server.__str__

    def query(
        self, name: str, type_: str, *, tcp: bool = False, recurse: bool = False
    ) -> dns.message.Message:
        """As `Server.query`."""
        key = (self.address, self.port, name, type_, tcp, recurse)
        return self.memo.get(key, lambda: self._first(name, type_, tcp=tcp, recurse=recurse))

    def fresh(self, name: str, type_: str) -> dns.message.Message:
        """The same, asked anew."""
        return super().query(name, type_)

    def _first(self, name: str, type_: str, *, tcp: bool, recurse: bool) -> dns.message.Message:
        place = (self.address, self.port)
        if place in self.dead:
            raise SilentError(f"{self} does not answer")
        try:
            return super().query(name, type_, tcp=tcp, recurse=recurse)
        except SilentError as error:
            if not tcp:
                self.dead[place] = str(error)
            raise


class Asking:
    """Finds out, for all checks of one run. Safe to use from many threads."""

    def __init__(self, fleet: Fleet, dial: Dial = dial, clock: Callable[[], float] = time.time) -> None:
        """Ask nothing yet."""
        self.fleet = fleet
        self.world = World(fleet)
        self.dial = dial
        self.now = clock()
        self._memo = Memo()
        self._dead: dict[tuple[str, int], str] = {}
        self.declared = zone_providers(fleet)
        """The zones of the fleet file, each with its provider if it has one."""

    # Servers

    def zone_of(self, name: str) -> str:
        """The zone that holds a name; raises AskError when nobody says."""
        return self._memo.get(("zone", name), lambda: self.world.zone_of(name))

    def listed(self, zone: str) -> tuple[Remembered, ...]:
        """The provider's server and all that the zone's NS records name; raises AskError."""
        found = self._memo.get(("servers", zone), lambda: self.world.servers(zone))
        return tuple(map(self._remembered, found))

    def server(self, name: str, address: str) -> Remembered:
        """The name server at an address."""
        return self._remembered(self.world.server(name, address))

    def parent_servers(self, zone: str) -> tuple[Remembered, ...]:
        """Some servers of a zone above ours; raises AskError."""
        found = self._memo.get(("few", zone), lambda: self.world.few_servers(zone))
        return tuple(map(self._remembered, found))

    def answering(self, zone: str) -> tuple[Remembered, ...]:
        """The servers that answer for a zone: one that does not is one finding, not one a record.

        Raises:
            AskError: none does.
        """
        found = tuple(
            server for server in self.listed(zone) if not isinstance(self.soa(server, zone), AskError)
        )
        if not found:
            raise AskError(f"no server of {zone} answers")
        return found

    def soa(self, server: Server, zone: str) -> dns.message.Message | AskError:
        """What a server says to the first question."""
        try:
            return server.query(zone, "SOA")
        except AskError as error:
            return error

    def __call__(self, name: str) -> tuple[Server, ...]:
        """The servers that answer for a name (`maildns.judging.check.Servers`)."""
        return self.answering(self.zone_of(name))

    def _remembered(self, server: Server) -> Remembered:
        return Remembered(server.name, server.address, server.port, self._memo, self._dead)

    # Values

    def values(self, name: str, type_: str) -> frozenset[str]:
        """The values of a set, aliases followed: from the servers of our zones, else from the resolver.

        Raises:
            AskError: nobody says.
        """
        for _ in range(ALIASES):
            if self._zone_of_ours(name) is None:
                return self.resolved(name, type_)
            answer = self.message(self.zone_of(name), name, type_)
            alias = values_in(answer, name, "CNAME")
            if not alias or type_ == "CNAME":
                return values_in(answer, name, type_)
            (name,) = alias
        raise AskError(f"{name}: too long a chain of aliases")

    def resolved(self, name: str, type_: str) -> frozenset[str]:
        """The same from the resolver alone; raises AskError."""
        return self._memo.get(("resolve", name, type_), lambda: self.world.resolve(name, type_))

    def txt(self, name: str) -> tuple[str, ...]:
        """The texts at a name; raises AskError."""
        return tuple(sorted(self.values(name, "TXT")))

    def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a host, IPv4 first; raises AskError when nobody says."""
        return tuple(a for type_ in ("A", "AAAA") for a in sorted(self.values(host, type_)))

    def message(self, zone: str, name: str, type_: str) -> dns.message.Message:
        """What the first server of a zone answers that answers at all.

        Raises:
            AskError: none does.
        """
        why = AskError(f"no server of {zone} answers")
        for server in self.answering(zone) if zone in self.declared else self.parent_servers(zone):
            try:
                return server.query(name, type_)
            except AskError as error:
                why = error
        raise why

    def spf_lookup(self, name: str, type_: str) -> tuple[str, ...]:
        """As `maildns.policy.spf.Lookup`."""
        try:
            return tuple(sorted(self.values(name, type_)))
        except AskError as error:
            raise LookupFailedError(str(error)) from None

    def _zone_of_ours(self, name: str) -> str | None:
        try:
            zone = self.zone_of(name)
        except AskError:
            return None
        return zone if zone in self.declared else None

    # Trust

    def chain(self, zone: str) -> Chain:
        """The chain of trust down to a zone; raises BogusError or AskError."""
        return self._memo.get(
            ("chain", zone), lambda: chain_to(zone, self.world.anchors, self.message, self.now)
        )

    @property
    def tls(self) -> ssl.SSLContext:
        """What the certificates of policy hosts are verified against: the system's CAs, in a lab its own."""
        return self._memo.get("tls", self._tls)

    def _tls(self) -> ssl.SSLContext:
        if self.world.lab is None:
            return ssl.create_default_context()
        file = Path(lab_state(self.world.lab)) / "ca.pem"
        try:
            return ssl.create_default_context(cafile=str(file))
        except OSError as error:
            raise DnsError(f"{file}: the lab's CA cannot be read: {error.strerror or error}") from None

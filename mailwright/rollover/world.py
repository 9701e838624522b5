"""What roll-overs do to the world: to secrets, zones and machines, and what they see of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial

from maildns.asking.authority import AskError, Server, values_in
from maildns.asking.dial import Dial, UnreachedError, WrongError, dial
from maildns.asking.proof import ZoneProof
from maildns.asking.starttls import served_chain
from maildns.policy.tlsa import tlsa_name
from maildns.records import RRset, collect
from mailwright.certificate import (
    ANNOUNCED,
    CHAIN,
    NEXT_CHAIN,
    NEXT_KEY,
    OLD_KEY,
    PRIVATE_KEY,
    faults,
    new_key,
)
from mailwright.model.errors import MissingSecretError, SecretError
from mailwright.model.keyring import stamp
from mailwright.model.secrets_file import Vault
from mailwright.model.secrets_store import FleetSecrets, variable
from mailwright.model.site import Site
from mailwright.narrow import Narrow
from mailwright.rollover.effects import Keys, Sight
from mailwright.rollover.subject import Place, Subject, pinned, places
from mailwright.world import World, has_route
from mailwright.zones.keys import PARTS, key_entries, key_of

AT_ONCE = 8
"""Questions under way at a time."""

Deploy = Callable[[Sequence[str], Sequence[str]], Mapping[str, str]]
"""(machines, roles) to each machine with what went wrong, or nothing."""


@dataclass
class RealEffects:
    """The effects of `mailwright.rollover.roll.Roll` on a real fleet."""

    open_site: Callable[[], Site]
    """The fleet as its files say it now."""
    name: str
    """Of the certificate."""
    vault: Vault
    converge: Deploy
    clock: Callable[[], float]
    say: Callable[[str], None] = lambda _: None
    dial: Dial = dial
    site: Site = field(init=False)
    subject: Subject = field(init=False)

    def __post_init__(self) -> None:
        """Read the fleet."""
        self._reread()

    def _reread(self) -> None:
        """The fleet file or the secrets may have changed, and a site reads both only once."""
        self.site = replace(self.open_site(), secrets=FleetSecrets(self.vault))
        self.subject = pinned(self.site, self.name)

    # --- secrets

    def keys(self) -> Keys:
        """As in `Effects`."""
        self._reread()
        return Keys(*(frozenset(self._known(part)) for part in (PRIVATE_KEY, NEXT_KEY, OLD_KEY)))

    def _known(self, part: str) -> Iterator[str]:
        certificate = self.subject.holders[0].certificate
        for pair in self.subject.pairs:
            with suppress(MissingSecretError):
                yield key_of(self.site.secrets, certificate, pair, part).text

    def require_fit(self) -> None:
        """As in `Effects`.

        Raises:
            SecretError: a next pair is missing or unfit, or the environment has a say in it.
        """
        subject, secrets = self.subject, self.site.secrets
        for pair in subject.pairs:
            names = [subject.secret(pair, part) for part in (PRIVATE_KEY, CHAIN, NEXT_KEY, NEXT_CHAIN)]
            given = [variable(name) for name in names if self.vault.environ.get(variable(name))]
            if given:
                raise SecretError(f"{given[0]} is in the environment; a roll-over works on the secrets file")
            self._refuse_same(names[0], names[2])
            if not subject.provided:
                continue
            demanded = subject.holders[0].certificate.demanded(pair)
            try:
                chain, key = (secrets.get(names[i]).encode() for i in (3, 2))
            except MissingSecretError as error:
                how = "`mailwright certificates request` makes a key and what its authority must sign"
                raise SecretError(f"{error}; {how}") from None
            found = faults(chain, key, subject.names, datetime.fromtimestamp(self.clock(), UTC), demanded)
            if found:
                raise SecretError(f"secrets {names[3]} and {names[2]}: {'; '.join(found)}")

    def _refuse_same(self, used: str, coming: str) -> None:
        with suppress(MissingSecretError):
            if self.site.secrets.get(used) == self.site.secrets.get(coming):
                raise SecretError(f"the secret {coming} is the key in use; it must be another")

    def make_next(self) -> None:
        """As in `Effects`."""
        with self.vault.changing() as content:
            for pair in self.subject.pairs:
                name = self.subject.secret(pair, NEXT_KEY)
                if name not in content.secrets:
                    content.secrets[name] = new_key(pair.algorithm)

    def note_announced(self, at: int) -> None:
        """As in `Effects`; the first time counts."""
        with self.vault.changing() as content:
            content.secrets.setdefault(self._announced, stamp(at))

    @property
    def _announced(self) -> str:
        return self.subject.secret(self.subject.pairs[0], ANNOUNCED)

    def promote(self, keys: Keys) -> None:
        """As in `Effects`.

        Raises:
            SecretError: the secrets hold other keys than these by now.
        """
        if self.keys() != keys:
            raise SecretError("the secrets were changed meanwhile; run this again")
        with self.vault.changing() as content:
            secrets = content.secrets
            for pair in self.subject.pairs:
                name = partial(self.subject.secret, pair)
                secrets[name(OLD_KEY)] = secrets[name(PRIVATE_KEY)]
                secrets[name(PRIVATE_KEY)] = secrets.pop(name(NEXT_KEY))
                if self.subject.provided:
                    secrets[name(CHAIN)] = secrets.pop(name(NEXT_CHAIN))
            secrets.pop(self._announced, None)
        self._reread()

    def forget_old(self) -> None:
        """As in `Effects`."""
        with self.vault.changing() as content:
            for pair in self.subject.pairs:
                content.secrets.pop(self.subject.secret(pair, OLD_KEY), None)

    # --- the DNS

    def publish(self, *, old: bool) -> None:
        """As in `Effects`."""
        self._reread()
        parts = [part for part in PARTS if old or part != OLD_KEY]
        wanted = tuple(self._records(parts))
        self._narrow.publish(self.site, wanted, {each.key for each in wanted}, lasting=old)

    def _records(self, parts: Collection[str]) -> Iterator[RRset]:
        entries = [
            entry
            for holder in self.subject.holders
            for entry in key_entries(holder.machine, holder.certificate, self.site.secrets, parts)
        ]
        yield from collect(entries, self.site.fleet.dns.ttl)

    def look(self, wanted: frozenset[str]) -> Sight:
        """As in `Effects`; in a signed zone an answer counts once a validating resolver would accept it."""
        wrong: list[str] = []
        questions: list[tuple[Server, str, ZoneProof]] = []
        for name in dict.fromkeys(self._names()):
            try:
                zone = self._world.zone_of(name)
                servers = self._world.servers(zone)
                wrong += [f"{each} has no address" for each in self._world.without_address(zone)]
            except AskError as error:
                wrong.append(str(error))
            else:
                proof = ZoneProof(zone, self._world.anchored(zone))
                questions += [(server, name, proof) for server in servers]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(partial(_answer, wanted), questions))
        wrong += [why for _, why in answers if why]
        return Sight(int(self.clock()), max((ttl for ttl, _ in answers), default=0), tuple(wrong))

    def _names(self) -> Iterator[str]:
        for holder in self.subject.holders:
            yield from (tlsa_name(name, port) for name, port in holder.certificate.pinned)

    # --- the machines

    def deploy(self) -> tuple[str, ...]:
        """As in `Effects`; nothing but the roles that give and serve the certificate."""
        names = [holder.machine.name for holder in self.subject.holders]
        found = self.converge(names, sorted(self.subject.roles))
        return tuple(f"{machine}: {why}" for machine, why in found.items() if why)

    def not_served(self) -> tuple[str, ...]:
        """As in `Effects`; addresses that this machine has no route to are left out."""
        met = [place for place in places(self.site, self.subject) if has_route(place.address)]
        if not met:
            return (f"there is no route from here to any place where {self.name} is served",)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return tuple(why for why in pool.map(self._fault, met) if why)

    def _fault(self, place: Place) -> str | None:
        wanted = key_of(self.site.secrets, self.subject.holders[0].certificate, place.pair, PRIVATE_KEY)
        helo = self.site.fleet.machines[0].fqdn.bare
        try:
            chain = served_chain(
                place.name, place.address, helo, self.dial, port=place.port, algorithm=place.algorithm
            )
        except (UnreachedError, WrongError) as error:
            return str(error)
        if chain and wanted.matches(chain[0]):
            return None
        return f"{place.name} ({place.address}) port {place.port} serves another {place.pair.prefix}key"

    @cached_property
    def _world(self) -> World:
        return World(self.site.fleet)

    @cached_property
    def _narrow(self) -> Narrow:
        return Narrow(self._world, self.say)


def _answer(wanted: frozenset[str], question: tuple[Server, str, ZoneProof]) -> tuple[int, str]:
    """How long a server's answer may be kept, and why it does not show what is wanted."""
    server, name, proof = question
    try:
        answer = server.query(name, "TLSA")
    except AskError as error:
        return 0, str(error)
    ttl = max((each.ttl for each in answer.answer), default=0)
    if not wanted <= values_in(answer, name, "TLSA"):
        return ttl, f"{server} does not show it at {name}"
    return ttl, proof(server, (name, "TLSA")) or ""

"""What rotations do to the world: to secrets, zones and the file of the keyring, and what they see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from maildns.asking.authority import AskError, Server, wait_until_served
from maildns.errors import RecordError
from maildns.names import longest_zone
from maildns.planning.plan import plan_zone
from maildns.policy.dkim import DkimKey, selector_name
from maildns.provider import Change, Provider
from maildns.records import RRset, collect
from maildns.rotation import Key, Sight, State, Timing
from mailwright.dkim.effects import Place
from mailwright.model.base import seconds
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.keyring import Keyring, write_keyring
from mailwright.model.secrets_file import Vault
from mailwright.model.secrets_store import FleetSecrets, dkim_private_key
from mailwright.model.site import Site
from mailwright.providers import provider_of
from mailwright.publish import DEADLINE, as_dns_error
from mailwright.world import World
from mailwright.zones import SENDS, zone_providers
from mailwright.zones.dkim import dkim_entries, secret_name, shown_key

LIFETIMES = ("queue_lifetime", "bounce_lifetime")
"""Settings of the sending role: how long mail, and how long what is returned, may wait in its queue."""

POSTFIX_LIFETIME = 432_000
"""Postfix's own default, for a role that has no such setting (postconf(5), maximal_queue_lifetime)."""

AT_ONCE = 8
"""Questions under way at a time."""


class Signers(Protocol):
    """The hosts that sign. Both give each host with why it is not proved to sign as it should, or nothing."""

    def deploy(self, site: Site) -> Mapping[str, str]:
        """Have every host sign as the site says."""
        ...

    def stopped(self, site: Site) -> Mapping[str, str]:
        """Change nothing; whatever could have mail signed is looked at."""
        ...


@dataclass
class RealEffects:
    """The effects of `mailwright.dkim.Rotation` on a real fleet."""

    site: Site
    file: Path
    """Of the keyring."""
    vault: Vault
    hosts: Signers
    clock: Callable[[], int]
    say: Callable[[str], None] = lambda _: None
    _saved: Keyring | None = field(default=None, init=False)

    def save(self, keyring: Keyring) -> None:
        """As in `Effects`; what is written already is not written again."""
        if keyring != (self._saved or self.site.keyring):
            write_keyring(self.file, keyring)
            self._saved = keyring

    def taken(self, domain: Domain, selector: str) -> bool:
        """As in `Effects`.

        Raises:
            DnsError: no server says.
        """
        if secret_name(domain, selector) in self.vault.read().secrets:
            return True
        try:
            return any(s.ask(selector_name(str(domain.name), selector), "TXT") for s in self._servers(domain))
        except AskError as error:
            raise DnsError(str(error)) from None

    def make_private(self, domain: Domain, key: Key) -> None:
        """As in `Effects`."""
        with self.vault.changing() as content:
            content.secrets.setdefault(secret_name(domain, key.selector), dkim_private_key(key.algorithm))
        self._reread()

    def forget_private(self, domain: Domain, key: Key) -> None:
        """As in `Effects`."""
        with self.vault.changing() as content:
            content.secrets.pop(secret_name(domain, key.selector), None)
        self._reread()

    def publish(self, keyring: Keyring, places: Sequence[Place]) -> None:
        """As in `Effects`; what `apply` would change in the zones besides is left to it.

        Raises:
            DnsError: a zone cannot be read or changed, or somebody else's record stands at a selector.
        """
        site = self.site.with_keyring(keyring)
        providers = zone_providers(site.fleet)
        names = {selector_name(str(domain.name), key.selector) for domain, key in places}
        entries = [e for d, _ in places for e in dkim_entries(d, keyring, site.secrets) if e.name in names]
        wanted = collect(dict.fromkeys(entries), site.fleet.dns.ttl)
        zones: dict[str | None, set[str]] = {}
        for name in names:
            zones.setdefault(longest_zone(name, providers), set()).add(name)
        for zone, inside in zones.items():
            rrsets = [r for r in wanted if r.name in inside]
            if zone and (provider := providers[zone]):
                with as_dns_error():
                    self._publish(zone, provider_of(site, provider), rrsets, inside, keyring)
            else:
                for each in rrsets:
                    self.say(f"publish by hand: {each.name} {each.type} {' '.join(sorted(each.rdata))}")

    def _publish(
        self, zone: str, provider: Provider, rrsets: Sequence[RRset], names: set[str], keyring: Keyring
    ) -> None:
        fetched = partial(self._changes, zone, provider, rrsets, names, keyring)
        changes, etag = fetched()
        if not changes:
            return
        provider.apply(zone, changes, etag)
        if fetched()[0]:
            raise DnsError(f"{zone}: published, but a second plan is not empty; look at it with `dns plan`")
        self.say(f"published {', '.join(sorted({c.key[0] for c in changes} & names))}")
        # Whoever is late is told of by the look that follows.
        wait_until_served(dict.fromkeys(self._world.servers(zone), changes), DEADLINE)

    def _changes(
        self, zone: str, provider: Provider, rrsets: Sequence[RRset], names: set[str], keyring: Keyring
    ) -> tuple[tuple[Change, ...], str]:
        """The part of a zone's plan that is about some names, and the state of the zone it is for."""
        plan = plan_zone(provider.fetch(zone), rrsets, self.site.fleet.dns.owner, allow=keyring.released())
        obstacles = [c.sentence for c in plan.conflicts if c.key[0] in names]
        obstacles += [r.sentence for r in plan.refusals if r.flag.partition("=")[2] in names]
        if obstacles:
            raise DnsError(f"{zone}: {'; '.join(obstacles)}")
        return tuple(c for c in plan.changes if c.unit in names), plan.etag

    def look(self, keyring: Keyring, domain: Domain, key: Key) -> Sight:
        """As in `Effects`."""
        return see(self.site.with_keyring(keyring), self._world, domain, key, self.clock)

    def timing(self, domain: Domain) -> Timing:
        """As in `Effects`; the SOA is asked of every server.

        Raises:
            DnsError: no server says how long resolvers may remember that there is no record.
        """
        if domain.name not in self._negative:
            self._negative[domain.name] = self._minimum(domain)
        policy = self.site.fleet.dkim
        return Timing(
            self.site.fleet.dns.ttl,
            self._negative[domain.name],
            longest_queue(self.site),
            seconds(policy.revoked_for),
            seconds(policy.max_age),
        )

    def deploy(self, keyring: Keyring) -> Mapping[str, str]:
        """As in `Effects`."""
        return self.hosts.deploy(self.site.with_keyring(keyring))

    def stopped(self, keyring: Keyring) -> Mapping[str, str]:
        """As in `Effects`."""
        return self.hosts.stopped(self.site.with_keyring(keyring))

    def _reread(self) -> None:
        """The secrets have changed, and a site reads its own only once."""
        self.site = replace(self.site, secrets=FleetSecrets(self.vault))

    @cached_property
    def _negative(self) -> dict[str, int]:
        return {}

    @cached_property
    def _world(self) -> World:
        return World(self.site.fleet)

    def _servers(self, domain: Domain) -> tuple[Server, ...]:
        return self._world.servers(self._world.zone_of(str(domain.name)))

    def _minimum(self, domain: Domain) -> int:
        found: list[int] = []
        try:
            zone = self._world.zone_of(str(domain.name))
            servers = self._servers(domain)
        except AskError as error:
            raise DnsError(str(error)) from None
        for server in servers:
            with suppress(AskError):
                found += [int(soa.split()[-1]) for soa in server.ask(zone, "SOA")]
        if not found:
            raise DnsError(f"no server of {zone} gives its SOA")
        return max(found)


def see(site: Site, world: World, domain: Domain, key: Key, clock: Callable[[], int]) -> Sight:
    """Ask every authoritative server of a domain whether it shows a key as the key's state wants."""
    name = selector_name(str(domain.name), key.selector)
    wanted = None if key.state is State.DELETED else shown_key(domain, key, site.secrets)
    try:
        servers = world.servers(world.zone_of(str(domain.name)))
    except AskError as error:
        return Sight(clock(), silent=(str(error),))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(partial(_shows, name=name, wanted=wanted), servers))
    silent = [silence for _, silence in found if silence] + ([] if servers else ["no server to ask"])
    # The time after the answers: since then, at the latest, it is so.
    return Sight(clock(), tuple(fault for fault, _ in found if fault), tuple(silent))


def refuse_unseen(site: Site) -> None:
    """Refuse to have hosts sign with a key that any authoritative server does not show.

    Raises:
        DnsError: naming the keys, and the servers that lack them or do not answer.
        SecretError: a private half is missing.
    """
    world = World(site.fleet)
    unseen = [
        f"{key.selector} of {domain.name.bare}: {'; '.join((*sight.lacking, *sight.silent))}"
        for domain in site.fleet.domains
        for key in site.keyring.shown(domain)
        if key.selector in {k.selector for k in domain.dkim}
        and not (sight := see(site, world, domain, key, lambda: 0)).everywhere
    ]
    if unseen:
        raise DnsError(f"hosts would sign with keys that the world cannot see: {', '.join(unseen)}")


def longest_queue(site: Site) -> int:
    """Seconds that mail of the fleet may wait in a queue: the longest setting of all sending machines."""
    found = [
        seconds(value)
        for machine in site.fleet.with_role(SENDS)
        for name in LIFETIMES
        if isinstance(value := getattr(site.settings(machine, SENDS), name, None), str)
    ]
    return max(found, default=POSTFIX_LIFETIME)


def _shows(server: Server, *, name: str, wanted: DkimKey | None) -> tuple[str, str]:
    """What is wrong with a server's answer about a key, or why there is none; two empty ones: nothing."""
    try:
        values = server.ask(name, "TXT")
    except AskError as error:
        return "", str(error)
    found = [key for key in map(_parsed, values) if key]
    if wanted is None:
        return (f"{server} still has it" if found else ""), ""
    if found == [wanted]:
        return "", ""
    return f"{server} {'shows another key' if found else 'has no key there'}", ""


def _parsed(text: str) -> DkimKey | None:
    try:
        return DkimKey.parse(text)
    except RecordError:
        return None

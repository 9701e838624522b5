"""What rotations do to the world: to secrets, zones and the file of the keyring, and what they see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from maildns.asking.authority import AskError, Server
from maildns.policy.dkim import selector_name
from maildns.records import collect
from maildns.rotation import Key, Sight, Timing
from mailwright.dkim.effects import SIGNS, Place
from mailwright.dkim.sight import UNUSED, refuse_unseen, see
from mailwright.model.base import seconds
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.keyring import Keyring, write_keyring
from mailwright.model.secrets_file import Vault
from mailwright.model.secrets_store import FleetSecrets, dkim_private_key
from mailwright.model.site import Site
from mailwright.narrow import Narrow
from mailwright.world import World
from mailwright.zones import SENDS
from mailwright.zones.dkim import dkim_entries, secret_name

LIFETIMES = ("queue_lifetime", "bounce_lifetime")
"""Settings of the sending role: how long mail, and how long what is returned, may wait in its queue."""

POSTFIX_LIFETIME = 432_000
"""Postfix's own default, for a role that has no such setting (postconf(5), maximal_queue_lifetime)."""


class Signers(Protocol):
    """The hosts that sign. All give each host with why it is not proved to sign as it should, or nothing."""

    def deploy(self, site: Site) -> Mapping[str, str]:
        """Have every host sign as the site says."""
        ...

    def signing(self, site: Site) -> Mapping[str, str]:
        """As `deploy`, and change nothing."""
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
        name, unused = (selector_name(str(domain.name), each) for each in (selector, UNUSED))
        try:
            return any((v := s.ask(name, "TXT")) and v != s.ask(unused, "TXT") for s in self._servers(domain))
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
            DnsError: a zone cannot be read or changed, or somebody else's record stands at a selector;
                all others were seen to by then.
        """
        site = self.site.with_keyring(keyring)
        names = {selector_name(str(domain.name), key.selector) for domain, key in places}
        entries = [e for d, _ in places for e in dkim_entries(d, keyring, site.secrets) if e.name in names]
        wanted = collect(dict.fromkeys(entries), site.fleet.dns.ttl)
        self._narrow.publish(site, wanted, {(name, "TXT") for name in names}, keyring.released())

    def look(self, keyring: Keyring, domain: Domain, key: Key) -> Sight:
        """As in `Effects`."""
        return see(self.site.with_keyring(keyring), self._world, domain, key, self.clock)

    def timing(self, domain: Domain) -> Timing:
        """As in `Effects`; the SOA is asked of every server, once.

        Raises:
            DnsError: no server says how long resolvers may remember that there is no record.
        """
        if domain.name not in self._negative:
            try:
                self._negative[domain.name] = self._minimum(domain)
            except DnsError as error:
                self._negative[domain.name] = error
        negative = self._negative[domain.name]
        if isinstance(negative, DnsError):
            raise negative
        policy = self.site.fleet.dkim
        return Timing(
            self.site.fleet.dns.ttl,
            negative,
            longest_queue(self.site),
            seconds(policy.revoked_for),
            seconds(policy.max_age),
        )

    def deploy(self, keyring: Keyring) -> Mapping[str, str]:
        """As in `Effects`; hosts are given nothing while a key is among it that the world cannot see."""
        site = self.site.with_keyring(keyring)
        try:
            refuse_unseen(site)
        except DnsError as error:
            return {machine.name: str(error) for machine in site.fleet.with_role(SIGNS)}
        return self.hosts.deploy(site)

    def hosts_sign(self, keyring: Keyring) -> Mapping[str, str]:
        """As in `Effects`."""
        return self.hosts.signing(self.site.with_keyring(keyring))

    def stopped(self, keyring: Keyring) -> Mapping[str, str]:
        """As in `Effects`."""
        return self.hosts.stopped(self.site.with_keyring(keyring))

    def _reread(self) -> None:
        """The secrets have changed, and a site reads its own only once."""
        self.site = replace(self.site, secrets=FleetSecrets(self.vault))

    @cached_property
    def _negative(self) -> dict[str, int | DnsError]:
        return {}

    @cached_property
    def _narrow(self) -> Narrow:
        return Narrow(self._world, self.say)

    @cached_property
    def _world(self) -> World:
        return World(self.site.fleet)

    def _servers(self, domain: Domain) -> tuple[Server, ...]:
        return self._world.servers(self._world.zone_of(str(domain.name)))

    def _minimum(self, domain: Domain) -> int:
        found: list[int] = []
        unused = selector_name(str(domain.name), UNUSED)
        try:
            zone = self._world.zone_of(str(domain.name))
            servers = self._servers(domain)
        except AskError as error:
            raise DnsError(str(error)) from None
        for server in servers:
            with suppress(AskError):
                found += [int(soa.split()[-1]) for soa in server.ask(zone, "SOA")]
                found += [rrset.ttl for rrset in server.query(unused, "TXT").answer]
        if not found:
            raise DnsError(f"no server of {zone} gives its SOA")
        return max(found)


def longest_queue(site: Site) -> int:
    """Seconds that mail of the fleet may wait in a queue: the longest setting of all sending machines."""
    found = [
        seconds(value)
        for machine in site.fleet.with_role(SENDS)
        for name in LIFETIMES
        if isinstance(value := getattr(site.settings(machine, SENDS), name, None), str)
    ]
    return max(found, default=POSTFIX_LIFETIME)

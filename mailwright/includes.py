"""What the includes of flattened SPF policies stand for today: asked before planning, which asks nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from maildns.errors import MaildnsError
from maildns.policy.spf.flatten import MOST_LOST, Block, Flattened, flatten, lost_share, published
from maildns.policy.spf.lookup import Lookup, LookupFailedError
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.world import World
from mailwright.zones.senders import own_policy

NOT_CHOSEN = Flattened(kept="not chosen, so not looked up")


def with_includes(site: Site, only: Collection[str] = ()) -> Site:
    """The site with the includes resolved of all domains that are flattened, or of those in `only`.

    `only` holds zones and domains. A site that has its includes is given back as it is.

    Raises:
        DnsError: DNS does not say, or an included policy is an error. Nothing is to be changed then.
    """
    wanted = {str(name): domain for domain in _flattened(site) for name in domain.spf.include}
    if not wanted or site.includes:
        return site
    lookup = World(site.fleet).spf_lookup
    chosen = {str(name) for domain in _chosen(site, only) for name in domain.spf.include}
    found = {n: _resolve(n, d, lookup) if n in chosen else NOT_CHOSEN for n, d in wanted.items()}
    return replace(site, includes=found)


def refuse_losses(site: Site, only: Collection[str] = (), allow: Collection[str] = ()) -> None:
    """Refuse what would take more than a third of a flattened policy's addresses away.

    A provider that has lost its own records would take ours along.

    Raises:
        DnsError: it would, and `spf-loss=DOMAIN.` is not allowed; or DNS does not say what is published.
    """
    chosen = _chosen(site, only)
    if not chosen:
        return
    lookup = World(site.fleet).spf_lookup
    for domain in chosen:
        flag = f"spf-loss={domain.name}"
        if flag in allow:
            continue
        try:
            before = published(str(domain.name), lookup)
        except LookupFailedError as error:
            raise DnsError(f"{domain.name}: SPF as it is published: {error}; nothing is changed") from None
        lost = lost_share(before, _after(site, domain))
        if lost > MOST_LOST:
            raise DnsError(
                f"{domain.name}: flattened again, SPF would lose {lost:.0%} of its addresses; nothing is "
                f"changed; if that is meant: --allow {flag}"
            )


def _after(site: Site, domain: Domain) -> Iterator[Block]:
    spf = own_policy(site.fleet, domain)
    yield from spf.addresses
    for name in spf.include:
        yield from site.includes[name].networks


def _flattened(site: Site) -> tuple[Domain, ...]:
    return tuple(d for d in site.fleet.domains if d.spf.flatten and d.spf.include)


def _chosen(site: Site, only: Collection[str]) -> tuple[Domain, ...]:
    return tuple(d for d in _flattened(site) if not only or {d.name, d.zone} & set(only))


def _resolve(name: str, domain: Domain, lookup: Lookup) -> Flattened:
    try:
        return flatten(name, lookup)
    except MaildnsError as error:
        raise DnsError(f"{domain.name}: {name} cannot be flattened: {error}; nothing is changed") from None


def without_addresses(site: Site) -> tuple[Site, frozenset[str]]:
    """The site as if no flattened include stood for any address, and the domains whose SPF is wrong then."""
    chosen = _flattened(site)
    includes = {str(name): Flattened() for domain in chosen for name in domain.spf.include}
    return replace(site, includes=includes), frozenset(str(domain.name) for domain in chosen)


def as_written(site: Site) -> Site:
    """The site with nothing flattened: for those who may not ask DNS."""
    domains = tuple(
        d.model_copy(update={"spf": d.spf.model_copy(update={"flatten": False})}) for d in site.fleet.domains
    )
    return replace(site, fleet=site.fleet.model_copy(update={"domains": domains}))

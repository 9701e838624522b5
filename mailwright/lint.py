"""Lints over a fleet: what it would publish, and what its zones hold beside that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date

from maildns.judging.lint import Context, Finding, lint
from maildns.names import longest_zone
from maildns.planning.plan import applied, plan_zone
from maildns.records import RRset
from mailwright.acme import issued
from mailwright.dnsplan import as_dns_error
from mailwright.includes import as_written, with_includes
from mailwright.model.fleet import Fleet
from mailwright.model.site import Site
from mailwright.providers import Providers
from mailwright.world import World
from mailwright.zones import SENDS, Zones, desired


def lint_wanted(site: Site, today: date) -> tuple[Finding, ...]:
    """Lint what the fleet would publish. Asks nobody: includes are taken as they are written.

    Raises:
        DnsError: a record may not be published.
        SecretError: a DKIM key is missing.
    """
    wanted = desired(site if site.includes else as_written(site))
    rrsets = list(_all(wanted))
    return lint(rrsets, _context(site.fleet, today, rrsets), _accepted(site.fleet))


def lint_published(site: Site, today: date) -> tuple[Finding, ...]:
    """Lint each zone as it would be after an apply, others' records included, and what includes lead to.

    Raises:
        DnsError: a zone cannot be read, or a record may not be published.
        SecretError: a DKIM or TSIG key is missing.
    """
    site = with_includes(site)
    wanted = desired(site)
    opened = Providers(site)
    after: list[RRset] = list(wanted.by_hand)
    with as_dns_error():
        for zone in wanted.zones:
            snapshot = opened[zone.provider].fetch(zone.name)
            plan = plan_zone(snapshot, zone.rrsets, site.fleet.dns.owner)
            after += applied(snapshot.rrsets, plan.changes)
    context = _context(site.fleet, today, _all(wanted), World(site.fleet))
    return lint(after, context, _accepted(site.fleet))


def _all(wanted: Zones) -> Iterator[RRset]:
    for zone in wanted.zones:
        yield from zone.rrsets
    yield from wanted.by_hand


def _context(fleet: Fleet, today: date, wanted: Iterable[RRset], world: World | None = None) -> Context:
    wanted = tuple(wanted)
    addresses = tuple(ip for machine in fleet.with_role(SENDS) for ip in machine.addresses)
    sent_from = {a.rpartition("@")[2] for sender in fleet.senders for a in sender.addresses}
    return Context(
        today,
        since={str(d.name): d.dmarc.since for d in fleet.domains},
        senders={str(d.name): addresses for d in fleet.domains if d.name.bare in sent_from},
        enforcing=frozenset(str(d.name) for d in fleet.domains if d.mta_sts and d.mta_sts.mode == "enforce"),
        selectors=frozenset(r.name for r in wanted if "_domainkey" in r.name.split(".")),
        ours=frozenset(r.key for r in wanted),
        lookup=world.spf_lookup if world else None,
        issued=issued(fleet),
    )


def _accepted(fleet: Fleet) -> Callable[[str, str], bool]:
    by_domain = {str(d.name): d.accept for d in fleet.domains}

    def accepted(name: str, about: str) -> bool:
        domain = longest_zone(about, by_domain)
        return name in fleet.dns.accept or (domain is not None and name in by_domain[domain])

    return accepted

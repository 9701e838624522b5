"""What the world sees of a site, against what it should see."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.check import Verdict, check_fcrdns, check_mx_targets, check_rrset
from maildns.hosts import reverse_name
from mailwright.model.site import Site
from mailwright.world import World
from mailwright.zones import SENDS, desired


def check_site(site: Site) -> Iterator[Verdict]:
    """Ask the authoritative servers of every zone, ours or published by hand, and judge.

    Raises:
        DnsError: the fleet wants what cannot be published.
        SecretError: a DKIM key is missing.
    """
    wanted = desired(site)
    servers = World(site.fleet).servers_for
    for each in (*(r for zone in wanted.zones for r in zone.rrsets), *wanted.by_hand):
        yield from check_rrset(each, servers)
        if each.type == "MX":
            yield from check_mx_targets(each, servers)
    for machine in site.fleet.with_role(SENDS):
        for ip in machine.addresses:
            yield check_fcrdns(str(machine.fqdn), str(ip), reverse_name(ip), servers)

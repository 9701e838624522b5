"""The name server: knot, authoritative and signing for every zone of the lab.

Zones of the fleet start almost empty and take signed updates from the fleet's key. `example.` and
`mailbox.example.` are the world's own and follow the fleet file. `bogus.example.` is what no resolver may
believe: its delegation says that it is signed, and it is not.
"""

from __future__ import annotations

from ipaddress import IPv4Interface

import dns.name
import dns.reversename

from mailwright.acme import acl_name, knot, prover
from mailwright.lab import keys
from mailwright.lab.container import Seed
from mailwright.lab.plan import PARENT_ZONE, WORLD, LabPlan
from mailwright.lab.world import WorldHost, template

MAILBOX_ZONE = "mailbox.example."
BOGUS_ZONE = "bogus.example."


def all_zones(plan: LabPlan) -> tuple[str, ...]:
    """Every zone the server has."""
    return (PARENT_ZONE, MAILBOX_ZONE, *plan.fleet_zones)


def name_server(plan: LabPlan) -> WorldHost:
    """The name server of a lab."""
    provider = plan.provider
    # For every machine, so that any of them may be told to get its certificates by itself.
    proving = [prover(plan.fleet, machine, provider) for machine in plan.fleet.machines]
    config = template(
        "knot.conf.j2",
        key_name=provider.key_name,
        algorithm=provider.algorithm,
        secret=keys.tsig_secret(plan),
        own=(PARENT_ZONE, MAILBOX_ZONE),
        bogus=BOGUS_ZONE,
        fleet=plan.fleet_zones,
        proofs=knot(proving, keys.acme_secrets(plan)),
        acls=[acl_name(each) for each in proving],
    )
    signing = {zone: keys.zone_key(plan, zone).pem for zone in all_zones(plan)}
    return WorldHost(
        packages=("knot", "knot-dnsutils"),
        files=(
            _private("/etc/knot/knot.conf", config),
            Seed("/usr/local/sbin/import-zone-keys", template("import-zone-keys.sh"), 0o755),
            Seed("/etc/systemd/system/knot.service.d/lab.conf", template("knot.service.conf")),
            *(_private(f"/etc/knot/keys/{zone}pem", pem) for zone, pem in signing.items()),
            _zone(PARENT_ZONE, _parent_records(plan)),
            _zone(MAILBOX_ZONE, _mailbox_records(plan)),
            _zone(BOGUS_ZONE, []),
        ),
        units=("knot.service",),
        once=tuple(_zone(zone, _fleet_records(plan, zone)) for zone in plan.fleet_zones),
    )


def _private(path: str, content: bytes) -> Seed:
    """A file that only root and knot read."""
    return Seed(path, content, 0o640, group="knot")


def _zone(zone: str, records: list[str]) -> Seed:
    content = template("zone.j2", zone=zone, records=records)
    return Seed(f"/var/lib/knot/zones/{zone}zone", content, 0o660, owner="knot", group="knot")


def _parent_records(plan: LabPlan) -> list[str]:
    """`example.`: addresses of the world's hosts, and a signed delegation to each zone below."""
    records = [r for name in ("ns", "outside", "ca") for r in _addresses(plan, name)]
    for zone in (MAILBOX_ZONE, *plan.fleet_zones):
        if zone.endswith("." + PARENT_ZONE):
            records += [f"{zone} NS ns.example.", f"{zone} DS {keys.zone_key(plan, zone).ds}"]
    return [*records, f"{BOGUS_ZONE} NS ns.example.", f"{BOGUS_ZONE} DS 1 13 2 {'00' * 32}"]


def _mailbox_records(plan: LabPlan) -> list[str]:
    """The mailbox provider: every check that a careful sender makes of it passes."""
    return [
        *_addresses(plan, "mailbox"),
        f"{MAILBOX_ZONE} MX 10 mx.mailbox.example.",
        f'{MAILBOX_ZONE} TXT "v=spf1 mx -all"',
        'mx.mailbox.example. TXT "v=spf1 a -all"',
        f'_dmarc.{MAILBOX_ZONE} TXT "v=DMARC1; p=reject"',
    ]


def _addresses(plan: LabPlan, name: str) -> list[str]:
    host = plan.host(name)
    return [f"{host.fqdn}. {'A' if isinstance(i, IPv4Interface) else 'AAAA'} {i.ip}" for i in host.interfaces]


def _fleet_records(plan: LabPlan, zone: str) -> list[str]:
    """What a zone holds before the fleet is published: in a reverse zone, the names of the world's hosts."""
    found = []
    for name in WORLD:
        host = plan.host(name)
        for interface in host.interfaces:
            pointer = dns.reversename.from_address(str(interface.ip))
            if pointer.is_subdomain(dns.name.from_text(zone)):
                found.append(f"{pointer} PTR {host.fqdn}.")
    return found

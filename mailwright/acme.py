"""How machines prove to the fleet's ACME authority that names are theirs, and with what right. Pure."""

from __future__ import annotations

import base64
import re
import secrets as random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from maildns.names import longest_zone
from maildns.policy.mta_sts import policy_host
from mailwright.model.acme import challenge_name, credential, key_name
from mailwright.model.errors import NeedsError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.providers import Cloudflare, DnsProvider, Rfc2136, Route53
from mailwright.zones import zone_providers

ROLE = "certificates"
_LETS_ENCRYPT = re.compile(r"https://[a-z0-9-]+\.api\.letsencrypt\.org/.*")
_CAA_NAME = "letsencrypt.org."
"""https://letsencrypt.org/docs/caa/"""


@dataclass(frozen=True)
class Prover:
    """A machine that publishes proofs in the DNS (`dns-01`), and where."""

    machine: Machine
    provider: DnsProvider
    names: tuple[str, ...]
    """The only names it has to change, absolute: `_acme-challenge.` and what follows."""


def provider_of(fleet: Fleet, machine: Machine, chosen: str | None = None) -> DnsProvider:
    """The provider at which a machine publishes its proofs: the one of its host name's zone unless chosen.

    Raises:
        NeedsError: there is none, or certbot cannot work with it.
    """
    zones = zone_providers(fleet)
    zone = longest_zone(str(machine.fqdn), zones)
    name = chosen or (zones[zone] if zone else None)
    if name is None or name not in fleet.providers:
        what = (
            f"the fleet has no provider {name}" if name else f"nobody holds the zone of {machine.fqdn.bare}"
        )
        raise NeedsError(f"{machine.name}: certificates: {what}: set `provider`, or `challenge: http-01`")
    provider = fleet.providers[name]
    if not isinstance(provider, Rfc2136 | Cloudflare | Route53):
        raise NeedsError(
            f"{machine.name}: certificates: certbot cannot publish proofs at {name} (type {provider.type}):"
            " set `provider` to another, or `challenge: http-01`"
        )
    return provider


def refuse_elsewhere(fleet: Fleet, machine: Machine, names: Iterable[str]) -> None:
    """See that the provider at which a machine publishes its proofs holds the zones of some names.

    Raises:
        NeedsError: another one does, or none.
    """
    zones, own = zone_providers(fleet), provider_of(fleet, machine)
    for name in names:
        zone = longest_zone(name, zones)
        holder = zones[zone] if zone else None
        if holder is None or _reach(fleet.providers[holder]) != _reach(own):
            bare = name.removesuffix(".")
            raise NeedsError(
                f"{machine.name}: certificates: {f'the provider {holder}' if holder else 'nobody'} holds the"
                f" zone of {bare}, where the machine has no credential: delegate _acme-challenge.{bare} and"
                " set `provider`, or `challenge: http-01`"
            )


def _reach(provider: object) -> object:
    """What one credential is good for: all zones of a server, whoever else has a key there."""
    return (provider.server, provider.port) if isinstance(provider, Rfc2136) else provider


def names_of(fleet: Fleet, machine: Machine) -> tuple[str, ...]:
    """The names that a machine serves by the fleet file alone: its own, its pools' and policy hosts."""
    policies = (
        policy_host(str(d.name)) for d in fleet.domains if d.mta_sts and machine.name in d.mta_sts.served_by
    )
    own = (str(machine.fqdn), *(str(pool.service) for pool in fleet.pools_of(machine.name)))
    return (*own, *policies)


def prover(fleet: Fleet, machine: Machine, provider: DnsProvider) -> Prover:
    """A machine that publishes the proofs of its names at a provider."""
    return Prover(machine, provider, tuple(map(challenge_name, names_of(fleet, machine))))


def provers(fleet: Fleet) -> Iterator[Prover]:
    """The machines that get their certificates by proofs in the DNS.

    Raises:
        NeedsError: one has no provider to publish them at.
    """
    for machine in fleet.machines:
        said = machine.roles.get(ROLE, {})
        if said.get("mode") == "acme" and said.get("challenge", "dns-01") == "dns-01":
            yield prover(fleet, machine, provider_of(fleet, machine, said.get("provider")))


def issued(fleet: Fleet) -> dict[str, tuple[str, str]]:
    """Each name that Let's Encrypt is to issue for, what CAA records call it, and how the name is proved.

    How other authorities call themselves their directory does not say.
    """
    found: dict[str, tuple[str, str]] = {}
    if not _LETS_ENCRYPT.fullmatch(fleet.acme.directory):
        return found
    for machine in fleet.machines:
        said = machine.roles.get(ROLE, {})
        if said.get("mode") == "acme":
            method = (_CAA_NAME, said.get("challenge", "dns-01"))
            found |= dict.fromkeys(names_of(fleet, machine), method)
    return found


def tsig_secret() -> str:
    """A new TSIG key: 256 bits, base64 (RFC 8945 8)."""
    return base64.b64encode(random.token_bytes(32)).decode()


def shared(fleet: Fleet, names: Iterable[str]) -> tuple[str, ...]:
    """Those of some names that lead to more than one machine: HTTP would ask any of them for the proof."""
    several = {str(p.service) for p in fleet.pools if p.balancers or len(fleet.members(p)) > 1}
    several |= {policy_host(str(d.name)) for d in fleet.domains if d.mta_sts and len(d.mta_sts.served_by) > 1}
    return tuple(name for name in names if name in several)


def acl_name(prover: Prover) -> str:
    """What the DNS server's configuration calls a machine's right."""
    return f"acme-{prover.machine.name}"


def knot(provers: Iterable[Prover], secrets: Mapping[str, str] | None = None) -> str:
    """Keys and access lists of machines for knot.conf(5); the zones name the lists.

    Without `secrets`, `KEY` stands for each.
    """
    keys, lists = ["key:"], ["acl:"]
    for each, provider in _signing(provers):
        keys += [
            f"  - id: {key_name(each.machine.name)}",
            f"    algorithm: {provider.algorithm}",
            f"    secret: {_secret(each, secrets)}",
        ]
        lists += [
            f"  - id: {acl_name(each)}",
            f"    key: {key_name(each.machine.name)}",
            "    action: update",
            "    update-type: TXT",
            "    update-owner: name",
            "    update-owner-match: equal",
            f"    update-owner-name: [ {', '.join(each.names)} ]",
        ]
    return "\n".join((*keys, "", *lists))


def bind(provers: Iterable[Prover], secrets: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Keys of machines for named.conf(5), and the grants for the `update-policy` of the zones."""
    keys, grants = [], []
    for each, provider in _signing(provers):
        key = f'"{key_name(each.machine.name)}"'
        keys.append(f'key {key} {{ algorithm {provider.algorithm}; secret "{_secret(each, secrets)}"; }};')
        grants += [f"grant {key} name {name} TXT;" for name in each.names]
    return "\n".join(keys), "\n".join(grants)


def _signing(provers: Iterable[Prover]) -> Iterator[tuple[Prover, Rfc2136]]:
    return ((each, each.provider) for each in provers if isinstance(each.provider, Rfc2136))


def _secret(prover: Prover, secrets: Mapping[str, str] | None) -> str:
    return secrets[credential(prover.machine.name, "tsig")] if secrets is not None else "KEY"


def route53_policy(prover: Prover) -> dict[str, object]:
    """The IAM policy of a machine's access key (IAM JSON policy, 2012-10-17).

    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
    """
    names = [name.removesuffix(".") for name in prover.names]
    every = "ForAllValues:StringEquals"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["route53:ListHostedZones", "route53:GetChange"], "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": "route53:ChangeResourceRecordSets",
                "Resource": "arn:aws:route53:::hostedzone/*",
                "Condition": {
                    every: {
                        "route53:ChangeResourceRecordSetsNormalizedRecordNames": names,
                        "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
                    }
                },
            },
        ],
    }

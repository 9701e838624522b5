"""The DNS providers a fleet file can name: what each needs to know. None of this holds a secret."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mailwright.model.base import Address, Model, SecretName
from mailwright.model.names import DnsName


class Rfc2136(Model):
    """A DNS server that takes signed updates (RFC 2136, RFC 8945)."""

    type: Literal["rfc2136"]
    """Signed dynamic updates: BIND, Knot, PowerDNS and others."""
    server: Address
    """The primary server, by address: updates must not depend on the names they publish."""
    port: int = Field(default=53, ge=1, le=65535)
    """Of the server, TCP."""
    key_name: DnsName
    """The TSIG key's name as the server knows it."""
    algorithm: Literal["hmac-sha256", "hmac-sha512"] = "hmac-sha256"
    """The TSIG key's algorithm (RFC 8945 6)."""
    key: SecretName
    """Name of the secret that holds the base64 key."""


class Route53(Model):
    """Amazon Route 53. Without `key_id` and `key`, credentials come the way every AWS tool finds them."""

    type: Literal["route53"]
    """Hosted zones of an AWS account."""
    profile: str | None = None
    """A profile of `~/.aws/config`; default: environment, instance role, as AWS's own tools choose."""
    key_id: SecretName | None = None
    """Name of the secret that holds an access key id: then every clone of the repository can publish."""
    key: SecretName | None = None
    """Name of the secret that holds its secret access key."""
    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Another address of the API, for a compatible service."""

    @model_validator(mode="after")
    def _one_way(self) -> Route53:
        if (self.key_id is None) != (self.key is None):
            raise ValueError("key_id and key belong together")
        if self.key and self.profile:
            raise ValueError("give either a profile, or key_id and key")
        return self


class Cloudflare(Model):
    """Cloudflare, through its API. Its token needs `Zone:Read` and `DNS:Edit` on our zones, no others."""

    type: Literal["cloudflare"]
    """Zones of a Cloudflare account."""
    token: SecretName
    """Name of the secret that holds the API token (not the account's global key)."""
    ownership: Literal["comments", "records"] = "comments"
    """How our records are marked: in their comments, or in TXT records of their own as elsewhere."""
    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Another address of the API, for tests."""


class Octodns(Model):
    """Any provider that octoDNS has: `pip install mailwright[octodns]` and the provider's own package."""

    type: Literal["octodns"]
    """Some fifty more providers, through octoDNS."""
    provider: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")]
    """The provider's class, for example `octodns_powerdns.PowerDnsProvider`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What its documentation asks for, except what is secret."""
    secrets: dict[str, SecretName] = Field(default_factory=dict)
    """Options whose values are secrets: option to the secret's name."""


DnsProvider = Annotated[Rfc2136 | Route53 | Cloudflare | Octodns, Field(discriminator="type")]
"""What `providers` in the fleet file maps names to."""

"""The fleet file, typed. Everything else is derived from this."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import core_schema


class Model(BaseModel):
    """Frozen, and a key it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DnsName(str):
    """A host or domain name: lower-case, absolute, with its final dot (RFC 1035, RFC 1123).

    The fleet file may leave the dot out; from here on it is always there.
    """

    __slots__ = ()

    @property
    def bare(self) -> str:
        """The name without its final dot, as mail software writes it."""
        return self.removesuffix(".")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema(strict=True))

    @classmethod
    def parse(cls, text: str) -> DnsName:
        """Read a name.

        Raises:
            ValueError: not a name of letters, digits and hyphens in labels of 1 to 63 octets.
        """
        name = text.lower().removesuffix(".")
        labels = name.split(".")
        if len(name) > 253 or not all(_is_label(label) for label in labels):
            raise ValueError(f"not a host or domain name: {text[:80]}")
        return cls(name + ".")


def _is_label(label: str) -> bool:
    ok = label.isascii() and label.replace("-", "").replace("_", "").isalnum() and 0 < len(label) <= 63
    return ok and not label.startswith("-") and not label.endswith("-")


Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
SecretName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/@-]*$", max_length=200)]
Network = IPv4Network | IPv6Network


class Owner(Model):
    """Who runs the fleet."""

    name: str
    postmaster: str
    """Where postmaster, abuse and root mail of every machine goes (RFC 2142, RFC 5321 4.5.1)."""


class Admin(Model):
    """A person or pipeline that may log in."""

    name: Slug
    keys: tuple[str, ...] = Field(min_length=1)


class Rfc2136(Model):
    """A DNS server that takes signed updates (RFC 2136, RFC 8945)."""

    type: Literal["rfc2136"]
    server: IPv4Address | IPv6Address
    port: int = Field(default=53, ge=1, le=65535)
    key_name: DnsName
    algorithm: Literal["hmac-sha256", "hmac-sha512"] = "hmac-sha256"
    key: SecretName
    """Name of the secret that holds the base64 key."""


class DkimKey(Model):
    """A signing key: private half in the secrets as `dkim/DOMAIN/SELECTOR`."""

    selector: Slug
    algorithm: Literal["rsa", "ed25519"] = "rsa"


class Spf(Model):
    """Who may send for the domain (RFC 7208). Every sending machine of the fleet is always in."""

    include: tuple[DnsName, ...] = ()
    all: Literal["-all", "~all", "?all"] = "-all"


class Dmarc(Model):
    """What receivers do with mail that fails (RFC 7489)."""

    policy: Literal["none", "quarantine", "reject"] = "none"
    subdomain_policy: Literal["none", "quarantine", "reject"] | None = None
    rua: tuple[str, ...] = ()
    ruf: tuple[str, ...] = ()
    alignment: Literal["relaxed", "strict"] = "relaxed"


class Domain(Model):
    """A mail domain: what the world must see of it."""

    name: DnsName
    provider: Slug | None = None
    """Which of `providers` holds the zone; `None`: printed only, published by hand."""
    mx: tuple[Slug, ...] = ()
    """Machines that take its mail, most preferred first. Empty: a null MX (RFC 7505)."""
    dkim: tuple[DkimKey, ...] = ()
    spf: Spf = Spf()
    dmarc: Dmarc = Dmarc()


class ReverseZone(Model):
    """A reverse zone of ours, so that PTR records are published with the addresses."""

    name: DnsName
    provider: Slug


class Sender(Model):
    """A submission login. Its password is the secret `submission/LOGIN`."""

    login: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    addresses: tuple[str, ...] = Field(min_length=1)
    """Envelope senders the login may use: `name@domain`, or `@domain` for all of a domain."""


class Ssh(Model):
    """How the operator reaches a machine."""

    user: str = "root"
    port: int = Field(default=22, ge=1, le=65535)
    address: str | None = None
    """Default: the machine's first address."""
    key: str | None = None
    """Private key file on the operator's side; default: agent and `~/.ssh`."""
    known_hosts: str | None = None


class Machine(Model):
    """One host of the fleet. pyinfra owns the word Host, ours is Machine."""

    name: Slug
    fqdn: DnsName
    """Its host name, its HELO name and the name its PTR records give: one and the same."""
    debian: Literal[12, 13] = 13
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    ssh: Ssh = Ssh()
    labels: tuple[Slug, ...] = ()
    roles: dict[Slug, dict[str, Any]] = Field(default_factory=dict)
    """Role name to its settings; `{}` takes every default."""

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The machine's addresses, IPv4 first."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a is not None)

    @property
    def ssh_address(self) -> str:
        """Where the operator's SSH connects to."""
        return self.ssh.address or str(self.addresses[0])


class Defaults(Model):
    """What every machine has unless it says otherwise."""

    debian: Literal[12, 13] | None = None
    ssh: Ssh | None = None
    roles: dict[Slug, dict[str, Any]] = Field(default_factory=dict)
    """Settings of a role wherever a machine has it; a machine's own settings win key by key.
    A role named here is not thereby given to any machine."""


class SecretsFile(Model):
    """Where the age-encrypted secrets lie and what opens them."""

    file: str | None = None
    """Relative to the fleet file. Default: `NAME.secrets.age` beside `NAME.yaml`."""
    identity: str | None = None
    """An age identity file. Default: `~/.config/mailwright/identity`, or the environment."""


class Lab(Model):
    """This fleet is a lab on one machine: where its hosts and its outside world live."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,7}$")] = "lab"
    ipv4: IPv4Network
    ipv6: IPv6Network


class Fleet(Model):
    """The whole fleet, as the file says it, with `defaults` already folded into the machines."""

    owner: Owner
    secrets: SecretsFile = SecretsFile()
    admins: tuple[Admin, ...] = ()
    networks: dict[Slug, tuple[Network, ...]] = Field(default_factory=dict)
    """Named networks for firewall audiences; `admin` is where SSH and statistics are open to."""
    providers: dict[Slug, Rfc2136] = Field(default_factory=dict)
    domains: tuple[Domain, ...] = ()
    reverse_zones: tuple[ReverseZone, ...] = ()
    senders: tuple[Sender, ...] = ()
    defaults: Defaults = Defaults()
    machines: tuple[Machine, ...] = Field(min_length=1)
    lab: Lab | None = None

    def machine(self, name: str) -> Machine:
        """The machine of that name.

        Raises:
            KeyError: the fleet has none.
        """
        return next((m for m in self.machines if m.name == name), None) or _missing(name)

    def with_role(self, role: str) -> tuple[Machine, ...]:
        """The machines that have a role, in the order of the file."""
        return tuple(m for m in self.machines if role in m.roles)


def _missing(name: str) -> Machine:
    raise KeyError(name)

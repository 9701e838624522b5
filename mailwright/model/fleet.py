"""The fleet file, typed. Everything else is derived from this."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mailwright.model import names
from mailwright.model.acme import Acme
from mailwright.model.backups import Backup
from mailwright.model.base import Duration, HostName, IPv4, IPv6, Mailbox, Model, Network, RoleName, Slug
from mailwright.model.domains import Domain
from mailwright.model.names import DnsName
from mailwright.model.pools import Pool
from mailwright.model.providers import DnsProvider
from mailwright.model.vagrant import Megabytes, Vagrant
from mailwright.model.verification import Verify


class Owner(Model):
    """Who runs the fleet."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """A person, a company or a project."""
    postmaster: Mailbox
    """Where postmaster, abuse and root mail of every machine goes (RFC 2142, RFC 5321 4.5.1)."""


class Admin(Model):
    """A person or pipeline that may log in."""

    name: Slug
    """The account's name on every machine."""
    keys: tuple[Annotated[str, AfterValidator(names.ssh_key)], ...] = Field(min_length=1)
    """OpenSSH public keys, as in `~/.ssh/id_ed25519.pub`."""


class Blocklist(Model):
    """A DNS blocklist that `mailwright dns check` asks about the fleet (RFC 5782)."""

    zone: DnsName
    """Where it is asked, for example `zen.spamhaus.org`."""
    of: Literal["addresses", "domains"]
    """What it lists."""
    ipv6: bool = False
    """Whether it lists IPv6 addresses, too."""
    listed: DnsName | None = None
    """Of a list of domains, one that is always listed: default `test` (RFC 5782 5)."""


class Dns(Model):
    """How the fleet's records are published."""

    owner: Slug = "mailwright"
    """What marks our records in a zone. Two fleets that share a zone take different ones, for good."""
    ttl: int = Field(default=3600, ge=30, le=86400)
    """Seconds that resolvers may keep a record of ours."""
    accept: tuple[Slug, ...] = ()
    """Names of lints (`mailwright dns lint`) that you know of and that are meant so, fleet-wide."""
    blocklists: tuple[Blocklist, ...] | None = None
    """Blocklists that `dns check` asks about every sending address and domain. Default: those whose word
    keeps most mail out; in a lab, none. `[]` asks none."""


class Dkim(Model):
    """How long DKIM keys live; `mailwright dkim` exchanges them."""

    max_age: Duration = "180d"
    """How long a key signs before `mailwright dkim rotate --due` exchanges it."""
    revoked_for: Duration = "30d"
    """How long a revoked key is shown to the world, before its record goes."""
    standby: bool = False
    """Keep a published key beside each that signs, so that a lost one is replaced at once."""


class ReverseZone(Model):
    """A reverse zone of ours, so that PTR records are published with the addresses."""

    name: DnsName
    """For example `100.51.198.in-addr.arpa` for 198.51.100.0/24."""
    provider: Slug
    """Which of `providers` holds it."""


class Sender(Model):
    """A submission login. Its password is the secret `submission/LOGIN`."""

    login: Annotated[str, Field(pattern=names.LOGIN, max_length=64)]
    """The SASL user name."""
    addresses: tuple[Annotated[str, AfterValidator(names.sender)], ...] = Field(min_length=1)
    """Envelope senders the login may use: `name@domain`, or `@domain` for all of a domain."""


class Ssh(Model):
    """How the operator reaches a machine."""

    user: Annotated[str, Field(pattern=names.ACCOUNT)] = "root"
    """Root, or an account that may use sudo without a password."""
    port: int = Field(default=22, ge=1, le=65535)
    """Where sshd listens."""
    address: Annotated[str, AfterValidator(names.ssh_address)] | None = None
    """Default: the machine's first address, or with `config` its name."""
    key: str | None = None
    """Private key file on the operator's side; default: agent and `~/.ssh`.
    Relative to the fleet file, `~` allowed."""
    known_hosts: str | None = None
    """Where its host key is pinned (`mailwright hostkeys`). Default: `NAME.known_hosts` beside `NAME.yaml`;
    while there is none, `~/.ssh/known_hosts`. Relative to the fleet file, `~` allowed."""
    config: str | None = None
    """An OpenSSH configuration (ssh_config(5)) in the place of `~/.ssh/config`, which knows the machine by
    its name: the address, port and keys that it has for that are used, and `port` is only where sshd listens
    on the machine itself. `vagrant ssh-config` prints one. Relative to the fleet file, `~` allowed."""


class Machine(Model):
    """One host of the fleet. pyinfra owns the word Host, ours is Machine."""

    name: Slug
    """What operators call it: `--limit NAME`."""
    fqdn: HostName
    """Its host name, its HELO name and the name its PTR records give: one and the same."""
    debian: Literal[12, 13] = 13
    """The Debian release it runs; a machine that runs another is refused, not upgraded."""
    ipv4: IPv4 | None = None
    """Where mail leaves from and arrives over IPv4. At least one of `ipv4` and `ipv6` is a must."""
    ipv6: IPv6 | None = None
    """The same over IPv6. Leave it out unless its PTR record can be set: providers refuse mail without."""
    ssh: Ssh = Ssh()
    memory: Megabytes | None = None
    """Mebibytes of a virtual machine that `vagrant/Vagrantfile` makes. Default: `vagrant.memory`."""
    closed: bool = False
    """Reached by nobody but the operator, and sends no mail: a machine that is being put together."""
    labels: tuple[Slug, ...] = ()
    """Groups of your own making: `--limit LABEL`."""
    roles: dict[RoleName, dict[str, Any]] = Field(default_factory=dict)
    """Role name to its settings; `{}` takes every default."""

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The machine's addresses, IPv4 first."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a is not None)

    @property
    def ssh_address(self) -> str:
        """Where the operator's SSH connects to: a name or address, or what `ssh.config` knows it by."""
        return self.ssh.address or (self.name if self.ssh.config else str(self.addresses[0]))


class Defaults(Model):
    """What every machine has unless it says otherwise."""

    debian: Literal[12, 13] | None = None
    """The Debian release of machines that name none."""
    ssh: Ssh | None = None
    """A machine's own `ssh` wins key by key."""
    roles: dict[RoleName, dict[str, Any]] = Field(default_factory=dict)
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

    name: Annotated[str, Field(pattern=names.LAB)] = "lab"
    """At most eight letters and digits: it names network interfaces."""
    ipv4: Annotated[IPv4Network, BeforeValidator(names.network)]
    """The bridge's network: .1 is the controller, .25 .53 .66 the outside world."""
    ipv6: Annotated[IPv6Network, BeforeValidator(names.network)]
    """The same for IPv6."""


class Fleet(Model):
    """The whole fleet, as the file says it, with `defaults` already folded into the machines."""

    owner: Owner
    """Who runs it, and where their mail goes."""
    secrets: SecretsFile = SecretsFile()
    """The secrets file and what opens it."""
    admins: tuple[Admin, ...] = ()
    """Who may log in, on every machine."""
    networks: dict[Slug, tuple[Network, ...]] = Field(default_factory=dict)
    """Named networks for firewall audiences; `admin` is where SSH and statistics are open to."""
    providers: dict[Slug, DnsProvider] = Field(default_factory=dict)
    """Who holds the zones, by a name of your choice."""
    domains: tuple[Domain, ...] = ()
    """The domains in whose name the fleet sends or takes mail."""
    dns: Dns = Dns()
    """Ownership and lifetime of published records."""
    dkim: Dkim = Dkim()
    """How long signing keys live."""
    acme: Acme = Acme()
    """Who issues the certificates that machines get by themselves."""
    backup: Backup = Backup()
    """Where backups go, and how long they stay."""
    reverse_zones: tuple[ReverseZone, ...] = ()
    """Reverse zones of ours. PTR records elsewhere are set with whoever rents out the address."""
    senders: tuple[Sender, ...] = ()
    """Who may submit mail, and under which addresses."""
    defaults: Defaults = Defaults()
    """What machines have unless they say otherwise."""
    machines: tuple[Machine, ...] = Field(min_length=1)
    """The hosts."""
    pools: tuple[Pool, ...] = ()
    """Machines that serve one name together, behind balancers or by the DNS alone."""
    verify: Verify = Verify()
    """What the verification may ask from outside."""
    lab: Lab | None = None
    """Present in a lab's fleet file only."""
    vagrant: Vagrant | None = None
    """Present in a fleet file of virtual machines only."""

    def machine(self, name: str) -> Machine:
        """The machine of that name.

        Raises:
            KeyError: the fleet has none.
        """
        return next((m for m in self.machines if m.name == name), None) or _missing(name)

    def with_role(self, role: str) -> tuple[Machine, ...]:
        """The machines that have a role, in the order of the file."""
        return tuple(m for m in self.machines if role in m.roles)

    def mail_for(self, machine: str) -> tuple[Domain, ...]:
        """The domains whose mail a machine takes: those that name it, or a pool of its, as an MX."""
        names = {machine, *(pool.name for pool in self.pools_of(machine))}
        return tuple(d for d in self.domains if names.intersection(d.mx))

    def exchanger(self, name: str) -> DnsName:
        """The host name of a domain's MX: a machine's, or the service name of a pool.

        Raises:
            KeyError: the fleet has neither.
        """
        return next((p.service for p in self.pools if p.name == name), None) or self.machine(name).fqdn

    def members(self, pool: Pool) -> tuple[Machine, ...]:
        """The machines that serve a pool, in the order of the file."""
        wanted = set(pool.members)
        return tuple(m for m in self.machines if wanted.intersection((m.name, *m.labels)))

    def pools_of(self, machine: str) -> tuple[Pool, ...]:
        """The pools that a machine is a member of."""
        return tuple(p for p in self.pools if any(m.name == machine for m in self.members(p)))

    def balanced_by(self, machine: str) -> tuple[Pool, ...]:
        """The pools that a machine is a balancer of."""
        return tuple(p for p in self.pools if machine in p.balancers)

    def balancers_of(self, machine: str) -> tuple[str, ...]:
        """The balancers in front of a machine, by name; none of a machine that no balanced pool has."""
        return tuple(dict.fromkeys(b for p in self.pools_of(machine) for b in p.balancers))

    def pool_addresses(self, pool: Pool) -> tuple[IPv4Address | IPv6Address, ...]:
        """Where clients reach a pool: its virtual addresses, or without balancers those of all members."""
        if pool.balancers:
            return pool.addresses
        return tuple(address for machine in self.members(pool) for address in machine.addresses)


def _missing(name: str) -> Machine:
    raise KeyError(name)

"""`mailwright add`: a machine joins the fleet, step by step, each with its check."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

import typer

from mailwright.command.console import commands, note
from mailwright.command.dnsview import show_plans
from mailwright.command.growing import LEAVING, AtOnce, Growing, reachable
from mailwright.command.guide import MachineName, Operator, Step, Steps, Yes, follow, patience, read_text
from mailwright.command.hostkeys import Fingerprint, first_sight
from mailwright.command.inventory import Inventory
from mailwright.command.leaving import traffic_of
from mailwright.growth.fleetfile import NewMachine, with_machine
from mailwright.growth.publishing import own_records, part_of
from mailwright.growth.sight import doors, wait_until_seen
from mailwright.hostkeys import file_of, pinned
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Machine
from mailwright.publish import plan_site

app = commands()

Wait = Annotated[
    str,
    typer.Option("--wait", metavar="DURATION", help="For the world to see its names, for example 90s or 1h."),
]
Like = Annotated[
    str | None,
    typer.Option("--like", metavar="MACHINE", help="Write its entry, with the roles and labels of this one."),
]


@app.command()
def add(
    inventory: Inventory,
    machine: MachineName,
    *,
    like: Like = None,
    ipv4: Annotated[str | None, typer.Option(metavar="ADDRESS", help="With --like: its address.")] = None,
    ipv6: Annotated[str | None, typer.Option(metavar="ADDRESS", help="With --like: its address.")] = None,
    fqdn: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --like: its host name. Default: in the same domain."),
    ] = None,
    fingerprint: Fingerprint = None,
    wait: Wait = "1m",
    at_once: AtOnce = False,
    yes: Yes = False,
    steps: Steps = False,
) -> int:
    """Take a machine into the fleet: names and addresses first, then the machine, then its clients.

    The machine is in the fleet file already, or `--like` writes its entry. Each step looks before it acts,
    says what it found, and asks before it changes something. Where one fails, mend it and run the same
    command again.

        mailwright add inventory/prod.yaml out3 --like out2 --ipv4 192.0.2.13 --ipv6 2001:db8:1::13

    Exit status: 0 it is a member, 1 a step failed; the rest was not begun.
    """
    if not like and (ipv4 or ipv6 or fqdn):
        raise MailwrightError(
            "--ipv4, --ipv6 and --fqdn describe a new machine: say --like which one it is to be"
        )
    growing = Growing(inventory, machine, Operator(yes=yes))
    entry = Entry(like, ipv4, ipv6, fqdn) if like else None
    joining = Joining(growing, entry, patience(wait), at_once=at_once, fingerprint=fingerprint)
    return follow(joining.steps(), only_print=steps)


@dataclass(frozen=True)
class Entry:
    """What is said of a machine that the fleet file does not have yet."""

    like: str
    ipv4: str | None = None
    ipv6: str | None = None
    fqdn: str | None = None

    def of(self, name: str, model: Machine) -> NewMachine:
        """The whole entry; host names are in the model's domain unless said."""
        given = {"ipv4": (self.ipv4, model.ipv4), "ipv6": (self.ipv6, model.ipv6)}
        for family, (new, old) in given.items():
            if old and not new:
                raise MailwrightError(f"{self.like} has an {family} address: give the new one by --{family}")
            if new and not old:
                raise MailwrightError(f"{self.like} has no {family} address; add {name} by hand")
        fqdn = self.fqdn or f"{name}.{model.fqdn.bare.partition('.')[2]}"
        ipv4 = str(_address(self.ipv4, IPv4Address)) if self.ipv4 else None
        ipv6 = str(_address(self.ipv6, IPv6Address)) if self.ipv6 else None
        return NewMachine(name, fqdn.removesuffix("."), ipv4, ipv6)

    def require(self, there: Machine) -> None:
        """See that a machine that the fleet file has already is the one that is described.

        Raises:
            MailwrightError: it has another name or address.
        """
        given = {
            "fqdn": (self.fqdn and self.fqdn.removesuffix("."), there.fqdn.bare),
            "ipv4": (self.ipv4 and _address(self.ipv4, IPv4Address), there.ipv4),
            "ipv6": (self.ipv6 and _address(self.ipv6, IPv6Address), there.ipv6),
        }
        for key, (said, has) in given.items():
            if said and said != has:
                raise MailwrightError(
                    f"the fleet file has {there.name} with {key} {has or 'none'}, not {said}"
                )


def _address(text: str, kind: type[IPv4Address | IPv6Address]) -> IPv4Address | IPv6Address:
    try:
        return kind(text)
    except ValueError:
        raise MailwrightError(f"not an {kind.__name__.removesuffix('Address')} address: {text}") from None


@dataclass(frozen=True)
class Joining:
    """The steps, and the work of each."""

    growing: Growing
    entry: Entry | None = None
    wait: float = 60.0
    at_once: bool = False
    fingerprint: str | None = None
    """What its console shows of its SSH host key."""

    def steps(self) -> list[Step]:
        """In their order: what is pointed at comes before whatever points there."""
        name, growing = self.growing.name, self.growing
        return [
            Step(f"the fleet file has {name}", self.write_entry),
            Step(f"{name} answers on SSH and is the Debian it is said to be", self.see),
            Step(f"publish the addresses of {name}, its reverse names, and that it may send", self.publish),
            Step("the world sees them: at every name server, both ways, and in SPF", self.wait_until_seen),
            Step(f"the backup store takes {name} in", self.take_in),
            Step(f"provision {name}", lambda: growing.apply([name])),
            Step(f"verify {name}", lambda: growing.verify([name])),
            Step("let it join: all that changes by it, then the names that lead to it", self.join),
            Step("its balancers send clients to it", self.serve),
            Step("a client is served where its pools are", self.greet),
            Step("verify the whole fleet", growing.verify),
        ]

    def write_entry(self) -> str:
        """Write the machine's entry, unless it is there."""
        site, name = self.growing.site, self.growing.name
        there = next((m for m in site.fleet.machines if m.name == name), None)
        if there is None and self.entry is None:
            raise MailwrightError(
                f"the fleet has no machine {name}: give it an entry, or say --like and its addresses"
            )
        if there is None and self.entry is not None:
            model = next((m for m in site.fleet.machines if m.name == self.entry.like), None)
            if model is None:
                raise MailwrightError(f"--like {self.entry.like}: the fleet has no such machine")
            before = read_text(self.growing.file)
            return self.growing.write(before, with_machine(before, model.name, self.entry.of(name, model)))
        if there is not None and self.entry is not None:
            self.entry.require(there)
        pools = ", ".join(pool.name for pool in site.fleet.pools_of(name))
        return f"it has; {f'a member of {pools}' if pools else 'a member of no pool'}"

    def see(self) -> str:
        """Pin its host key, where the fleet pins keys and has none of it; then see that it answers."""
        machine, file = self.growing.machine(self.growing.site), self.growing.file
        if file_of(machine, file).exists() and not pinned(machine, file_of(machine, file)):
            first_sight(machine, file, self.growing.operator, self.fingerprint)
        return self.growing.see()

    def publish(self) -> str:
        """Publish what must be there before it does anything."""
        site, name = self.growing.site, self.growing.name
        own = own_records(site, name)
        plans = part_of(plan_site(site, say=note), lambda key: key in own, removals=False)
        if plans.by_hand and not plans.changed:
            show_plans(plans)
        if not self.growing.publish(site, plans):
            return "all of it is published" + (" where it is ours to publish" if plans.by_hand else "")
        return (
            "published. Resolvers may hold the SPF policy of before for its TTL "
            f"({site.fleet.dns.ttl} s); until then DKIM vouches for its mail"
        )

    def wait_until_seen(self) -> str:
        """Wait until forward and reverse names, records and SPF are what they should be."""
        site = self.growing.site
        return wait_until_seen(site, self.growing.machine(site), self.wait, lambda line: note(f"     {line}"))

    def take_in(self) -> str:
        """Bring the keeper of its backups up to date: until then the store does not let it in."""
        fleet, name = self.growing.site.fleet, self.growing.name
        keeper = fleet.backup.kept_by if fleet.backup else None
        if keeper is None or keeper == name:
            return "no other machine keeps its backups"
        return self.growing.apply([keeper])

    def join(self) -> str:
        """Bring everything else up to date, balancers among it; then what leads clients here."""
        site = self.growing.site
        rolling = not self.at_once and any(pool.balancers for pool in site.fleet.pools)
        return self.growing.apply(dns=bool(site.fleet.providers), rolling=rolling)

    def serve(self) -> str:
        """See that every balancer sends clients to it; undo a drain that an unfinished `remove` left."""
        site, name = self.growing.site, self.growing.name
        balancers = site.fleet.balancers_of(name)
        if not balancers:
            return "no balancer is in front of it"
        traffic = traffic_of(site.fleet)
        traffic.join(name, only=LEAVING)
        states = traffic.everybody().states.values()
        why = sorted({server.why for state in states for server in state.of(name)} - {""})
        drained = f", but drained ({', '.join(why)}): `mailwright undrain` takes it back" if why else ""
        return f"UP at {', '.join(balancers)}{drained}"

    def greet(self) -> str:
        """Talk to each of its pools as a client does."""
        site = self.growing.site
        return reachable(site, doors(site.fleet, self.growing.machine(site)))

"""A fleet's machines as virtual machines, which `vagrant/Vagrantfile` makes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from mailwright.model import names
from mailwright.model.base import Model
from mailwright.model.mistakes import Found

if TYPE_CHECKING:
    from mailwright.model.fleet import Fleet

Megabytes = Annotated[int, Field(ge=256, le=1_048_576)]


class Vagrant(Model):
    """How large the virtual machines are, what they are made from and where their addresses lie."""

    ipv4: Annotated[IPv4Network, BeforeValidator(names.network)]
    """The private network that joins them; its first address is this computer's. The provider's own network,
    by which they reach the internet and Vagrant reaches them, is another."""
    ipv6: Annotated[IPv6Network, BeforeValidator(names.network)]
    """The same for IPv6."""
    memory: Megabytes
    """Mebibytes of a machine that does not say otherwise."""
    cpus: int = Field(ge=1, le=64)
    """Processors of each."""
    boxes: dict[Literal["debian-12", "debian-13"], Annotated[str, Field(min_length=1)]]
    """The box of each release, as `config.vm.box` takes it: `debian-13: bento/debian-13`."""


def vagrant(fleet: Fleet) -> Iterator[Found]:
    """Mistakes in what the Vagrantfile reads."""
    section = fleet.vagrant
    if section is None:
        return
    default = fleet.defaults.debian or 13
    for i, machine in enumerate(fleet.machines):
        for family, value, net in (
            ("ipv4", machine.ipv4, section.ipv4),
            ("ipv6", machine.ipv6, section.ipv6),
        ):
            if value is not None and value not in net:
                yield ("machines", i, family), f"outside vagrant.{family}, which is {net}: {value}"
            elif value == net[1]:
                yield ("machines", i, family), f"the computer that runs Vagrant has this address: {value}"
        if machine.ipv4 is None:
            yield ("machines", i), "a virtual machine needs an IPv4 address"
        release = machine.debian if "debian" in machine.model_fields_set else default
        if f"debian-{release}" not in section.boxes:
            yield ("vagrant", "boxes"), f"no box for Debian {release}, which {machine.name} runs"

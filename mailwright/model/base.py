"""What every part of the fleet file is made of: the frozen model and the kinds of value."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mailwright.model import names
from mailwright.model.marks import AudienceReference, SecretReference
from mailwright.model.names import DnsName


class Model(BaseModel):
    """Frozen, and a key it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Slug = Annotated[str, Field(pattern=names.SLUG)]
RoleName = Annotated[str, Field(pattern=names.ROLE)]
SecretName = Annotated[str, Field(pattern=names.SECRET, max_length=200), SecretReference()]
Audience = Annotated[str, Field(pattern=names.SLUG), AudienceReference()]
HostName = Annotated[DnsName, AfterValidator(names.host_name)]
Mailbox = Annotated[str, AfterValidator(names.mailbox)]
IPv4 = Annotated[IPv4Address, BeforeValidator(names.ipv4)]
IPv6 = Annotated[IPv6Address, BeforeValidator(names.ipv6)]
Address = Annotated[IPv4Address | IPv6Address, BeforeValidator(names.address)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(names.network)]
Duration = Annotated[str, Field(pattern=names.DURATION)]


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(duration: str) -> int:
    """The seconds of a `Duration`: `3d` is 259200."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]

"""What the verification may ask for beyond the machines themselves, as the fleet file says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mailwright.model.base import Mailbox, Model


class Probe(Model):
    """A mail that `mailwright verify --active` sends through each sending machine."""

    recipient: Mailbox
    """A mailbox of yours outside of the fleet; it gets one mail a sending machine each time."""
    sender: Mailbox
    """The address that it comes from, of a domain of the fleet: what bounces goes there."""


class Verify(Model):
    """What `mailwright verify` looks at besides what the machines say."""

    unreached: tuple[Literal["ipv4", "ipv6"] | Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """What the network that you verify from lets nobody reach, for example `[25, ipv6]`: TCP ports and
    families of addresses. From there it is not asked."""
    probe: Probe | None = None
    """The mail of `--active`."""

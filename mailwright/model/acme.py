"""The certificate authority of a fleet, and what its machines may prove to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mailwright.model import names
from mailwright.model.base import Mailbox, Model

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
CHALLENGE = "_acme-challenge."
"""The label under which a machine proves that a name is its own (RFC 8555 8.4)."""


class Acme(Model):
    """Who issues the certificates of machines with `certificates: {mode: acme}` (RFC 8555).

    Naming a machine so accepts the authority's terms of service in the owner's name.
    """

    directory: Annotated[str, AfterValidator(names.https_uri)] = LETS_ENCRYPT
    """The authority's directory URL. Default: Let's Encrypt."""
    email: Mailbox | None = None
    """Where the authority writes to about the account."""
    ca: str | None = None
    """A PEM file on the operator's side that the authority's own server is verified by, where the world's
    roots do not: a private authority. Relative to the fleet file, `~` allowed."""
    propagation: Annotated[int, Field(ge=0, le=600)] | None = None
    """Seconds that your DNS servers take to agree on a change; the authority is asked that much later.
    Default: 60 with signed updates, 10 with Cloudflare; Route53 tells by itself."""


def challenge_name(name: str) -> str:
    """Where the proof for a name is published, absolute."""
    return f"{CHALLENGE}{name}"


def key_name(machine: str) -> str:
    """The TSIG key with which a machine publishes its proofs, absolute."""
    return f"acme-{machine}."


def credential(machine: str, kind: str) -> str:
    """The name of the secret with which a machine publishes its proofs: `tsig`, `cloudflare` and so on."""
    return f"acme/{machine}/{kind}"

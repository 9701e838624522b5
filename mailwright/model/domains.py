"""A mail domain in the fleet file: what the world must see of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator

from mailwright.model import names
from mailwright.model.base import Model, Slug
from mailwright.model.names import DnsName


class DkimKey(Model):
    """A signing key: private half in the secrets as `dkim/DOMAIN/SELECTOR`."""

    selector: Slug
    """The label before `._domainkey` (RFC 6376 3.1). Never used again for another key."""
    algorithm: Literal["rsa", "ed25519"] = "rsa"
    """`rsa` (2048 bits) is what every receiver verifies; `ed25519` (RFC 8463) only goes beside it."""


class Spf(Model):
    """Who may send for the domain (RFC 7208). Every sending machine of the fleet is always in."""

    include: tuple[DnsName, ...] = ()
    """Others who send for the domain, by the name of their SPF record."""
    all: Literal["-all", "~all", "?all"] = "-all"
    """What holds for everybody else."""


class Dmarc(Model):
    """What receivers do with mail that fails (RFC 7489)."""

    policy: Literal["none", "quarantine", "reject"] = "none"
    """`none` watches, `quarantine` sends to the spam folder, `reject` refuses."""
    subdomain_policy: Literal["none", "quarantine", "reject"] | None = None
    """The same for names below the domain; default: `policy`."""
    rua: tuple[Annotated[str, AfterValidator(names.report_uri)], ...] = ()
    """Where aggregate reports go: `mailto:` addresses."""
    ruf: tuple[Annotated[str, AfterValidator(names.report_uri)], ...] = ()
    """Where failure reports go: `mailto:` addresses. Few receivers send any."""
    alignment: Literal["relaxed", "strict"] = "relaxed"
    """`relaxed` lets a subdomain vouch for the domain, for SPF and DKIM alike."""
    since: date | None = None
    """The day `policy` was put in force, as 2026-11-30: who stays at `none` for months is reminded."""


class Domain(Model):
    """A mail domain: what the world must see of it."""

    name: DnsName
    """What follows the @ in its addresses."""
    provider: Slug | None = None
    """Which of `providers` holds the zone; `None`: printed only, published by hand."""
    zone: DnsName | None = None
    """The zone that holds it; default: one of its own name."""
    mx: tuple[Slug, ...] = ()
    """Machines that take its mail, most preferred first. Empty: a null MX (RFC 7505)."""
    dkim: tuple[DkimKey, ...] = ()
    """Its signing keys: at most one of each algorithm; an RSA key is a must where it sends."""
    spf: Spf = Spf()
    dmarc: Dmarc = Dmarc()

"""A mail domain in the fleet file: what the world must see of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mailwright.model import names
from mailwright.model.base import HostName, Model, Slug
from mailwright.model.names import DnsName

Target = Annotated[Slug | HostName, Field(union_mode="left_to_right")]
"""A machine of the fleet by its name, or any host by its full one: a full name has a dot in it."""


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
    flatten: bool = False
    """Publish the addresses that `include` stands for today, to save lookups. They change without a word:
    run `mailwright dns apply --only DOMAIN --yes` on a schedule."""


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


class MtaSts(Model):
    """That mail to the domain comes over verified TLS or not at all (RFC 8461)."""

    mode: Literal["none", "testing", "enforce"] = "testing"
    """`testing` only reports (see `tls_rpt`), `enforce` refuses, `none` lets go of an earlier policy."""
    max_age: int = Field(default=1_209_600, ge=86_400, le=31_557_600)
    """Seconds that senders hold the policy, and hold you to it: two weeks, at most a year."""
    served_by: tuple[Slug, ...] = Field(min_length=1)
    """Machines with the role `policies`: they serve https://mta-sts.DOMAIN/."""


class TlsRpt(Model):
    """Where senders report how TLS with the domain's MX went (RFC 8460)."""

    rua: tuple[Annotated[str, AfterValidator(names.report_target)], ...] = Field(min_length=1)
    """`mailto:` addresses or `https://` URLs."""


class CaaIssuer(Model):
    """A certificate authority that may issue for the domain."""

    name: DnsName
    """What it is called in CAA records, for example `letsencrypt.org`."""
    accounturi: Annotated[str, AfterValidator(names.https_uri)] | None = None
    """Only for this ACME account (RFC 8657 3)."""
    validationmethods: tuple[Annotated[str, Field(pattern=names.METHOD)], ...] = ()
    """Only by these methods, for example `dns-01` (RFC 8657 4)."""
    wildcard: bool = False
    """Wildcard certificates, too."""


class Caa(Model):
    """Which certificate authorities may issue for the domain and what is below it (RFC 8659)."""

    issuers: tuple[CaaIssuer, ...] = ()
    """None: nobody may."""
    iodef: tuple[Annotated[str, AfterValidator(names.report_target)], ...] = ()
    """Where authorities tell of requests they refused: `mailto:` addresses or `https://` URLs."""


class Bimi(Model):
    """The logo that mailbox providers show beside the domain's mail; takes a strict `dmarc` policy."""

    logo: Annotated[str, AfterValidator(names.https_uri)]
    """Of the SVG file (profile SVG Tiny PS)."""
    certificate: Annotated[str, AfterValidator(names.https_uri)] | None = None
    """Of the mark certificate (VMC or CMC) in PEM, which the large providers ask for."""
    selector: Slug = "default"
    """The label before `._bimi`; others than `default` are chosen by a header of the message."""


class Clients(Model):
    """How mail programs find their servers (RFC 6186, RFC 8314). What is left out is declared not offered."""

    submissions: tuple[Target, ...] = ()
    """Submission over TLS, port 465: machines, pools or host names, most preferred first."""
    submission: tuple[Target, ...] = ()
    """Submission with STARTTLS, port 587."""
    imaps: tuple[Target, ...] = ()
    """IMAP over TLS, port 993."""
    imap: tuple[Target, ...] = ()
    """IMAP with STARTTLS, port 143."""
    pop3s: tuple[Target, ...] = ()
    """POP3 over TLS, port 995."""
    pop3: tuple[Target, ...] = ()
    """POP3 with STARTTLS, port 110."""


class Domain(Model):
    """A mail domain: what the world must see of it."""

    name: DnsName
    """What follows the @ in its addresses."""
    provider: Slug | None = None
    """Which of `providers` holds the zone; `None`: printed only, published by hand."""
    zone: DnsName | None = None
    """The zone that holds it; default: one of its own name."""
    mx: tuple[Slug, ...] = ()
    """Machines, or pools, that take its mail, most preferred first. Empty: a null MX (RFC 7505)."""
    dkim: tuple[DkimKey, ...] = ()
    """Its first signing keys, which `mailwright dkim` exchanges: at most one of each algorithm; an RSA key
    is a must where it sends."""
    spf: Spf = Spf()
    dmarc: Dmarc = Dmarc()
    mta_sts: MtaSts | None = None
    """TLS that senders must verify, by a policy served over HTTPS."""
    tls_rpt: TlsRpt | None = None
    """Reports about TLS from senders."""
    caa: Caa | None = None
    """Who may issue certificates. `None`: no CAA records of ours."""
    bimi: Bimi | None = None
    """A logo beside the mail."""
    clients: Clients | None = None
    """SRV records for mail programs. `None`: none at all."""
    accept: tuple[Slug, ...] = ()
    """Names of lints (`mailwright dns lint`) about this domain that you know of and that are meant so."""
    links: dict[Annotated[str, Field(pattern=names.HOST_LABEL)], Target] = Field(default_factory=dict)
    """Host names below the domain that links in its mail use, such as `click` and `unsubscribe`: each a
    machine of the fleet (its addresses) or another host by its full name (an alias)."""

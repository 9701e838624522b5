"""A validating resolver of the machine's own: blocklists and DANE are worthless without one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import dns.exception
import dns.zonefile
from dns.rdatatype import DNSKEY, DS
from pydantic import Field

from mailwright.converge import operations as op
from mailwright.model.accounts import UNBOUND
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.names import DnsName
from mailwright.model.needs import Directory, File, Needs, Package, Port, Unit
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.render import render

CONFIG = "/etc/unbound/unbound.conf.d/mailwright.conf"
RESOLV = "/etc/resolv.conf"
UNIT = "/etc/systemd/system/unbound.service.d/mailwright.conf"


class UnboundSettings(Settings):
    """Zones that are not found, or not validated, from the root."""

    forward: dict[DnsName, tuple[IPv4Address | IPv6Address, ...]] = Field(default_factory=dict)
    """Zones that these servers answer for, wherever the root points."""
    trust_anchors: str | None = None
    """A file on the operator's side with DS or DNSKEY records in zone file format, for zones that are
    signed but not chained to the root. Relative to the fleet file, `~` allowed."""
    insecure: tuple[DnsName, ...] = ()
    """Zones that are not validated."""
    cache: int = Field(default=64, ge=1, le=4096)
    """Megabytes for messages; twice as many go to record sets."""
    stale_hours: int = Field(default=4, ge=0, le=72)
    """How long expired answers serve while a domain's servers are away."""
    bogus: DnsName | None = None
    """A name that is signed wrongly on purpose: the verification asks for it, and it must fail. Default:
    `dnssec-failed.org`; with `trust_anchors`, none is asked for."""


def needs(_: Context[UnboundSettings]) -> Needs:
    """DNS on the loopback, and dig to look at it."""
    return Needs(
        packages=(Package("unbound"), Package("dns-root-data"), Package("bind9-dnsutils")),
        users=(UNBOUND,),
        units=(Unit("unbound.service", reads=(CONFIG,)),),
        ports=tuple(Port(53, proto, "local", "DNS resolver") for proto in ("tcp", "udp")),
    )


def files(ctx: Context[UnboundSettings]) -> Needs:
    """The resolver's configuration, and what keeps DHCP clients off /etc/resolv.conf.

    /etc/resolv.conf itself is written by `apply`, once the resolver answers.
    """
    settings = ctx.settings
    content = render(
        "unbound/mailwright.conf.j2",
        forward=sorted(settings.forward.items()),
        insecure=settings.insecure,
        anchors=tuple(_anchors(settings.trust_anchors)) if settings.trust_anchors else (),
        cache=settings.cache,
        stale_hours=settings.stale_hours,
    )
    return Needs(
        directories=(Directory("/etc/dhcp"), Directory("/etc/dhcp/dhclient-enter-hooks.d")),
        files=(
            File(CONFIG, content),
            File(UNIT, render("unbound/service.conf.j2")),
            File("/etc/dhcp/dhclient-enter-hooks.d/mailwright", render("unbound/dhclient.j2")),
            File("/etc/dhcpcd.enter-hook", render("unbound/dhcpcd.j2")),
        ),
    )


def _anchors(path: str) -> Iterator[str]:
    try:
        rrsets = dns.zonefile.read_rrsets(Path(path).read_text(), rdclass=None, default_ttl=0)
    except (OSError, UnicodeDecodeError, dns.exception.DNSException) as error:
        raise MailwrightError(f"unbound: trust_anchors: {path}: {error}") from error
    for rrset in rrsets:
        if rrset.rdtype not in (DS, DNSKEY):
            raise MailwrightError(f"unbound: trust_anchors: {path}: {rrset.name} is no DS or DNSKEY record")
        yield from (f"{rrset.name} IN {rrset.rdtype.name} {rdata}" for rdata in rrset)


def apply(ctx: Context[UnboundSettings]) -> None:
    """Start the resolver, and use it once it answers: the host is never left without names."""
    op.files(ctx, validate=f"unbound-checkconf {{root}}{CONFIG}")
    op.units(ctx)
    op.shell(
        ctx,
        "resolve names by the local resolver",
        _use(ctx.settings),
        unless=_used(),
        stdin=render("unbound/resolv.conf.j2").decode(),
    )


def _used() -> str:
    content = shlex.quote(render("unbound/resolv.conf.j2").decode())
    return (
        f"[ ! -L {RESOLV} ] && printf %s {content} | cmp -s - {RESOLV} "
        "&& ! systemctl is-active --quiet systemd-resolved.service"
    )


def _use(settings: UnboundSettings) -> str:
    # One answer from the root or from a forwarded zone is enough: the others may be down today.
    # systemd-resolved goes too: through nss-resolve, programs would ask the resolvers of DHCP first.
    return f"""
tries=0
until {_answers(settings)}; do
  tries=$((tries + 1))
  [ $tries -lt 5 ] || {{ echo 'unbound answers nothing; {RESOLV} stays as it was' >&2; exit 1; }}
done
umask 022
cat >{RESOLV}.mailwright && mv -f {RESOLV}.mailwright {RESOLV} || exit 1
! systemctl is-active --quiet systemd-resolved.service || systemctl mask --now systemd-resolved.service
"""


def _answers(settings: UnboundSettings) -> str:
    return " || ".join(
        f"dig +time=3 +tries=1 @127.0.0.1 {shlex.quote(zone)} SOA | grep -q 'status: NOERROR'"
        for zone in (*sorted(settings.forward), ".")
    )


def checks(ctx: Context[UnboundSettings]) -> Iterable[Check]:
    """The resolver is used and validates."""
    yield Check(
        "names are resolved by the local resolver",
        _used(),
        lambda r: None if r.status == 0 else f"{RESOLV} is not ours, or systemd-resolved runs beside it",
        "mailwright apply",
    )
    secure = [zone for zone in ctx.settings.forward if zone not in ctx.settings.insecure]
    for zone in secure if ctx.settings.trust_anchors else (".",):
        yield Check(
            f"answers of {zone} are validated",
            f"dig +time=5 +tries=2 +adflag @127.0.0.1 {shlex.quote(zone)} SOA",
            _validated,
            "journalctl -u unbound says why validation fails; is the clock right?",
        )
    bogus = ctx.settings.bogus or (None if ctx.settings.trust_anchors else _BOGUS)
    if bogus:
        ask = f"dig +time=5 +tries=2 @127.0.0.1 {shlex.quote(bogus)} SOA"
        yield Check(
            "a forged answer is refused",
            # With the CD bit it comes as it is (RFC 4035 3.2.2), which tells a refusal from a dead end.
            f"{ask} +noadflag; {ask} +cdflag",
            _refused,
            "look for val-permissive-mode and for module-config without the validator in /etc/unbound",
        )


_BOGUS = DnsName("dnssec-failed.org.")
"""Signed wrongly on purpose, since 2012, for everybody to test with."""


def _statuses(result: Result) -> list[str]:
    """What the resolver answered to each question.

    Raises:
        UnknownError: it took too long.
    """
    if "timed out" in result.stdout + result.stderr:
        raise UnknownError("the resolver gave no answer in time")
    return re.findall(r"status: ([A-Z]+)", result.stdout)


def _refused(result: Result) -> str | None:
    statuses = _statuses(result)
    if statuses == ["SERVFAIL", "NOERROR"]:
        return None
    if statuses == ["NOERROR", "NOERROR"]:
        return "the resolver passes it on"
    said = " and ".join(statuses) or result.stdout.strip()[-200:] or "nothing"
    raise UnknownError(f"the resolver says {said}: is the name there, and signed wrongly? (`bogus`)")


def _validated(result: Result) -> str | None:
    if "NOERROR" not in _statuses(result):
        status = result.stdout.partition("status: ")[2].partition(",")[0]
        return f"the resolver says {status or 'nothing'}"
    flags = result.stdout.partition(";; flags: ")[2].partition(";")[0].split()
    return None if "ad" in flags else "the answer is not marked as validated (no AD flag)"


ROLE = Role("unbound", UnboundSettings, apply, needs=needs, files=files, checks=checks)

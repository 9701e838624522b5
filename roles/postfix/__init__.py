"""Postfix as a sending host: submission for the fleet's logins, port 25 for what comes back, and delivery."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from mailwright.converge import operations as op
from mailwright.model import names
from mailwright.model.accounts import INBOUND, POSTFIX
from mailwright.model.base import Audience, Duration, seconds
from mailwright.model.domains import Domain
from mailwright.model.errors import NeedsError
from mailwright.model.needs import (
    ALGORITHMS,
    BackupPath,
    Certificate,
    Directory,
    File,
    Needs,
    Package,
    Port,
    Unit,
)
from mailwright.model.pools import HAND_OVER_PORT, HEALTH_PORT
from mailwright.model.pools import MAIL as MAIL_PORT
from mailwright.model.role import Check, Context, Role, Settings
from mailwright.model.visit import OutsideCheck
from mailwright.render import render
from roles.postfix import behaviour, behind, condition, outside, probe
from roles.postfix.addresses import FORWARDED, Addresses, only_ours, rights
from roles.postfix.condition import QUEUE
from roles.postfix.membership import HEALTH_LOG, ROTATION, Membership

HOME = "/etc/postfix"
MAIL = "/srv/mail"
"""Maildirs of what comes back: DOMAIN/NAME/."""
MAIL_USER = INBOUND  # main.cf has it by number: virtual(8) takes nothing else
_MAILDIRS = Directory(MAIL, MAIL_USER.name, MAIL_USER.name, 0o750)
COPY = "/usr/local/sbin/mailwright-mail-copy"
"""Copies mail that moves, and puts it back; the role backup runs it."""
_COPIES = ".backup"
"""Beside what they are copies of, because they are hard links."""


class PostfixSettings(Settings):
    """What differs from one sending host to another."""

    submission: bool = True
    """Take mail from the fleet's logins on 587 (STARTTLS) and 465 (TLS)."""
    submission_audience: Audience = "public"
    """Who may reach those ports: `public`, `fleet`, `admin` or a named network."""
    inbound: bool | None = None
    """Take mail from the world on 25. Default: if a domain names this machine, or a pool that it is a member
    of, in its `mx`, or such a pool serves port 25."""
    accept: tuple[Annotated[str, AfterValidator(names.sender)], ...] = ()
    """Addresses whose mail is kept in a Maildir, beside those of the logins: `name@domain` takes
    `name+anything@domain` too, `@domain` takes whatever there is no address for."""
    dane: bool = False
    """Publish the key of port 25 as TLSA records (RFC 7672): senders that verify then take no other. Needs
    `certificates: {mode: provided}` and a zone signed with DNSSEC."""
    rsa_certificate: bool = False
    """An RSA certificate beside the ECDSA one, for old senders that know no other."""
    blocklists: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]+(=[0-9.;\[\]]+)?(\*-?[0-9]+)?$")], ...] = ()
    """DNS blocklists for port 25, as postscreen writes them: `zen.spamhaus.org*3`. A sum of 3 is refused."""
    message_size: int = Field(default=26_214_400, ge=65_536, le=1_073_741_824)
    """Octets of a message, attachments encoded: 25 MiB is what the large mailbox providers take."""
    recipients: int = Field(default=1000, ge=100, le=100_000)
    """Recipients of one message; RFC 5321 section 4.5.3.1.8 asks for 100 at least."""
    queue_lifetime: Duration = "3d"
    """How long mail is tried before it goes back to its sender."""
    bounce_lifetime: Duration = "1d"
    """How long that is tried."""
    deliveries: int = Field(default=200, ge=10, le=5000)
    """Deliveries to the world at a time."""
    log_hours: int = Field(default=24, ge=1, le=720)
    """How far back the verification looks for errors in the mail log; a restart of Postfix begins anew."""


def needs(ctx: Context[PostfixSettings]) -> Needs:
    """Postfix, its ports and its certificate.

    Raises:
        NeedsError: mail would be submitted and nobody could check the passwords, or the machine is a
            member of a pool whose port it is told not to serve.
    """
    settings, machine = ctx.settings, ctx.machine
    membership = Membership.of(ctx.fleet, machine)
    membership.check_inbound(machine, inbound=_inbound(ctx))
    if settings.submission and "dovecot" not in machine.roles:
        raise NeedsError(
            f"{machine.name}: the role postfix checks submission passwords by the role dovecot, which the"
            " machine lacks; give it to the machine, or set `submission: false`"
        )
    certificate = _certificate(ctx)
    submission = partial(Port, proto="tcp", audience=settings.submission_audience)
    ports = (
        *((Port(25, "tcp", "public", "mail from the world"),) if _inbound(ctx) else ()),
        *((submission(587, reason="submission"),) if settings.submission else ()),
        *((submission(465, reason="submission over TLS"),) if settings.submission else ()),
        *membership.ports(),
    )
    # An SMTP client to verify with, which can also speak as a balancer does.
    client = (Package("curl"),) if settings.submission or membership.proxied else ()
    rotation = (Package("logrotate"),) if membership.proxied else ()
    return Needs(
        packages=(Package("postfix"), *client, *rotation),
        users=(POSTFIX, *((MAIL_USER,) if _inbound(ctx) else ())),
        units=(
            Unit(
                _UNITS[machine.debian],
                reads=(HOME, *(file for pair in certificate.pairs for file in (pair.chain, pair.key))),
                reload=True,
                check="postfix check",
                fenced=True,
            ),
            # Postfix in its chroot has a copy of /etc/resolv.conf; Debian's unit renews it.
            Unit("postfix-resolvconf.path"),
            *((Unit("logrotate.timer"),) if membership.proxied else ()),
        ),
        ports=ports,
        backups=(
            _queue(_UNITS[machine.debian]),
            *((_MAIL_COPIED,) if _inbound(ctx) else ()),
        ),
        certificates=(certificate,),
    )


def _queue(unit: str) -> BackupPath:
    at = f"{QUEUE}/{_COPIES}"
    return BackupPath(
        QUEUE,
        "mail that is accepted and not yet delivered",
        "short",
        dump=f"{COPY} queue-dump {at}",
        restore=f"{COPY} queue-restore {at} {unit}",
        at=at,
    )


_MAIL_COPIED = BackupPath(
    MAIL,
    "bounces and replies",
    dump=f"{COPY} maildirs-dump {MAIL} {MAIL}/{_COPIES}",
    restore=f"{COPY} maildirs-restore {MAIL} {MAIL}/{_COPIES}",
    at=f"{MAIL}/{_COPIES}",
)


# Debian 12 runs Postfix as an instance of a template, and postfix.service there does nothing.
_UNITS = {12: "postfix@-.service", 13: "postfix.service"}


def _certificate(ctx: Context[PostfixSettings]) -> Certificate:
    pools = ctx.fleet.pools_of(ctx.machine.name)
    names = (ctx.machine.fqdn, *(pool.service for pool in pools))
    # Where other mail servers come: nobody would ever meet the key at port 25 of a pool for submission alone.
    exchangers = {name for domain in ctx.fleet.domains for name in domain.mx}
    taking = [pool.service for pool in pools if MAIL_PORT in pool.ports or pool.name in exchangers]
    met = (ctx.machine.fqdn, *taking) if ctx.settings.dane and _inbound(ctx) else ()
    pinned = tuple((name, MAIL_PORT) for name in met)
    algorithms = ALGORITHMS if ctx.settings.rsa_certificate else ALGORITHMS[:1]
    return Certificate("smtp", names, pinned=pinned, algorithms=algorithms)


def _domains(ctx: Context[PostfixSettings]) -> tuple[Domain, ...]:
    """Whose mail the machine takes."""
    return ctx.fleet.mail_for(ctx.machine.name) if _inbound(ctx) else ()


def _inbound(ctx: Context[PostfixSettings]) -> bool:
    if ctx.settings.inbound is not None:
        return ctx.settings.inbound
    return bool(ctx.fleet.mail_for(ctx.machine.name)) or Membership.of(ctx.fleet, ctx.machine).world


def files(ctx: Context[PostfixSettings]) -> Needs:
    """main.cf, master.cf and their tables; all are plain text that needs no compilation."""
    membership = Membership.of(ctx.fleet, ctx.machine)
    common = {
        "membership": membership,
        "settings": ctx.settings,
        "inbound": _inbound(ctx),
        "host": ctx.machine.fqdn.bare,
        "chains": _chains(ctx),
    }
    addresses = Addresses.of(ctx.fleet, _domains(ctx), ctx.settings.accept)
    texts = {
        "main.cf": render(
            "postfix/main.cf.j2",
            machine=ctx.machine,
            origin=_origin(ctx),
            chain_files=[file for pair in _certificate(ctx).pairs for file in (pair.key, pair.chain)],
            domains=[d.name.bare for d in addresses.domains],
            mail=MAIL,
            mail_user=MAIL_USER,
            **common,
        ),
        "master.cf": render(
            "postfix/master.cf.j2",
            health_port=HEALTH_PORT,
            health_log=HEALTH_LOG,
            handover_port=HAND_OVER_PORT,
            **common,
        ),
        "aliases": render("postfix/aliases.j2", forwarded=FORWARDED, owner=ctx.fleet.owner.postmaster),
        "virtual": render("postfix/virtual.j2", forwards=addresses.forwards),
        "mailboxes": render("postfix/mailboxes.j2", mailboxes=addresses.mailboxes),
        "senders": render("postfix/senders.j2", rights=rights(ctx.fleet)),
        "forged": render("postfix/forged.j2", names=only_ours(ctx.fleet)),
        "fleet.cidr": render(
            "postfix/fleet.cidr.j2",
            whom="the sending machines of the fleet",
            machines=ctx.fleet.with_role("postfix"),
        ),
        "peers.cidr": render(
            "postfix/fleet.cidr.j2",
            whom="the other sending machines, who may hand over their queue",
            machines=membership.peers,
        ),
        "submission_headers": render("postfix/submission_headers.j2", host=ctx.machine.fqdn.bare),
    }
    return Needs(
        directories=(
            Directory(HOME),
            *((_MAILDIRS,) if _inbound(ctx) else ()),
        ),
        files=(
            *(File(f"{HOME}/{name}", content) for name, content in texts.items()),
            File(COPY, render("postfix/mail-copy.py"), mode=0o755),
            File(
                f"/etc/systemd/system/{_UNITS[ctx.machine.debian]}.d/mailwright.conf",
                render("postfix/service.conf.j2", debian=ctx.machine.debian),
            ),
            *(
                (File(ROTATION, render("postfix/logrotate.j2", log=HEALTH_LOG)),)
                if membership.proxied
                else ()
            ),
        ),
    )


def _origin(ctx: Context[PostfixSettings]) -> str:
    """The domain of mail that the machine itself writes: one that can take the answer, or its own name."""
    able = [d.name.bare for d in ctx.fleet.domains if d.mx]
    host = ctx.machine.fqdn.bare
    around = sorted((d for d in able if host == d or host.endswith(f".{d}")), key=len)
    return around[-1] if around else able[0] if able else host


def _chains(ctx: Context[PostfixSettings]) -> dict[str, list[list[str]]]:
    """The milters of each stage: one chain a lane."""
    lanes: dict[str, dict[int, list[str]]] = {"submission": {}, "inbound": {}}
    for milter in ctx.merged.milters:
        lanes[milter.stage].setdefault(milter.lane, []).append(milter.address)
    return {stage: [chain for _, chain in sorted(by_lane.items())] for stage, by_lane in lanes.items()}


def apply(ctx: Context[PostfixSettings]) -> None:
    """Exchange the configuration once Postfix has read all of it without complaint."""
    op.files(ctx, validate=behaviour.VALIDATE)
    op.units(ctx)


def checks(ctx: Context[PostfixSettings]) -> Iterable[Check]:
    """How the machine behaves on each of its ports."""
    membership = Membership.of(ctx.fleet, ctx.machine)
    if ctx.machine.closed:
        yield behaviour.stands_still()
    else:
        lifetime = max(map(seconds, (ctx.settings.queue_lifetime, ctx.settings.bounce_lifetime)))
        yield condition.queue_age(lifetime)
    yield condition.log(_UNITS[ctx.machine.debian], ctx.settings.log_hours)
    yield from behaviour.checks(ctx.machine, inbound=_inbound(ctx), submission=ctx.settings.submission)
    yield from behind.checks(ctx.machine, membership)


def seen_outside(ctx: Context[PostfixSettings]) -> Iterable[OutsideCheck]:
    """How those of its ports behave that are for everybody."""
    if ctx.machine.closed:
        return
    submission = ctx.settings.submission and ctx.settings.submission_audience == "public"
    yield from outside.checks(ctx, inbound=_inbound(ctx), submission=submission)


def probes(ctx: Context[PostfixSettings]) -> Iterable[Check]:
    """The mail of `verify --active`, where the machine sends any."""
    if ctx.fleet.verify.probe and not ctx.machine.closed:
        yield probe.probe(ctx.fleet, ctx.machine, ctx.fleet.verify.probe)


ROLE = Role(
    "postfix",
    PostfixSettings,
    apply,
    needs=needs,
    files=files,
    checks=checks,
    outside=seen_outside,
    probes=probes,
)

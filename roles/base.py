"""What every machine has: its name, the time, logs, updates, administrators and a hardened sshd."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mailwright import sshd
from mailwright.converge import operations as op
from mailwright.model import accounts
from mailwright.model.errors import FleetError
from mailwright.model.names import DnsName
from mailwright.model.needs import Directory, File, Needs, Package, Port, Reach, Sysctl, Unit, User
from mailwright.model.needs.valid import PACKAGE
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.render import render
from roles import vitals

ADMINS = "/etc/mailwright/admins"
"""One empty file for each administrator we made: how a former one is told from a stranger's account."""
CHRONY = "/etc/chrony/chrony.conf"
HOLDS = "/etc/mailwright/holds"
"""One empty file for each package that we hold: how those are told from what an operator holds by hand."""
JOURNALD = "/etc/systemd/journald.conf.d/mailwright.conf"
LOCALE = {12: "/etc/default/locale", 13: "/etc/locale.conf"}
"""Debian 13 makes the old place a link to the new one at each boot (systemd's tmpfiles.d)."""
PINS = "/etc/apt/preferences.d/mailwright"
SSHD = "/etc/ssh/sshd_config.d/10-mailwright.conf"
SUDOERS = "/etc/sudoers.d/mailwright"
UPDATES = "/etc/apt/apt.conf.d/52mailwright"

PACKAGES = (
    "bash",  # the administrators' shell
    "ca-certificates",
    "chrony",
    "hostname",
    "needrestart",
    "openssh-server",
    "sudo",
    "unattended-upgrades",
)

# All of them belong to the network namespace, so that they hold in a container as well.
SYSCTLS = (
    Sysctl(
        "net.ipv4.ip_local_port_range",
        "16384 65535",
        "every delivery takes a local port for a minute after its end, and most go to a few providers",
    ),
    Sysctl(
        "net.ipv4.tcp_slow_start_after_idle",
        "0",
        "a reused SMTP connection idles between messages and should not start slowly at each",
    ),
    Sysctl(
        "net.ipv6.conf.all.use_tempaddr",
        "0",
        "mail must leave from the address that has the PTR record, never from a temporary one",
    ),
    Sysctl("net.ipv6.conf.default.use_tempaddr", "0", "as above, for interfaces that come later"),
    Sysctl("net.ipv4.conf.all.accept_redirects", "0", "nobody on the link may bend our routes"),
    Sysctl("net.ipv6.conf.all.accept_redirects", "0", "as above"),
    Sysctl("net.ipv4.conf.all.send_redirects", "0", "this is no router"),
    Sysctl("net.ipv4.conf.all.accept_source_route", "0", "nobody chooses the way of our answers"),
)

REACHES = (
    *(Reach(53, proto, "DNS") for proto in ("udp", "tcp")),
    Reach(67, "udp", "DHCP"),
    Reach(547, "udp", "DHCPv6"),
    Reach(123, "udp", "time"),
    *(Reach(port, "tcp", "packages") for port in (80, 443)),
)

_CLOCK_TOLERANCE = 60
"""Seconds. Signatures, TLS and DNSSEC suffer from minutes."""
_REBOOT_PATIENCE = 14
"""Days for which a reboot may be owed before the verification says so."""


def _server(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return DnsName.parse(text).bare


PackageName = Annotated[str, Field(pattern=f"^{PACKAGE.pattern}$")]


class BaseSettings(Settings):
    """How a machine keeps time, logs and itself up to date."""

    ntp: tuple[Annotated[str, AfterValidator(_server)], ...] = Field(("2.debian.pool.ntp.org",), min_length=1)
    """Time servers or pools, by name or address."""
    journal_days: int = Field(default=30, ge=1, le=3650)
    """How long logs are kept. They hold the addresses of people: no longer than they are of use."""
    journal_size: Annotated[str, Field(pattern=r"^[1-9][0-9]*[MGT]$")] = "2G"
    """The most that logs may take up, however young they are."""
    reboot: Literal["never", "marker"] | Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = (
        "marker"
    )
    """When a security update asks for a reboot: `never` mind; leave Debian's `marker`, which the
    verification reports after two weeks; or reboot at this time of day (`HH:MM`, the machine's zone)."""
    hold: tuple[PackageName, ...] = ()
    """Packages that stay as they are, whoever upgrades, until they are taken out of this list."""
    pins: dict[PackageName, Annotated[str, Field(pattern=r"^[0-9A-Za-z.+:~*-]+$")]] = Field(
        default_factory=dict
    )
    """Packages whose version must match: `{haproxy: "3.0.*"}` keeps to that series."""
    root_login: Literal["prohibit-password", "no"] = "prohibit-password"
    """Whether root may log in, by key; `no` only where `ssh.user` is an administrator."""


def needs(ctx: Context[BaseSettings]) -> Needs:
    """Everything but file contents.

    Raises:
        FleetError: the fleet file forbids the very login that the operator uses.
    """
    if ctx.settings.root_login == "no" and ctx.machine.ssh.user == "root":
        raise FleetError(
            [f"{ctx.machine.name}: `root_login: no` would shut out the operator, whose `ssh: user` is root"]
        )
    return Needs(
        packages=tuple(map(Package, PACKAGES)),
        users=(
            accounts.CHRONY,
            *(
                User(  # noqa: S604 - the account's shell, not a shell to run
                    admin.name,
                    groups=("sudo",),
                    home=f"/home/{admin.name}",
                    shell="/bin/bash",
                    system=False,
                    keys=admin.keys,
                )
                for admin in ctx.fleet.admins
            ),
        ),
        sysctls=SYSCTLS,
        units=(
            Unit("chrony.service", reads=(CHRONY,)),
            Unit("systemd-journald.service", reads=(JOURNALD,)),
            Unit("ssh.service", reads=(SSHD,), reload=True),
            Unit("ssh.socket", masked=True),  # that systemd listens in sshd's stead: sshd.py
            Unit("unattended-upgrades.service"),
            Unit("apt-daily.timer"),
            Unit("apt-daily-upgrade.timer"),
        ),
        ports=(Port(ctx.machine.ssh.port, "tcp", "admin", "SSH"),),
        reaches=REACHES,
    )


def files(ctx: Context[BaseSettings]) -> Needs:
    """The host's own configuration."""
    settings, fqdn = ctx.settings, ctx.machine.fqdn.bare
    host = fqdn.partition(".")[0]
    admins = [admin.name for admin in ctx.fleet.admins]
    addresses = [str(address) for address in ctx.machine.addresses]
    by_hand = sorted({package.name for package in ctx.merged.packages if not package.unattended})
    reboot_at = settings.reboot if ":" in settings.reboot else ""
    return Needs(
        directories=(
            Directory("/etc/mailwright"),
            Directory(ADMINS),
            Directory(HOLDS),
            Directory("/etc/cloud"),
            Directory("/etc/cloud/cloud.cfg.d"),
            Directory("/etc/systemd/journald.conf.d"),
        ),
        files=(
            File("/etc/hostname", f"{host}\n".encode()),
            File("/etc/mailname", f"{fqdn}\n".encode()),
            # Without it PAM complains in the journal at every login; messages stay in English.
            File(LOCALE[ctx.machine.debian], b"LANG=C.UTF-8\n"),
            File("/etc/hosts", render("base/hosts.j2", addresses=addresses, fqdn=fqdn, host=host)),
            File("/etc/cloud/cloud.cfg.d/90-mailwright.cfg", render("base/cloud.cfg.j2")),
            File(CHRONY, render("base/chrony.conf.j2", servers=settings.ntp)),
            File(
                JOURNALD,
                render("base/journald.conf.j2", days=settings.journal_days, size=settings.journal_size),
            ),
            File("/etc/apt/apt.conf.d/20auto-upgrades", render("base/auto-upgrades.j2")),
            File(
                UPDATES,
                render("base/unattended-upgrades.j2", reboot_at=reboot_at, by_hand=by_hand),
            ),
            File(PINS, render("base/preferences.j2", pins=sorted(settings.pins.items()))),
            File("/etc/needrestart/conf.d/mailwright.conf", render("base/needrestart.conf.j2")),
            File(SSHD, _sshd(ctx)),
            File(SUDOERS, render("base/sudoers.j2", admins=admins), mode=0o440),
            *(File(f"{ADMINS}/{name}", b"") for name in admins),
            *(File(f"{HOLDS}/{name}", b"") for name in settings.hold),
        ),
    )


def _sshd(ctx: Context[BaseSettings]) -> bytes:
    knows_penalties = ctx.machine.debian >= 13  # noqa: PLR2004 - OpenSSH 9.8 and later
    exempt = ctx.fleet.networks.get("admin", ()) if knows_penalties else ()
    return render("base/sshd.conf.j2", root_login=ctx.settings.root_login, exempt=[str(n) for n in exempt])


def apply(ctx: Context[BaseSettings]) -> None:
    """Set the machine up; a change of sshd is taken back unless a new login confirms it."""
    op.guarded(
        ctx,
        "exchange the sshd configuration",
        paths=(SSHD,),
        validate=sshd.validation(ctx.machine.ssh.user),
        activate=sshd.ACTIVATE,
        revert=sshd.REVERT,
        save=sshd.SAVE,
        holds=sshd.HOLDS,
    )
    op.files(
        ctx,
        validate=f"visudo -cqf {{root}}{SUDOERS} && chronyd -p -f {{root}}{CHRONY} >/dev/null",
    )
    host = shlex.quote(ctx.machine.fqdn.bare.partition(".")[0])
    op.shell(ctx, "set the host name", "hostname -F /etc/hostname", unless=f'[ "$(uname -n)" = {host} ]')
    _hold(ctx, ctx.settings.hold)
    former = _former(ADMINS, [admin.name for admin in ctx.fleet.admins])
    op.shell(
        ctx,
        "take former administrators' access away",
        _REVOKE.format(former=former),
        f"! {former} | grep -q .",
    )
    op.units(ctx)


def _hold(ctx: Context[BaseSettings], names: Collection[str]) -> None:
    """Hold what the fleet file says, and let go of what it said before; other holds are the operator's."""
    if names:
        op.shell(ctx, "hold packages", _HOLD.format(names=shlex.join(names)), f"! {_not_held(names)}")
    former = _former(HOLDS, names)
    op.shell(ctx, "let go of held packages", _LET_GO.format(former=former), f"! {former} | grep -q .")


def _not_held(names: Iterable[str]) -> str:
    """Shell that prints those of some packages that are there and not held; fails when there is none."""
    states = "${db:Status-Want} ${db:Status-Status} ${Package}\\n"
    return f"dpkg-query -W -f '{states}' {shlex.join(names)} 2>/dev/null | grep '^install installed '"


def _former(folder: str, names: Iterable[str]) -> str:
    """Shell that prints what we noted in a folder and the fleet file says no more."""
    keep = " ".join(f"! -name {shlex.quote(name)}" for name in names)
    return f"find {folder} -mindepth 1 -type f {keep} -printf '%f\\n'"


# What is not there cannot be held (apt-mark(8)).
_HOLD = """
for name in {names}; do
  if dpkg-query -W "$name" >/dev/null 2>&1; then apt-mark hold "$name"; fi
done
"""
_LET_GO = """
{former} | while read -r name; do
  ! dpkg-query -W "$name" >/dev/null 2>&1 || apt-mark unhold "$name"
  rm "{HOLDS}/$name"
done
""".replace("{HOLDS}", HOLDS)

# The account stays, because files may be its own; what it could log in or become root with goes.
# The file that remembers it goes last, so that a run that is killed is finished by the next.
_REVOKE = """
{former} | while read -r name; do
  home=$(getent passwd "$name" | cut -d: -f6)
  if [ -n "$home" ]; then
    rm -f "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2" || exit 1
    usermod --lock --shell /usr/sbin/nologin "$name" || exit 1
    ! id -nG "$name" | grep -qw sudo || gpasswd -d "$name" sudo || exit 1
    loginctl terminate-user "$name" 2>/dev/null || :  # who is not logged in
  fi
  rm "{ADMINS}/$name" || exit 1
done
""".replace("{ADMINS}", ADMINS)


def checks(ctx: Context[BaseSettings]) -> Iterable[Check]:
    """What the machine does with the above."""
    fqdn = ctx.machine.fqdn.bare
    yield Check(
        "the machine knows its full name",
        "hostname --fqdn",
        _says(fqdn),
        f"mailwright apply; /etc/hosts must name {fqdn}",
    )
    yield Check(
        "the clock is right",
        # In a container the clock is the machine's around it, and systemd does not start chrony.
        'date +%s; [ "$(systemctl show -P ConditionResult chrony.service)" = no ] || chronyc -n tracking',
        _clock,
        "chronyc sources; are the time servers reachable?",
    )
    yield Check(
        "sshd takes keys only, and modern ones",
        "sshd -T -C user=root,host=localhost,addr=127.0.0.1",
        _hardened,
        f"remove what precedes {SSHD} in its folder, or overrides it in /etc/ssh/sshd_config",
    )
    yield Check(
        "unattended-upgrades takes security updates",
        "apt-config dump Unattended-Upgrade::Origins-Pattern",
        lambda r: None if "label=Debian-Security" in r.stdout else "no security origin is configured",
        "look for another file in /etc/apt/apt.conf.d that clears the origins",
    )
    if ctx.settings.hold:
        yield Check(
            "packages are held",
            f"{_not_held(ctx.settings.hold)}; :",
            lambda r: f"not held: {', '.join(r.stdout.split()[2::3])}" if r.stdout.strip() else None,
            "mailwright apply",
        )
    if ctx.settings.reboot == "marker":
        yield Check(
            "no reboot has been owed for long",
            f"find /run/reboot-required* -mtime +{_REBOOT_PATIENCE} -exec cat {{}} + 2>/dev/null",
            lambda r: f"owed for {_REBOOT_PATIENCE} days: {' '.join(r.stdout.split())}" if r.stdout else None,
            "reboot the machine in a quiet hour",
        )
    yield from vitals.checks(ctx, ctx.settings.pins)


def _says(wanted: str) -> Callable[[Result], str | None]:
    return lambda result: None if result.stdout.strip() == wanted else f"it says {result.stdout.strip()!r}"


def _clock(result: Result) -> str | None:
    """What the clock showed must lie between question and answer: a busy machine may take minutes."""
    stamp, _, tracking = result.stdout.partition("\n")
    seen, now = float(stamp), time.time()
    off = max(result.asked - seen, seen - now)
    if off > _CLOCK_TOLERANCE:
        return f"it is {off:.0f} seconds from the operator's"
    if tracking and "Leap status     : Normal" not in tracking:
        return "chrony is not synchronised"
    return None


def _hardened(result: Result) -> str | None:
    if result.status != 0:
        return result.stderr.strip() or "sshd -T fails"
    return ", ".join(sshd.weaknesses(result.stdout)) or None


ROLE = Role("base", BaseSettings, apply, needs=needs, files=files, checks=checks, after=())

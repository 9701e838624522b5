"""Dovecot as the password check of Postfix's submission ports; no mail, no IMAP, nothing on the network."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Iterable

from pydantic import Field

from mailwright.converge import operations as op
from mailwright.model.accounts import DOVECOT, DOVENULL
from mailwright.model.errors import NeedsError, UnknownError
from mailwright.model.needs import Directory, File, Needs, Package, Unit
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.model.submission import password_hash
from mailwright.render import render

CONFIG = "/etc/dovecot/dovecot.conf"
PASSWORDS = "/etc/dovecot/submission.passwd"
UNIT = "/etc/systemd/system/dovecot.service.d/mailwright.conf"
SOCKET = "/var/spool/postfix/private/auth"
"""Postfix's `smtpd_sasl_path = private/auth`, seen from inside its chroot."""


class DovecotSettings(Settings):
    """How hard guessing is made."""

    failure_delay: int = Field(default=2, ge=0, le=15)
    """Seconds before a wrong password is answered."""
    workers: int = Field(default=4, ge=1, le=64)
    """How many passwords are checked at a time; more than the machine has cores gain nothing."""


def needs(ctx: Context[DovecotSettings]) -> Needs:
    """The daemon, without the socket unit that would open the IMAP ports.

    Raises:
        NeedsError: there is no Postfix on the machine to check passwords for.
    """
    if "postfix" not in ctx.machine.roles:
        raise NeedsError(f"{ctx.machine.name} has the role dovecot, which serves postfix, but not postfix")
    return Needs(
        packages=(Package("dovecot-core"),),
        users=(DOVECOT, DOVENULL),
        units=(
            Unit("dovecot.socket", masked=True),
            Unit("dovecot.service", reads=(CONFIG, PASSWORDS)),
        ),
    )


def files(ctx: Context[DovecotSettings]) -> Needs:
    """The configuration in the language of the release's Dovecot, and the password hashes.

    Raises:
        SecretError: a login has no password, or one that is unfit.
    """
    version = "23" if ctx.machine.debian < _DEBIAN_WITH_24 else "24"
    config = render(
        f"dovecot/dovecot{version}.conf.j2",
        failure_delay=ctx.settings.failure_delay,
        workers=ctx.settings.workers,
        passwords=PASSWORDS,
        socket=SOCKET,
    )
    salt = ctx.secrets.get("submission-salt") if ctx.fleet.senders else ""
    hashes = [
        (s.login, password_hash(s.login, ctx.secrets.get(f"submission/{s.login}"), salt))
        for s in ctx.fleet.senders
    ]
    passwords = render("dovecot/submission.passwd.j2", hashes=hashes)
    return Needs(
        # Debian 13 fills Postfix's queue directory when Postfix first starts, which is after Dovecot.
        directories=(
            Directory("/var/spool/postfix"),
            Directory("/var/spool/postfix/private", owner="postfix", mode=0o700),
        ),
        files=(
            File(CONFIG, config),
            File(UNIT, render("dovecot/service.conf.j2")),
            File(PASSWORDS, passwords, group="dovecot", mode=0o640, secret=True),
        ),
    )


_DEBIAN_WITH_24 = 13


def apply(ctx: Context[DovecotSettings]) -> None:
    """Exchange the configuration once Dovecot has read it without complaint."""
    op.files(ctx, validate=f"doveconf -n -c {{root}}{CONFIG} >/dev/null")
    op.units(ctx)


def checks(ctx: Context[DovecotSettings]) -> Iterable[Check]:
    """It knows every login, and nothing of it is on the network."""

    def knows(result: Result) -> str | None:
        known = set(result.stdout.split())
        missing = [s.login for s in ctx.fleet.senders if s.login not in known]
        return f"no password for {', '.join(missing)}" if missing else None

    yield Check(
        "the password file has every login",
        f"cut -d: -f1 {PASSWORDS}",
        knows,
        "mailwright apply",
    )

    def answers(result: Result) -> str | None:
        lines = result.stdout.split("\n")
        if not any(line.startswith("VERSION\t") for line in lines):
            return "nothing speaks Dovecot's authentication protocol there"
        return None if any(line.startswith("MECH\tPLAIN") for line in lines) else "PLAIN is not offered"

    yield Check(
        "the authentication socket answers",
        _ask("", "/^DONE/"),
        answers,
        "systemctl restart dovecot",
    )

    def refuses(result: Result) -> str | None:
        answers = re.findall(r"^(OK|FAIL)\t1\b", result.stdout, re.MULTILINE)
        if not answers:
            raise UnknownError(f"no verdict: {result.stderr.strip()[:200] or 'nothing was said'}")
        return None if answers == ["FAIL"] else "it takes a password that nobody has"

    for sender in ctx.fleet.senders[:1]:
        words = f"\0{sender.login}\0no password of {sender.login}'s"
        plain = b64encode(words.encode()).decode()
        yield Check(
            "a wrong password is refused",
            # Asked here, where Dovecot knows of no client: the log has no address that could be shut out, and
            # `no-penalty` spares the next login the longer wait.
            _ask(
                f"AUTH\\t1\\tPLAIN\\tservice=smtp\\tsecured\\tno-penalty\\tresp={plain}\\n", r"/^(OK|FAIL)\t/"
            ),
            refuses,
            f"look for a passdb of somebody else's in doveconf -n, and for nopassword in {PASSWORDS}",
        )

    def silent(result: Result) -> str | None:
        return f"it listens on {' '.join(result.stdout.split())}" if result.stdout.strip() else None

    yield Check(
        "it listens on no network port",
        "ss -Hltnp | grep -F '\"dovecot\"' | awk '{ print $4 }'",
        silent,
        "mailwright apply",
    )


def _ask(question: str, last: str) -> str:
    """Shell that says something to the authentication socket and prints what comes until a `last` line.

    perl-base is essential on Debian. The client's half of the handshake (2.4 waits for it) and then the
    server's, which ends with DONE. https://doc.dovecot.org/2.3/developer_manual/design/auth_protocol/
    """
    talk = (
        f'$s = IO::Socket::UNIX->new(Peer => "{SOCKET}") or die "$!\\n";'
        f' syswrite $s, "VERSION\\t1\\t2\\nCPID\\t$$\\n{question}"; while (<$s>) {{ print; last if {last} }}'
    )
    return f"timeout 20 perl -MIO::Socket::UNIX -e {shlex.quote(talk)}"


ROLE = Role("dovecot", DovecotSettings, apply, needs=needs, files=files, checks=checks)

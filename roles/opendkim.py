"""DKIM: mail of the fleet is signed with RSA and Ed25519, mail of strangers is verified, by separate daemons.

Debian's OpenDKIM (2.11 beta) has one `SignatureAlgorithm` a process, so each algorithm has daemons of
its own and Postfix passes a message through one of either (RFC 8463 section 3 asks for both signatures).
Each signing chain is a lane; sessions are spread over the lanes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import Field

from mailwright.converge import operations as op
from mailwright.model.accounts import OPENDKIM
from mailwright.model.domains import Domain
from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.needs import Absent, Directory, File, Milter, Needs, Package, Unit
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.render import render
from roles import signing

HOME = "/etc/opendkim"
SOCKETS = "/var/spool/postfix/opendkim"
"""Inside the chroot of Postfix, which calls it `opendkim`."""
UNITS = "/etc/systemd/system"
ALGORITHMS = ("rsa", "ed25519")
"""In the order in which a message is signed."""


class OpendkimSettings(Settings):
    """How much signing the machine does."""

    lanes: int = Field(default=2, ge=1, le=32)
    """Signing chains side by side: about one for two cores of the machine."""
    check_from: bool = True
    """Refuse to sign mail of a login whose `From:` is not an address it may send as."""
    memory_mb: int = Field(default=256, ge=64, le=8192)
    """What one daemon may use before it is restarted: OpenDKIM leaks."""


@dataclass(frozen=True)
class Key:
    """A signing key of the fleet, on this machine."""

    domain: Domain
    selector: str
    algorithm: str

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.domain.name.bare}/{self.selector}"

    @property
    def path(self) -> str:
        """Where its private half lies."""
        return f"{HOME}/keys/{self.name}.pem"


def keys(fleet: Fleet) -> tuple[Key, ...]:
    """All keys that sign today: any sending machine may send for any of the fleet's domains."""
    return tuple(Key(d, k.selector, k.algorithm) for d in fleet.domains for k in d.dkim)


def _algorithms(fleet: Fleet) -> tuple[str, ...]:
    used = {key.algorithm for key in keys(fleet)}
    return tuple(a for a in ALGORITHMS if a in used)


def _verifies(ctx: Context[OpendkimSettings]) -> bool:
    return bool(ctx.fleet.mail_for(ctx.machine.name))


def needs(ctx: Context[OpendkimSettings]) -> Needs:
    """A daemon for each lane and algorithm, and on an MX one that verifies; Debian's own is put away."""
    signers = [(lane, a) for lane in range(ctx.settings.lanes) for a in _algorithms(ctx.fleet)]
    verifiers = ("verify",) if _verifies(ctx) else ()
    return Needs(
        packages=(Package("opendkim"), Package("opendkim-tools")),
        users=(OPENDKIM,),
        units=(
            Unit("opendkim.service", masked=True),
            *(
                Unit(
                    f"opendkim-sign@{a}-{lane}.service",
                    reads=(f"{HOME}/{a}", f"{HOME}/keys", f"{HOME}/from.lua"),
                )
                for lane, a in signers
            ),
            *(Unit("opendkim-verify.service", reads=(f"{HOME}/verify.conf",)) for _ in verifiers),
        ),
        milters=(
            *(Milter(f"unix:opendkim/{a}-{lane}.sock", "submission", lane) for lane, a in signers),
            *(Milter(f"unix:opendkim/{v}.sock", "inbound") for v in verifiers),
        ),
    )


def files(ctx: Context[OpendkimSettings]) -> Needs:
    """Keys, tables and a configuration for each algorithm; the units that run them.

    Raises:
        SecretError: a domain's private key is missing.
    """
    own = keys(ctx.fleet)
    folders = {f"{HOME}/keys": None} | dict.fromkeys(f"{HOME}/keys/{k.domain.name.bare}" for k in own)
    return Needs(
        directories=(
            Directory(HOME),
            *(Directory(f"{HOME}/{a}") for a in _algorithms(ctx.fleet)),
            *(Directory(path, group="opendkim", mode=0o750) for path in folders),
            # Postfix may look in and connect; nobody else on the machine may have mail signed.
            Directory("/var/spool/postfix"),
            Directory(SOCKETS, owner="opendkim", group="postfix", mode=0o750),
        ),
        files=(*_signing(ctx, own), *_verifying(ctx)),
        absent=tuple(Absent(Key(d, s, "").path) for d in ctx.fleet.domains for s in ctx.keyring.spent(d)),
    )


def _signing(ctx: Context[OpendkimSettings], own: tuple[Key, ...]) -> Iterator[File]:
    for key in own:
        pem = ctx.secrets.get(f"dkim/{key.name}").strip().encode() + b"\n"
        yield File(key.path, pem, group="opendkim", mode=0o640, secret=True)
    for algorithm in _algorithms(ctx.fleet):
        chosen = [key for key in own if key.algorithm == algorithm]
        first = algorithm == _algorithms(ctx.fleet)[0]
        place = f"{HOME}/{algorithm}"
        config = render(
            "opendkim/sign.conf.j2",
            algorithm=algorithm,
            place=place,
            policy=f"{HOME}/from.lua" if first and ctx.settings.check_from else "",
        )
        yield File(f"{place}/opendkim.conf", config)
        yield File(f"{place}/keys", render("opendkim/keys.j2", keys=chosen))
        signers = [(pattern, k) for k in chosen for pattern in _authors(k.domain, ctx.machine)]
        yield File(f"{place}/signers", render("opendkim/signers.j2", signers=signers))
    if own:
        yield File(f"{HOME}/from.lua", render("opendkim/from.lua.j2", senders=ctx.fleet.senders))
        unit = render("opendkim/opendkim-sign@.service.j2", home=HOME, **_limits(ctx))
        yield File(f"{UNITS}/opendkim-sign@.service", unit)


def _authors(domain: Domain, machine: Machine) -> tuple[str, ...]:
    """Whose mail a domain signs: its own, and what this machine writes under its host name."""
    host = machine.fqdn.bare
    below = host.endswith(f".{domain.name.bare}")
    return (f"*@{domain.name.bare}", *((f"*@{host}",) if below else ()))


def _verifying(ctx: Context[OpendkimSettings]) -> Iterator[File]:
    if _verifies(ctx):
        local = "unbound" in ctx.machine.roles
        config = render("opendkim/verify.conf.j2", authserv_id=ctx.machine.fqdn.bare, local_resolver=local)
        yield File(f"{HOME}/verify.conf", config)
        unit = render("opendkim/opendkim-verify.service.j2", home=HOME, **_limits(ctx))
        yield File(f"{UNITS}/opendkim-verify.service", unit)


def _limits(ctx: Context[OpendkimSettings]) -> dict[str, object]:
    return {"sockets": SOCKETS, "memory_mb": ctx.settings.memory_mb}


def apply(ctx: Context[OpendkimSettings]) -> None:
    """Exchange the configuration once OpenDKIM accepts it, and restart what reads it.

    `opendkim -n` reads the configuration, opens the tables and compiles the script.
    """
    configs = [f.path for f in ctx.own.files if f.path.endswith(".conf")]
    validate = " && ".join(f"opendkim -n -x {{root}}{path}" for path in configs)
    op.files(ctx, validate=validate or None)
    op.units(ctx)


def checks(ctx: Context[OpendkimSettings]) -> Iterable[Check]:
    """Every socket answers, each private key is the one that the world looks up, and signs."""
    for milter in ctx.own.milters:
        yield _answers(milter.address.removeprefix("unix:opendkim/"))
    for key in keys(ctx.fleet):
        yield _published(key)
        sockets = [f"{SOCKETS}/{key.algorithm}-{lane}.sock" for lane in range(ctx.settings.lanes)]
        remedy = f"systemctl restart 'opendkim-sign@{key.algorithm}-*'; journalctl -t opendkim"
        yield signing.signs(key.domain.name.bare, key.selector, sockets, remedy)


def _answers(socket: str) -> Check:
    # The start of the milter protocol: version 6, all actions, no protocol steps left out. The answer is
    # a packet of the same kind, "O" (libmilter's mfdef.h).
    talk = (
        "use IO::Socket::UNIX; alarm 5;"
        f'my $s = IO::Socket::UNIX->new(Peer => "{SOCKETS}/{socket}") or die "$!\\n";'
        'syswrite $s, pack("N a N N N", 13, "O", 6, 0x1ff, 0x1fffff);'
        "sysread $s, my $answer, 17; print substr $answer, 4, 1"
    )

    def judge(result: Result) -> str | None:
        return None if result.stdout == "O" else f"no answer: {result.stderr.strip() or result.stdout!r}"

    return Check(f"{socket} answers", f"perl -e {shlex.quote(talk)}", judge, "systemctl status 'opendkim-*'")


def _published(key: Key) -> Check:
    # opendkim-testkey 2.11 cannot read Ed25519 keys, so the public halves are compared by openssl and dig.
    # An Ed25519 key is published bare (RFC 8463 section 4.2): the last 32 octets of its DER form.
    tail = " | tail -c 32" if key.algorithm == "ed25519" else ""
    name = f"{key.selector}._domainkey.{key.domain.name.bare}"
    ours = f"openssl pkey -in {key.path} -pubout -outform DER{tail} | base64 -w0"
    command = f"{ours}; echo; dig +time=5 +tries=2 +short {name} TXT"

    def judge(result: Result) -> str | None:
        ours, _, published = result.stdout.partition("\n")
        if re.search(r"timed out|no servers could be reached", published):
            raise UnknownError("the resolver gave no answer")
        text = "".join(re.findall(r'"([^"]*)"', published))
        found = re.search(r"(?:^|;)\s*p=\s*([^;]*)", text)
        if found is None:
            return f"{name} has no key for the world to see"
        same = found[1].replace(" ", "") == ours
        return None if same else f"{name} publishes another key than the one that signs"

    return Check(f"signs with the published key {key.name}", command, judge, "mailwright dns apply")


ROLE = Role("opendkim", OpendkimSettings, apply, needs=needs, files=files, checks=checks)

"""Certificates for whoever on the machine needs one. The key of a self-signed one never leaves the host."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from mailwright.certificate import CHAIN, PRIVATE_KEY, faults, secret_name
from mailwright.converge import operations as op
from mailwright.model.base import Slug
from mailwright.model.errors import NeedsError, SecretError
from mailwright.model.names import DnsName
from mailwright.model.needs import BackupPath, Certificate, Directory, File, Needs, Package, Pair
from mailwright.model.role import Check, Context, Result, Role, Settings, Wanted
from mailwright.render import render
from roles.certificates import acme, measured

HOME = "/etc/mailwright/certificates"
_DAY = 86400
_COMMON_NAME_LIMIT = 64  # RFC 5280, appendix A.1: ub-common-name


class CertificatesSettings(Settings):
    """Where certificates come from."""

    mode: Literal["self-signed", "provided", "acme"] = "self-signed"
    """`self-signed`: made on the host. Receiving mail servers do not mind (RFC 7435), people's mail
    programs do. `provided`: from the secrets `certificate/NAME/fullchain` and `certificate/NAME/privkey`.
    `acme`: from the authority of the fleet's section `acme`, renewed by the machine itself."""
    challenge: acme.Challenge = "dns-01"
    """How an ACME authority is shown that a name is this machine's: by a record in the DNS, or by an
    answer on port 80, which cannot prove a name that several machines share."""
    provider: Slug | None = None
    """Which of the fleet's `providers` takes those records. Default: the one of the host name's zone."""
    days: int = Field(default=365, ge=2, le=3650)
    """For how long a self-signed certificate is valid."""
    renew_days: int = Field(default=30, ge=1, le=365)
    """A self-signed certificate is replaced, a provided one complained of, so long before its end."""


def needs(ctx: Context[CertificatesSettings]) -> Needs:
    """Openssl makes and checks them; certbot asks for them.

    Raises:
        NeedsError: there is nowhere to prove the machine's name.
    """
    more = acme.needs(ctx) if ctx.settings.mode == "acme" else Needs()
    # What the operator provides is among the secrets. The others are nowhere else: a machine that is rebuilt
    # would ask the authority again, which counts how often, and show self-signed keys that nobody has seen.
    made_here = ctx.settings.mode != "provided"
    kept = (BackupPath(HOME, "certificates and their keys"),) if made_here else ()
    return Needs(packages=(Package("openssl"),), backups=kept) + more


def files(ctx: Context[CertificatesSettings]) -> Needs:
    """A directory for every certificate that a role needs, and the pairs that the operator provides.

    Raises:
        SecretError: a provided pair is missing or unfit; nothing has been touched then.
        NeedsError: the world is to know a key beforehand that is made on the host and never leaves it, or
            a name cannot be proved from this machine.
    """
    certificates, mode = ctx.merged.certificates, ctx.settings.mode
    folders = Needs(
        directories=(
            Directory("/etc/mailwright"),
            Directory(HOME),
            *(Directory(c.directory, group=c.group, mode=0o750) for c in certificates),
        )
    )
    if mode == "acme":
        return folders + acme.files(ctx)
    if mode == "self-signed":
        _refuse_pinned(ctx.machine.name, certificates)
        return folders + Needs(absent=acme.absent(ctx))
    provided = tuple(f for c in certificates for p in c.pairs for f in _pair(ctx, c, p))
    return folders + Needs(files=provided, absent=acme.absent(ctx))


def secrets(ctx: Context[CertificatesSettings]) -> Mapping[str, Wanted]:
    """What the operator has to provide, so that it is known before it is missed."""
    if ctx.settings.mode == "acme":
        return acme.secrets(ctx)
    return {
        secret_name(c, part, pair): Wanted(f"{what} for {', '.join(DnsName(name).bare for name in c.names)}")
        for c in ctx.merged.certificates
        for pair in c.pairs
        for part, what in ((CHAIN, "certificate chain (PEM)"), (PRIVATE_KEY, "private key (PEM)"))
        if ctx.settings.mode == "provided"
    }


def _refuse_pinned(machine: str, certificates: Iterable[Certificate]) -> None:
    for certificate in certificates:
        if certificate.pinned:
            raise NeedsError(
                f"{machine}: TLSA records are to name the key of the certificate {certificate.name}, but a"
                " self-signed one's is made on the host and never leaves it; set"
                " `certificates: {mode: acme}` or `{mode: provided}`, or leave `dane` out"
            )


def _pair(ctx: Context[CertificatesSettings], certificate: Certificate, pair: Pair) -> tuple[File, File]:
    names = tuple(secret_name(certificate, part, pair) for part in (CHAIN, PRIVATE_KEY))
    chain, key = (ctx.secrets.get(name).strip().encode() + b"\n" for name in names)
    found = faults(chain, key, certificate.names, datetime.now(UTC), certificate.demanded(pair))
    if found:
        raise SecretError(f"{ctx.machine.name}: secrets {' and '.join(names)}: {'; '.join(found)}")
    return (
        File(pair.key, key, group=certificate.group, mode=0o640, secret=True),
        File(pair.chain, chain, group=certificate.group),
    )


def apply(ctx: Context[CertificatesSettings]) -> None:
    """Put the pairs where their users read them."""
    if ctx.settings.mode == "acme":
        acme.apply(ctx)
        return
    op.files(ctx)
    if ctx.settings.mode == "self-signed":
        for certificate in ctx.merged.certificates:
            for pair in certificate.pairs:
                op.shell(
                    ctx,
                    f"make the self-signed {pair.algorithm} certificate {certificate.name}",
                    self_sign(certificate, pair, ctx.settings.days, ctx.settings.renew_days),
                    unless=_fit(certificate, pair, ctx.settings.renew_days),
                    stdin=_request(certificate),
                )
    if certificates := ctx.merged.certificates:
        op.shell(
            ctx,
            "measure until when certificates are valid",
            measured.write(certificates),
            unless=measured.written(certificates),
        )


def _request(certificate: Certificate) -> str:
    first = DnsName(certificate.names[0]).bare
    return render(
        "certificates/openssl.cnf.j2",
        common_name=first if len(first) <= _COMMON_NAME_LIMIT else certificate.name,
        alternatives=_alternatives(certificate).replace(" ", ""),
    ).decode()


def _alternatives(certificate: Certificate) -> str:
    """The names as openssl prints them."""
    return ", ".join(f"DNS:{DnsName(name).bare}" for name in certificate.names)


def _genuine(certificate: Certificate, pair: Pair, renew_days: int) -> str:
    """Shell that succeeds when the pair belongs together, has our names and lasts for a while."""
    chain, key = pair.chain, pair.key
    return (
        f"openssl x509 -in {chain} -noout -checkend {renew_days * _DAY} >/dev/null 2>&1 "
        f'&& [ "$(openssl x509 -in {chain} -noout -pubkey)" = "$(openssl pkey -in {key} -pubout)" ] '
        f"&& openssl x509 -in {chain} -noout -ext subjectAltName"
        f" | grep -qxF {shlex.quote('    ' + _alternatives(certificate))}"
    )


def _fit(certificate: Certificate, pair: Pair, renew_days: int) -> str:
    modes = shlex.quote(f"root:{certificate.group} 644\nroot:{certificate.group} 640")
    return (
        f"{_genuine(certificate, pair, renew_days)} "
        f"&& [ \"$(stat -Lc '%U:%G %a' {pair.chain} {pair.key})\" = {modes} ]"
    )


_NEW_KEY = {"ecdsa": "ec -pkeyopt ec_paramgen_curve:P-256", "rsa": "rsa:2048"}
"""Options of `openssl req -newkey`."""


def self_sign(certificate: Certificate, pair: Pair, days: int, renew_days: int) -> str:
    """Shell that makes a pair if there is no good one, with the openssl request on standard input.

    The key comes first: a run that is killed between the two leaves a pair that does not belong
    together, and the next run sees that.
    """
    where, group = certificate.directory, certificate.group
    return f"""
set -e
umask 077
cd {where}
if ! {{ {_genuine(certificate, pair, renew_days)}; }}; then
  rm -rf .new && mkdir .new
  cat >.new/request
  openssl req -x509 -config .new/request -newkey {_NEW_KEY[pair.algorithm]} -nodes \\
    -days {days} -keyout .new/privkey.pem -out .new/fullchain.pem 2>.new/log ||
    {{ cat .new/log >&2; exit 1; }}
  chgrp {group} .new/*.pem
  chmod 640 .new/privkey.pem
  chmod 644 .new/fullchain.pem
  mv -f .new/privkey.pem {pair.key}
  mv -f .new/fullchain.pem {pair.chain}
  rm -r .new
fi
chown root:{group} {pair.key} {pair.chain}
chmod 640 {pair.key}
chmod 644 {pair.chain}
"""


def checks(ctx: Context[CertificatesSettings]) -> Iterable[Check]:
    """Whether each is good today follows from the need; this asks for next week."""

    def judge(result: Result) -> str | None:
        return None if result.status == 0 else result.stdout.strip() or "it cannot be read"

    remedy = {
        "self-signed": "mailwright apply",
        "provided": "mailwright secrets set, then apply",
        "acme": f"{acme.PROGRAM} --force NAME says why it is not renewed",
    }[ctx.settings.mode]
    for certificate in ctx.merged.certificates:
        for pair in certificate.pairs:
            command = f"openssl x509 -in {pair.chain} -noout -enddate -checkend {7 * _DAY}"
            name = f"the certificate {pair.prefix}{certificate.name} lasts another week"
            yield Check(name, command, judge, remedy)
    if ctx.settings.mode == "acme":
        yield from acme.checks(ctx)


def finish(ctx: Context[CertificatesSettings]) -> None:
    """What was not to be had of the authority is told at the end of the run."""
    if ctx.settings.mode == "acme":
        acme.finish(ctx)


ROLE = Role(
    "certificates",
    CertificatesSettings,
    apply,
    needs=needs,
    files=files,
    secrets=secrets,
    checks=checks,
    finish=finish,
)

"""Certificates of an ACME authority (RFC 8555): what the machine needs to look after them by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from mailwright.acme import provider_of, refuse_elsewhere, shared, tsig_secret
from mailwright.certificate import PRIVATE_KEY, new_key, secret_name
from mailwright.converge import operations as op
from mailwright.model.acme import credential, key_name
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError, NeedsError
from mailwright.model.names import DnsName
from mailwright.model.needs import (
    ALGORITHMS,
    Absent,
    BackupPath,
    Certificate,
    Directory,
    File,
    Needs,
    Package,
    Pair,
    Port,
    Unit,
)
from mailwright.model.providers import Cloudflare, DnsProvider, Rfc2136
from mailwright.model.role import Check, Context, Result, Wanted
from mailwright.observe.places import RUN
from mailwright.render import render, template_folders
from roles.certificates.measured import METRICS

PROGRAM = "/usr/local/sbin/mailwright-certificates"
CONFIG = "/etc/mailwright/acme.json"
HOME = "/var/lib/mailwright/acme"
"""The account, certbot's logs, and what is being made."""
_PRIVATE = "/etc/mailwright/acme"
_CREDENTIALS = f"{_PRIVATE}/credentials"
_AUTHORITY_CA = f"{_PRIVATE}/authority.pem"
_LIBRARY = "/usr/local/lib/mailwright"
_UNIT = "mailwright-certificates"

Challenge = Literal["dns-01", "http-01"]


def needs(ctx: Context[Any]) -> Needs:
    """Debian's certbot with the one plugin that is needed, and the timer.

    Raises:
        NeedsError: there is nowhere to publish proofs.
    """
    more: tuple[Package, ...] = ()
    ports: tuple[Port, ...] = ()
    if ctx.settings.challenge == "dns-01":
        kind = _provider(ctx).type
        more = (Package(f"python3-certbot-dns-{kind}"),)
    else:
        ports = (Port(80, "tcp", "public", "ACME proofs (http-01)", brief=True),)
    # A machine that is being put together gets back what it had; it would make an account beside that.
    asks = not ctx.machine.closed
    return Needs(
        packages=(Package("certbot"), *more),
        units=(Unit(f"{_UNIT}.timer", enabled=asks, running=asks),),
        ports=ports,
        backups=(BackupPath(HOME, "the ACME account, which CAA records may name"),),
    )


def files(ctx: Context[Any]) -> Needs:
    """The program, what it is to do, and what it may do it with.

    Raises:
        NeedsError: a name cannot be proved from this machine.
        MailwrightError: `acme.ca` is no PEM file.
    """
    certificates = ctx.merged.certificates
    _refuse_unprovable(ctx)
    library = next(f for f in template_folders() if (f / "certificates").is_dir()) / "certificates"
    given = [
        File(_given(c, p), _key(ctx, c, p), mode=0o600, secret=True)
        for c in certificates
        if c.pinned
        for p in c.pairs
    ]
    credentials = _credentials(ctx)
    possible = [_CREDENTIALS, *(_given(c, p) for c in certificates for p in map(c.pair, ALGORITHMS))]
    kept = {file.path for file in (*given, *credentials)}
    ca = [File(_AUTHORITY_CA, _authority_ca(ctx.fleet.acme.ca))] if ctx.fleet.acme.ca else []
    return Needs(
        directories=(
            Directory("/var/lib/mailwright"),
            Directory(HOME, mode=0o700),
            Directory(_PRIVATE, mode=0o700),
            Directory(_LIBRARY),
            Directory(f"{_LIBRARY}/mailwright_certificates"),
        ),
        files=(
            File(PROGRAM, (library / "mailwright-certificates.py").read_bytes(), mode=0o755),
            *(
                File(f"{_LIBRARY}/mailwright_certificates/{part.name}", part.read_bytes())
                for part in sorted((library / "mailwright_certificates").glob("*.py"))
            ),
            *(
                File(f"/etc/systemd/system/{_UNIT}.{kind}", render(f"certificates/{_UNIT}.{kind}.j2"))
                for kind in ("service", "timer")
            ),
            File(CONFIG, _config(ctx)),
            *credentials,
            *given,
            *ca,
        ),
        absent=tuple(Absent(path) for path in possible if path not in kept),
    )


def absent(ctx: Context[Any]) -> tuple[Absent, ...]:
    """What a machine that no longer asks the authority must not keep: what to do, and credentials."""
    given = (_given(c, p) for c in ctx.merged.certificates for p in map(c.pair, ALGORITHMS))
    return tuple(Absent(path) for path in (CONFIG, _CREDENTIALS, *given))


def secrets(ctx: Context[Any]) -> Mapping[str, Wanted]:
    """The credential of this machine alone, and the keys that the world is told of beforehand."""
    name, found = ctx.machine.name, {}
    for certificate in ctx.merged.certificates:
        if certificate.pinned:
            for pair in certificate.pairs:
                purpose = f"private key (PEM) of {certificate.name}, named by TLSA records"
                make = partial(new_key, pair.algorithm)
                found[secret_name(certificate, PRIVATE_KEY, pair)] = Wanted(purpose, make)
    if ctx.settings.challenge == "dns-01":
        provider = _provider(ctx)
        if isinstance(provider, Rfc2136):
            what = f"TSIG key {key_name(name)} with which {name} proves its names"
            found[credential(name, "tsig")] = Wanted(what, tsig_secret)
        elif isinstance(provider, Cloudflare):
            found[credential(name, "cloudflare")] = Wanted(f"API token with which {name} proves its names")
        else:
            for part in ("access-key-id", "secret-access-key"):
                found[credential(name, part)] = Wanted(f"AWS {part} with which {name} proves its names")
    return found


def apply(ctx: Context[Any]) -> None:
    """Ask for what is lacking. Where the authority fails, services get by with what there is.

    A first deploy then goes on with a self-signed pair, and `finish` says so at its end.
    """
    op.files(ctx)
    if ctx.machine.closed:
        files = [file for c in ctx.merged.certificates for p in c.pairs for file in (p.chain, p.key)]
        there = " && ".join(f"[ -s {file} ]" for file in files) or "true"
        op.shell(ctx, "make provisional certificates", f"{PROGRAM} --provisional", unless=there)
    elif ctx.merged.certificates:
        op.shell(
            ctx,
            f"ask {ctx.fleet.acme.directory} for certificates",
            f"{PROGRAM} --apply || :",
            unless=f"{PROGRAM} --settled",
        )
    op.units(ctx)


def finish(ctx: Context[Any]) -> None:
    """A run does not end well while something is served that the authority did not issue."""
    if ctx.merged.certificates and not ctx.machine.closed:
        test = f"{PROGRAM} --genuine"
        op.shell(ctx, "serve what the authority issued", test, unless=test)


def checks(ctx: Context[Any]) -> Iterable[Check]:
    """What is served is the authority's, and its renewal does not fail."""
    if not ctx.merged.certificates or ctx.machine.closed:
        return

    def judge(result: Result) -> str | None:
        try:
            pairs = json.loads(result.stdout)
        except ValueError:
            return result.stderr.strip()[-300:] or "mailwright-certificates says nothing"
        wrong = [
            f"{p['certificate']} ({p['algorithm']}): {p[key]}"
            for p in pairs
            for key in ("fault", "failure")
            if p[key]
        ]
        return "; ".join(wrong) or None

    yield Check(
        "certificates are the authority's, and renewed",
        f"{PROGRAM} --state",
        judge,
        f"journalctl -u {_UNIT} -n 50, put right what it says, then {PROGRAM} --force NAME",
    )
    yield Check(
        "the last round of renewals went well",
        f"systemctl show -P Result {_UNIT}.service",
        lambda r: (
            None if r.stdout.strip() == "success" else f"it ended with {r.stdout.strip() or r.stderr.strip()}"
        ),
        f"journalctl -u {_UNIT} -n 50",
    )


def _provider(ctx: Context[Any]) -> DnsProvider:
    return provider_of(ctx.fleet, ctx.machine, ctx.settings.provider)


def _refuse_unprovable(ctx: Context[Any]) -> None:
    names = [name for c in ctx.merged.certificates for name in c.names]
    if ctx.settings.challenge != "http-01":
        if ctx.settings.provider is None:
            refuse_elsewhere(ctx.fleet, ctx.machine, names)
        return
    for name in shared(ctx.fleet, names):
        raise NeedsError(
            f"{ctx.machine.name}: {DnsName(name).bare} leads to several machines, so that http-01 may ask"
            " another one for the proof; set `certificates: {mode: acme, challenge: dns-01}`"
        )
    for port in ctx.merged.ports:
        if (port.number, port.proto) == (80, "tcp") and port not in ctx.own.ports and not port.brief:
            raise NeedsError(
                f"{ctx.machine.name}: port 80 is taken ({port.reason}), and http-01 needs it; set"
                " `certificates: {mode: acme, challenge: dns-01}`"
            )


def _config(ctx: Context[Any]) -> bytes:
    """What templates/certificates/mailwright_certificates/wanted.py reads."""
    options, environment = _challenge(ctx)
    acme = ctx.fleet.acme
    wanted = {
        "directory": acme.directory,
        "email": acme.email,
        "authority_ca": _AUTHORITY_CA if acme.ca else None,
        "challenge": options,
        "environment": environment,
        "home": HOME,
        "run": f"{RUN}-certificates",
        "metrics": METRICS,
        "taken": f"{RUN}/taken",
        "certificates": [
            {
                "name": c.name,
                "names": [DnsName(name).bare for name in c.names],
                "group": c.group,
                "pairs": [
                    {
                        "algorithm": p.algorithm,
                        "chain": p.chain,
                        "key": p.key,
                        "given": _given(c, p) if c.pinned else None,
                    }
                    for p in c.pairs
                ],
                "units": [
                    {"name": u.name, "reload": u.reload, "check": u.check}
                    for u in ctx.merged.units
                    if any(p.chain in u.reads for p in c.pairs)
                ],
            }
            for c in ctx.merged.certificates
        ],
    }
    return (json.dumps(wanted, indent=2) + "\n").encode()


def _challenge(ctx: Context[Any]) -> tuple[list[str], dict[str, str]]:
    """Options and environment of certbot."""
    if ctx.settings.challenge == "http-01":
        return ["--authenticator", "standalone", "--preferred-challenges", "http-01"], {}
    kind = _provider(ctx).type
    options = ["--authenticator", f"dns-{kind}"]
    if kind == "route53":
        return options, {"AWS_SHARED_CREDENTIALS_FILE": _CREDENTIALS}
    options += [f"--dns-{kind}-credentials", _CREDENTIALS]
    if ctx.fleet.acme.propagation is not None:
        options += [f"--dns-{kind}-propagation-seconds", str(ctx.fleet.acme.propagation)]
    return options, {}


def _credentials(ctx: Context[Any]) -> tuple[File, ...]:
    if ctx.settings.challenge == "http-01":
        return ()
    provider, name = _provider(ctx), ctx.machine.name
    if isinstance(provider, Rfc2136):
        content = render(
            "certificates/rfc2136.ini.j2",
            provider=provider,
            name=key_name(name),
            secret=ctx.secrets.get(credential(name, "tsig")),
        )
    elif isinstance(provider, Cloudflare):
        token = ctx.secrets.get(credential(name, "cloudflare"))
        content = render("certificates/cloudflare.ini.j2", token=token)
    else:
        content = render(
            "certificates/aws.j2",
            key=ctx.secrets.get(credential(name, "access-key-id")),
            secret=ctx.secrets.get(credential(name, "secret-access-key")),
        )
    return (File(_CREDENTIALS, content, mode=0o600, secret=True),)


def _given(certificate: Certificate, pair: Pair) -> str:
    return f"{_PRIVATE}/{certificate.name}-{pair.algorithm}.pem"


def _key(ctx: Context[Any], certificate: Certificate, pair: Pair) -> bytes:
    return ctx.secrets.get(secret_name(certificate, PRIVATE_KEY, pair)).strip().encode() + b"\n"


def _authority_ca(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
        x509.load_pem_x509_certificates(content)
    except (OSError, ValueError) as error:
        raise MailwrightError(f"acme.ca: {display(Path(path))} is no PEM certificate: {error}") from None
    return content

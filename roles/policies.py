"""MTA-STS policies over HTTPS (RFC 8461): nginx with one document a domain, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from functools import partial

from maildns.policy.mta_sts import PATH, policy_host
from mailwright.converge import operations as op
from mailwright.model.domains import Domain
from mailwright.model.errors import NeedsError
from mailwright.model.names import DnsName
from mailwright.model.needs import Absent, Certificate, Directory, File, Needs, Package, Port, Unit
from mailwright.model.role import Check, Context, Result, Role, Settings
from mailwright.render import render
from mailwright.sts import served_on
from roles import handshake

CONFIG = "/etc/nginx/nginx.conf"
HARDENING = "/etc/systemd/system/nginx.service.d/mailwright.conf"
DOCUMENTS = "/etc/mailwright/policies"


class PoliciesSettings(Settings):
    """Nothing to choose: which domains are served here, their `mta_sts` sections say."""


def needs(ctx: Context[PoliciesSettings]) -> Needs:
    """The web server, its port, and a certificate for the host names that senders ask.

    Raises:
        NeedsError: no domain's policy is served here, so that the port would be open for nothing.
    """
    hosts = tuple(_host(domain) for domain, _ in served_on(ctx.fleet, ctx.machine))
    if not hosts:
        name = ctx.machine.name
        raise NeedsError(f"{name} has the role policies, but no domain has it in its `mta_sts.served_by`")
    certificate = Certificate("mta-sts", hosts)
    return Needs(
        packages=(Package("nginx"), Package("curl")),
        units=(
            Unit(
                "nginx.service",
                reads=(
                    CONFIG,
                    f"{certificate.directory}/fullchain.pem",
                    f"{certificate.directory}/privkey.pem",
                ),
                reload=True,
                check="nginx -t -q",
            ),
        ),
        ports=(Port(443, "tcp", "public", "MTA-STS policies"),),
        certificates=(certificate,),
    )


def files(ctx: Context[PoliciesSettings]) -> Needs:
    """The documents, the whole configuration of nginx, and what systemd keeps from it."""
    (certificate,) = (c for c in ctx.merged.certificates if c.name == "mta-sts")
    served = served_on(ctx.fleet, ctx.machine)
    config = render(
        "policies/nginx.conf.j2",
        hosts=[(_host(domain).bare, _document(domain)) for domain, _ in served],
        certificate=certificate.directory,
        path=PATH,
        ipv6=ctx.machine.ipv6 is not None,
    )
    return Needs(
        directories=(Directory("/etc/mailwright"), Directory(DOCUMENTS)),
        files=(
            File(CONFIG, config),
            File(HARDENING, render("policies/hardening.conf.j2")),
            *(File(_document(domain), policy.document) for domain, policy in served),
        ),
        # Debian's welcome page on port 80. Our configuration includes nothing, but others' might.
        absent=(Absent("/etc/nginx/sites-enabled/default"),),
    )


def _host(domain: Domain) -> DnsName:
    return DnsName(policy_host(domain.name))


def _document(domain: Domain) -> str:
    return f"{DOCUMENTS}/{domain.name.bare}.txt"


def apply(ctx: Context[PoliciesSettings]) -> None:
    """Exchange the configuration once nginx has read all of it without complaint."""
    op.files(ctx, validate=f"nginx -t -q -c {{root}}{CONFIG}")
    op.units(ctx)


def checks(ctx: Context[PoliciesSettings]) -> Iterable[Check]:
    """Each policy is served as the DNS announces it, and nothing beside it."""
    options = ""
    for domain, policy in served_on(ctx.fleet, ctx.machine):
        host = _host(domain).bare
        yield Check(
            f"the policy of {domain.name.bare} is served as published",
            _fetch(host, PATH),
            partial(_same, policy.document.decode().splitlines()),
            "mailwright apply",
        )
        yield Check(
            f"{host} serves nothing else",
            _fetch(host, "/"),
            lambda r: None if r.stdout.endswith("404 text/html") else f"it answers {r.stdout[-60:]!r}",
            "mailwright apply",
        )

        # Without a name of ours nginx refuses any handshake; every name has the same settings.
        options = f"-servername {shlex.quote(host)}"
    yield handshake.old_refused(443, "127.0.0.1", options)
    yield handshake.weak_refused(443, "127.0.0.1", options)


def _fetch(host: str, path: str) -> str:
    """The body, then a line with status and type. Whether the certificate is fit, its need asks."""
    url, here = shlex.quote(f"https://{host}{path}"), shlex.quote(f"{host}:443:127.0.0.1")
    return (
        f"curl -sS --insecure --max-time 10 --resolve {here} -w '\\n%{{http_code}} %{{content_type}}' {url}"
    )


def _same(wanted: list[str], result: Result) -> str | None:
    *body, last = result.stdout.splitlines() or [""]
    if last != "200 text/plain":
        return f"the web server says {last or result.stderr.strip()[:200] or 'nothing'}"
    found = [line for line in body if line]
    return None if found == wanted else f"it serves {'; '.join(found)[:200]}"


ROLE = Role("policies", PoliciesSettings, apply, needs=needs, files=files, checks=checks)

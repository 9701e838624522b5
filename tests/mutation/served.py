"""Damages for what is served: ports, strange listeners, metrics, certificates."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailwright.model.names import DnsName
from mailwright.verify.outside import audiences
from tests.mutation.registry import damages
from tests.mutation.sabotage import Damage, Equivalent
from tests.mutation.shells import edit, extra, in_place, service

_STRAY = 4190


@damages("listeners")
def strange_listener(subject, expectation):
    perl = "/usr/bin/perl -MIO::Socket::INET -e"
    tcp = f"Listen => 1, LocalPort => {_STRAY}"
    udp = f"Proto => udp, LocalPort => {_STRAY}"
    for what, options in (("a TCP port is open", tcp), ("a UDP port is open", udp)):
        program = f"{perl} 'my $s = IO::Socket::INET->new({options}) or die; sleep'"
        yield Damage(what, *service("listener", program))
    if "unbound" in subject.plan.machine.roles:
        text = "server:\n    interface: 0.0.0.0\n"
        yield Damage("a local port is open to others", *_unbound(text), patience=20)


def _unbound(text):
    return extra("/etc/unbound/unbound.conf.d/zz-sabotage.conf", text, "systemctl restart unbound")


# --- ports


@damages("port-22/tcp-*")
def ssh(subject, expectation):
    text = "ListenAddress 127.0.0.1\n"
    how = extra("/etc/ssh/sshd_config.d/00-sabotage.conf", text, "systemctl restart ssh")
    yield Damage("sshd listens on loopback only", *how)


@damages("port-53/*")
def resolver(subject, expectation):
    proto = expectation.name.partition("/")[2].partition("-")[0]
    # dig asks over UDP, and Postfix' resolver over both.
    also = ("check-*",) if proto == "udp" else ()
    yield Damage(f"the resolver takes no {proto.upper()}", *_unbound(f"server:\n    do-{proto}: no\n"), also)


_POSTFIX = {"25": "smtp", "587": "submission", "465": "submissions"}
"""Ports by the names that master.cf has for them; others stand there by number."""


@damages("port-25/tcp-public", "port-587/tcp-public", "port-465/tcp-public", "port-10[0-9]*/tcp-*")
def postfix(subject, expectation):
    number = _number(expectation)
    name = _POSTFIX.get(number, number)
    file = "/etc/postfix/master.cf"
    how = edit(subject, file, f"postconf -MX {name}/inet", "postfix reload 2>/dev/null")
    also = ("file-/etc/postfix/master.cf", *subject.dependents(file), f"check-postfix-*{number}*")
    outside = (f"outside-{number}/*", f"outside-postfix-{number} *")
    # A parameter that this service alone uses is a mistake without it.
    fit = ("check-postfix-it is fit to take mail", "check-postfix-the configuration has no mistakes")
    health = fit if number == "10024" else ()
    handover = ("check-postfix-a queue is taken*",) if number == "10026" else ()
    yield Damage("it is gone from master.cf", *how, (*also, *outside, *health, *handover))


@damages("port-443/*")
def web(subject, expectation):
    file = "/etc/nginx/nginx.conf"
    how = edit(subject, file, in_place("s/listen 443/listen 127.0.0.1:443/", file), "systemctl restart nginx")
    also = (f"file-{file}", *subject.dependents(file), "outside-*")
    yield Damage("it is served on loopback only", *how, also)


@damages("port-8000/*")
def gate(subject, expectation):
    file, unit = (
        ("/etc/mailwright/backup-store/gate.conf", "mailwright-backup-gate")
        if subject.plan.machine.debian >= 13
        else ("/etc/mailwright/backup-store/sshd_config", "mailwright-backup-sshd")
    )
    how = edit(subject, file, in_place(r"s/\b8000\b/8001/", file), f"systemctl restart {unit}")
    also = (f"file-{file}", *subject.dependents(file), "listeners", "check-backup_store-*", "outside-*")
    yield Damage("it is another number", *how, also)


@damages("port-*/tcp-public-*", "port-8404/*")
def balanced(subject, expectation):
    number = _number(expectation)
    # One port may be bound at the addresses of several pools.
    at = _at(subject, number, expectation.name)[0].at
    place = r"\(" + r"\|".join(rf"\[\?{address}]\?" for address in at) + r"\)" if at else ".*"
    also = ("scrape-haproxy", "check-haproxy-metrics*") if number == "8404" else ()
    yield Damage(
        "HAProxy binds it no more",
        *haproxy(subject, f"/^ *bind {place}:{number}$/s/:{number}$/:7{number[-2:]}/"),
        (*HAPROXY, "listeners", *also, "outside-*"),
    )


HAPROXY = ("file-/etc/haproxy/haproxy.cfg", "unit-haproxy.service")


def haproxy(subject, expression):
    file = "/etc/haproxy/haproxy.cfg"
    return edit(subject, file, in_place(expression, file), "systemctl reload haproxy")


@damages("scrape-haproxy")
def metrics(subject, expectation):
    also = (*HAPROXY, "check-haproxy-metrics are served")
    yield Damage("the path is another", *haproxy(subject, "s|path /metrics|path /elsewhere|"), also)


def _number(expectation):
    return re.match(r"port-(\d+)/", expectation.name)[1]


def _at(subject, number, name):
    """The ports of a number that `name` ends with the addresses of."""
    ports = [p for p in subject.plan.merged.ports if str(p.number) == number]
    bound = [p for p in ports if p.at and name.endswith("".join(f"-{a}" for a in p.at))]
    return bound or [p for p in ports if not p.at]


# --- from outside


@damages("outside-[0-9]*/tcp*")
def door(subject, expectation):
    number, _, place = expectation.name.removeprefix("outside-").partition("/tcp")
    ports = _at(subject, number, place)
    also, load = ("check-firewall-*", "outside-*"), "nft --file /etc/nftables.conf"
    # What the machine asks itself is no matter of the firewall.
    rule = f"""nft insert rule inet mailwright input 'iifname != "lo"' tcp dport {number}"""
    if {"public", "admin"} & audiences(subject.plan, ports[0]):
        if number == "25":
            yield Equivalent(
                "it is shut", "many networks let nobody out to port 25: silence there is unknown"
            )
        elif sum(1 for p in subject.plan.merged.ports if p.at == ports[0].at and _admits(p)) < 2:
            yield Equivalent("it is shut", "without another port that answers there, silence is unknown")
        else:
            # A virtual address is at one of the balancers.
            at = subject.site.fleet.pools[0].balancers if place else ()
            yield Damage("it is shut", f"{rule} drop", load, also, at=at)
    elif ports[0].audience == "local":
        listen, undo = _unbound("server:\n    interface: 0.0.0.0\n    interface: ::0\n")
        how = f"{listen}; {rule} accept", f"{load}; {undo}"
        yield Damage("it is open to everybody", *how, (*also, "listeners", "port-53/*"), patience=20)
    else:
        yield Damage("it is open to everybody", f"{rule} accept", load, also)


def _admits(port):
    """Whether the controller gets through to it, other than by SSH."""
    return port.proto == "tcp" and port.number != 22 and {"public", "admin"} & {port.audience}


# --- certificates


@damages("certificate-*")
def certificate(subject, expectation):
    need, pair = _pair(subject, expectation.name.removeprefix("certificate-"))
    names = tuple(DnsName(name).bare for name in need.names)
    key, _ = made(names, 90)
    for what, files in (
        ("it has expired", _both(pair, *made(names, -1))),
        ("its key is another's", {pair.key: key}),
        ("it is for another name", _both(pair, *made(("elsewhere.example",), 90))),
        ("it is no certificate", {pair.chain: "nothing\n"}),
    ):
        yield Damage(what, *placed(subject, files), leans_on(subject, need, pair))


@damages("check-certificates-the certificate * lasts another week")
def soon(subject, expectation):
    wanted = expectation.name.removeprefix("check-certificates-the certificate ").removesuffix(
        " lasts another week"
    )
    need, pair = _pair(subject, wanted)
    names = tuple(DnsName(name).bare for name in need.names)
    allowed = tuple(glob for glob in leans_on(subject, need, pair) if not glob.startswith("certificate-"))
    yield Damage("it ends in three days", *placed(subject, _both(pair, *made(names, 3))), allowed)


def _pair(subject, name):
    pairs = {f"{p.prefix}{c.name}": (c, p) for c in subject.plan.merged.certificates for p in c.pairs}
    return pairs[name]


def _both(pair, key, chain):
    return {pair.key: key, pair.chain: chain}


def leans_on(subject, need, pair):
    """Globs of what may be seen of a certificate that is not as it should be."""
    return (
        f"file-{need.directory}/*",
        f"certificate-{pair.prefix}{need.name}",
        *subject.dependents(pair.chain),
        f"check-certificates-the certificate {pair.prefix}{need.name} lasts another week",
        "check-certificates-certificates are the authority's, and renewed",
        *(("check-postfix-*", "outside-postfix-*") if need.name == "smtp" else ()),
    )


def placed(subject, files):
    """(damage, undo): other contents in files, whose readers are not told."""
    edits = [edit(subject, path, f"cat >{path} <<'PEM'\n{text}PEM\n:") for path, text in files.items()]
    return "; ".join(damage for damage, _ in edits), "; ".join(undo for _, undo in edits)


@cache
def made(names, days):
    """(key, certificate) as PEM, self-signed for names; it ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    end = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=100))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), pem

"""A fleet that is published in the small world, with the servers its records lead to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from maildns.judging.check import State, Verdict
from maildns.policy.tlsa import Tlsa
from mailwright.dnscheck import check_site
from mailwright.model.load import load_site
from mailwright.model.needs import Needs, Record
from mailwright.model.role import Role, Settings
from mailwright.model.site import Site
from mailwright.publish import apply_plans, plan_site
from tests.dns.checkworld import LISTS, PARENT, PRIMARY, SIGNED, CheckWorld, check_world
from tests.dns.server import KEY
from tests.dns.tlsworld import Identity, Mail, Web, authority, leaf, mail_server, web_server

LAB = "checkt"

FLEET = """
lab: {{ name: checkt, ipv4: 198.51.100.0/24, ipv6: "2001:db8:100::/64" }}
owner: {{ name: Test, postmaster: postmaster@brightpost.example }}
providers:
  knot: {{ type: rfc2136, server: {primary}, port: {port}, key_name: all., key: tsig/test }}
  above: {{ type: rfc2136, server: {parent}, port: {port}, key_name: all., key: tsig/test }}
dns:
  blocklists:
    - {{ zone: {addresses}, of: addresses, ipv6: true }}
    - {{ zone: {names}, of: domains }}
domains:
  - name: brightpost.example
    provider: knot
    mx: [mx1]
    dkim: [{{ selector: r1, algorithm: rsa }}]
    dmarc: {{ policy: reject }}
    mta_sts: {{ mode: enforce, served_by: [mx1] }}
    tls_rpt: {{ rua: ["mailto:tls@brightpost.example"] }}
    caa: {{ issuers: [{{ name: ca.example }}] }}
    clients: {{ submissions: [mx1] }}
    links: {{ click: mx1 }}
  - name: parcelnote.example
    provider: knot
reverse_zones:
  - {{ name: 100.51.198.in-addr.arpa, provider: knot }}
senders:
  - {{ login: newsletter, addresses: ["@brightpost.example"] }}
machines:
  - name: mx1
    fqdn: mx1.brightpost.example
    ipv4: 198.51.100.21
    roles: {{ postfix: {{}}, policies: {{}}, unbound: {{ trust_anchors: {anchors} }} }}
  - {{ name: util1, fqdn: util1.brightpost.example, ipv4: 198.51.100.31, roles: {{ base: {{}} }} }}
"""

HOST, ADDRESS, POLICY = f"mx1.{SIGNED}", "198.51.100.21", f"mta-sts.{SIGNED}"

Turned = dict[tuple[str, str, str], Verdict]
"""(kind, subject, what) to the verdict now."""


class _Unbound(Settings):
    trust_anchors: str | None = None


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass
class CheckedFleet:
    """The fleet, its world, and the verdicts on it while all is well."""

    world: CheckWorld
    site: Site
    web: Web
    mail: Mail
    ca: Identity
    identity: Identity
    directory: Path
    well: Turned = field(default_factory=dict)
    down: set[int] = field(default_factory=set)
    """Ports that nobody can be reached at."""
    later: float = 0
    """Seconds by which the checker's clock is ahead."""

    def dial(self, address: str, port: int) -> socket.socket:
        """The hosts of the fleet are servers on loopback here."""
        assert address.startswith("198.51.100."), "an address that our own lookups did not give"
        if address != ADDRESS or port in self.down:
            raise ConnectionRefusedError(111, "Connection refused")
        target = {443: self.web.port, 25: self.mail.port}[port]
        return socket.create_connection(("127.0.0.1", target), 5)

    def check(self, *only: str) -> Turned:
        """Every verdict now."""
        found = list(check_site(self.site, only, dial=self.dial, clock=lambda: time.time() + self.later))
        table = {(v.kind, v.subject, v.what): v for v in found}
        assert len(table) == len(found), "two verdicts cannot be told from each other"
        return table

    def turned(self) -> Turned:
        """The verdicts that are not what they are while all is well."""
        now = self.check()
        return {
            key: v for key, v in now.items() if key not in self.well or v.state is not self.well[key].state
        }


@contextmanager
def checked_fleet(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[CheckedFleet]:
    """Publish the fleet and start its servers."""
    patch.setattr("mailwright.lab.paths.LABS", directory)
    ca = authority("Test CA")
    (directory / LAB).mkdir()
    (directory / LAB / "ca.pem").write_text(ca.pem)
    identity = leaf("mx1.brightpost.example", ca)
    web = Web(leaf("mta-sts.brightpost.example", ca).context(directory))
    mail = Mail(identity.context(directory))
    with check_world(directory / "world") as world, web_server(web), mail_server(mail):
        site = _site(directory, world, identity)
        apply_plans(site, plan_site(site))
        _fill_lists(world)
        web.document = _policy()
        fleet = CheckedFleet(world, site, web, mail, ca, identity, directory)
        fleet.well = fleet.check()
        yield fleet


def _policy() -> bytes:
    lines = ("version: STSv1", "mode: enforce", "mx: mx1.brightpost.example", "max_age: 1209600", "")
    return "\r\n".join(lines).encode()


def _site(directory: Path, world: CheckWorld, identity: Identity) -> Site:
    anchors = directory / "anchors"
    anchors.write_text(f"{world.anchors}\n")
    file = directory / "fleet.yaml"
    file.write_text(
        FLEET.format(
            primary=PRIMARY,
            parent=PARENT,
            port=world.port,
            addresses=LISTS[0].removesuffix("."),
            names=LISTS[1].removesuffix("."),
            anchors=anchors,
        )
    )
    tlsa = Tlsa.of_private_key(identity.pem_key)

    def needs(_: object) -> Needs:
        return Needs(records=(Record(f"_25._tcp.{HOST}", "TLSA", tlsa.text, "the key of port 25"),))

    roles = (
        Role("base", Settings, apply=lambda _: None),
        Role("postfix", Settings, apply=lambda _: None, needs=needs),
        Role("policies", Settings, apply=lambda _: None),
        Role("unbound", _Unbound, apply=lambda _: None),
    )
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    environ = {"MAILWRIGHT_SECRET_TSIG_TEST": KEY, "MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_R1": _pem(key)}
    return load_site(file, roles, environ)


def _fill_lists(world: CheckWorld) -> None:
    addresses, names = LISTS
    six = ".".join("200000f7ffff" + "0" * 20)
    world.update(
        addresses,
        f"2.0.0.127.{addresses} 60 A 127.0.0.2",
        f"{six}.{addresses} 60 A 127.0.0.2",
    )
    world.update(names, f"test.{names} 60 A 127.0.1.2")


def all_ok(verdicts: Turned) -> bool:
    return all(v.state is State.OK for v in verdicts.values())

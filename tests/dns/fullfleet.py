"""A fleet that wants every kind of record, for what writes zones out and reads them in."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings
from mailwright.model.site import Site

FLEET = """
owner: { name: Test, postmaster: post.master@brightpost.example }
providers:
  knot: { type: rfc2136, server: 127.0.0.1, key_name: all., key: tsig/test }
dns: { ttl: 1800 }
domains:
  - name: brightpost.example
    provider: knot
    mx: [mx1, mx2]
    dkim: [{ selector: r1, algorithm: rsa }, { selector: e1, algorithm: ed25519 }]
    spf: { include: [_spf.partner.example], all: "~all" }
    dmarc:
      policy: reject
      subdomain_policy: quarantine
      rua: ["mailto:dmarc@brightpost.example", "mailto:dmarc@reports.example.net"]
      ruf: ["mailto:failures@brightpost.example"]
      alignment: strict
    mta_sts: { mode: enforce, served_by: [util1] }
    tls_rpt: { rua: ["mailto:tls@brightpost.example", "https://reports.example.net/tls"] }
    caa:
      issuers:
        - { name: ca.example.net, accounturi: "https://ca.example.net/acct/1", validationmethods: [dns-01] }
        - { name: other-ca.example.net, wildcard: true }
      iodef: ["mailto:security@brightpost.example"]
    bimi: { logo: "https://brightpost.example/logo.svg", certificate: "https://brightpost.example/vmc.pem" }
    clients: { submissions: [mx1, mx2], imaps: [imap.example.net] }
    links: { click: util1, unsubscribe: unsubscribe.example.net }
  - name: parcelnote.example
    dmarc: { rua: ["mailto:dmarc@brightpost.example"] }
  - { name: mail.parcelnote.example, zone: parcelnote.example, mx: [mx1] }
reverse_zones:
  - { name: 100.51.198.in-addr.arpa, provider: knot }
machines:
  - name: mx1
    fqdn: mx1.brightpost.example
    ipv4: 198.51.100.21
    ipv6: 2001:db8:100::21
    roles: { postfix: {} }
  - { name: mx2, fqdn: mx2.brightpost.example, ipv4: 198.51.100.22, roles: { postfix: {} } }
  - { name: util1, fqdn: util1.brightpost.example, ipv4: 198.51.100.31, roles: { policies: {} } }
"""

ZONES = ("brightpost.example.", "parcelnote.example.", "100.51.198.in-addr.arpa.")


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


KEYS = {
    "MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_R1": pem(rsa.generate_private_key(65537, 2048)),
    "MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_E1": pem(ed25519.Ed25519PrivateKey.generate()),
}


def _nothing(_: object) -> None:
    """These roles are never applied."""


ROLES = tuple(Role(name, Settings, apply=_nothing) for name in ("base", "postfix", "policies"))


def write_fleet(folder: Path, text: str = FLEET) -> Path:
    """The fleet file."""
    file = folder / "fleet.yaml"
    file.write_text(text)
    return file


def open_fleet(file: Path | str, environ: dict[str, str] | None = None) -> Site:
    """The fleet with its keys."""
    return load_site(file, ROLES, KEYS | (environ or {}))

"""The keys of a lab, each made once: SSH, DNSSEC, TLS with an authority, and the fleet's secrets."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.name
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from maildns.policy.mta_sts import policy_host
from mailwright.acme import tsig_secret as tsig
from mailwright.certificate import CHAIN, PRIVATE_KEY
from mailwright.lab.plan import LabPlan
from mailwright.model.acme import credential
from mailwright.model.backups import KEEPER_PASSWORD, secret
from mailwright.model.secrets_store import password
from mailwright.repositories import HOST_KEY, KEEPER_S3, KEEPER_SSH
from mailwright.sshkeys import ssh_key as new_ssh_key

_ZONE_KEY = Flag.ZONE | Flag.SEP


@dataclass(frozen=True)
class SshKey:
    """An Ed25519 key in OpenSSH's formats; `public` is `ssh-ed25519 AAAA...` without a comment."""

    private: bytes
    public: str


def ssh_key(file: Path) -> SshKey:
    """The key in `file`, made if missing, with its public half in `file.pub`."""
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        _write(file, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), 0o600)
    private = file.read_bytes()
    loaded = load_ssh_private_key(private, None).public_key()
    public = loaded.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    _write(file.with_name(file.name + ".pub"), (public + "\n").encode(), 0o644)
    return SshKey(private, public)


def host_key(plan: LabPlan, host: str) -> SshKey:
    """A host's key: it outlives the host's disk, so that a reset host is still the one we know."""
    return ssh_key(plan.state / "ssh" / "hosts" / host)


def operator_key(plan: LabPlan) -> SshKey:
    """The key that logs in to every host as root."""
    return ssh_key(plan.state / "ssh" / "id_ed25519")


def write_known_hosts(plan: LabPlan) -> None:
    """What ssh needs to recognise every host, by name and by address (sshd(8), SSH_KNOWN_HOSTS)."""
    lines = []
    for host in plan.hosts:
        names = (host.name, host.fqdn, *(str(i.ip) for i in host.interfaces))
        lines.append(f"{','.join(names)} {host_key(plan, host.name).public}\n")
    _write(plan.state / "ssh" / "known_hosts", "".join(lines).encode(), 0o644)


@dataclass(frozen=True)
class ZoneKey:
    """The one key that signs a zone (a combined signing key, ECDSA P-256: RFC 6605)."""

    zone: str
    pem: bytes
    """PKCS8, what `keymgr import-pem` takes."""
    dnskey: DNSKEY

    @property
    def ds(self) -> str:
        """The DS record's value for the parent zone (SHA-256, RFC 4509)."""
        return str(dns.dnssec.make_ds(self.zone, self.dnskey, DSDigest.SHA256))

    @property
    def anchor(self) -> str:
        """The trust anchor as unbound's `trust-anchor-file` has it (unbound.conf(5))."""
        return f"{self.zone} IN DNSKEY {self.dnskey}"


def zone_key(plan: LabPlan, zone: str) -> ZoneKey:
    """The key of a zone, made if missing."""
    file = plan.state / "dnssec" / f"{zone}pem"
    if not file.exists():
        _write(file, _pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
    pem = file.read_bytes()
    public = load_pem_private_key(pem, None).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)  # noqa: S101 - we made it
    dnskey = dns.dnssec.make_dnskey(public, Algorithm.ECDSAP256SHA256, flags=_ZONE_KEY)
    return ZoneKey(zone, pem, dnskey)


def write_anchors(plan: LabPlan) -> bytes:
    """Write the lab's trust anchors where the fleet file finds them, and return them."""
    anchors = "".join(zone_key(plan, zone).anchor + "\n" for zone in plan.anchored_zones).encode()
    _write(plan.state / "anchors", anchors, 0o644)
    return anchors


def tsig_secret(plan: LabPlan) -> str:
    """The key of the fleet's provider, base64, made if missing."""
    file = plan.state / "tsig"
    if not file.exists():
        _write(file, tsig().encode(), 0o600)
    return file.read_text()


def acme_secrets(plan: LabPlan) -> dict[str, str]:
    """Secrets with the TSIG key of each machine for its ACME proofs, made where missing."""
    found = {}
    for machine in plan.fleet.machines:
        file = plan.state / "acme" / machine.name
        if not file.exists():
            _write(file, tsig().encode(), 0o600)
        found[credential(machine.name, "tsig")] = file.read_text()
    return found


def backup_key(plan: LabPlan, machine: str | None) -> SshKey:
    """The key with which a machine, or the keeper, comes to an SFTP account."""
    return ssh_key(plan.state / "ssh" / "backup" / (machine or "-keeper"))


def backup_secrets(plan: LabPlan) -> dict[str, str]:
    """Secrets of every machine, and of the keeper, towards every kind of store.

    Those that the lab's world need not know are drawn anew with each call: whoever has some keeps those.
    """
    machines = [machine.name for machine in plan.fleet.machines]
    passwords = [KEEPER_PASSWORD, *(secret(name, kind) for name in machines for kind in ("password", "rest"))]
    private = {KEEPER_SSH: None} | {secret(name, "ssh"): name for name in machines}
    s3 = [KEEPER_S3, *((secret(name, "s3-id"), secret(name, "s3-key")) for name in machines)]
    return (
        {name: password() for name in passwords}
        | {name: backup_key(plan, whose).private.decode() for name, whose in private.items()}
        | {HOST_KEY: new_ssh_key()}
        | {identity: f"lab-{identity.split('/')[-2]}" for identity, _ in s3}
        | {key: password() for _, key in s3}
    )


def tls_pair(plan: LabPlan, host: str) -> tuple[bytes, bytes]:
    """(certificate, private key) of a world's host as PEM, self-signed for its name, made if missing."""
    certificate, key = (plan.state / "tls" / f"{host}.{kind}" for kind in ("crt", "key"))
    if not certificate.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        name = plan.host(host).fqdn
        _write(key, _pem(made), 0o600)
        _write(certificate, _self_signed(made, name).public_bytes(Encoding.PEM), 0o644)
    return certificate.read_bytes(), key.read_bytes()


def signed_pair(plan: LabPlan, host: str) -> tuple[bytes, bytes]:
    """(certificate, private key) of a world's host as PEM, signed by the lab's authority, made if missing."""
    certificate, key = (plan.state / "tls" / f"{host}.{kind}" for kind in ("crt", "key"))
    authority = _authority(plan)
    if not certificate.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        name = plan.host(host).fqdn
        leaf = _certificate(name, [name], made, f"The authority of the lab {plan.name}", authority)
        _write(key, _pem(made), 0o600)
        _write(certificate, leaf.public_bytes(Encoding.PEM), 0o644)
    return certificate.read_bytes(), key.read_bytes()


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    return _certificate(name, [name], key, name, key)


def ca_file(plan: LabPlan) -> Path:
    """The public certificate of the lab's authority: what a client trusts that is to verify the fleet."""
    return plan.state / "ca.pem"


def fleet_certificates(plan: LabPlan) -> dict[str, str]:
    """Secrets with the certificates that an operator would provide, signed by the lab's authority.

    `smtp` for the machines' host names and the pools' service names, `mta-sts` for the policy hosts of
    the domains, `backup` for whichever machine takes the backups; drawn anew with each call, so that
    whoever has some already keeps those.
    """
    authority, name = _authority(plan), f"The authority of the lab {plan.name}"
    machines = [machine.fqdn.bare for machine in plan.fleet.machines]
    names = {
        "smtp": [*machines, *(pool.service.bare for pool in plan.fleet.pools)],
        "backup": machines,
        "mta-sts": [policy_host(domain.name.bare) for domain in plan.fleet.domains],
    }
    secrets: dict[str, str] = {}
    for each, hosts in names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(each, hosts, key, name, authority)
        secrets[f"certificate/{each}/{CHAIN}"] = leaf.public_bytes(Encoding.PEM).decode()
        secrets[f"certificate/{each}/{PRIVATE_KEY}"] = _pem(key).decode()
    return secrets


def _authority(plan: LabPlan) -> ec.EllipticCurvePrivateKey:
    """The authority's key, made if missing together with its certificate."""
    file = plan.state / "ca.key"
    if not file.exists():
        _write(file, _pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
    key = load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we made it
    if not ca_file(plan).exists():
        name = f"The authority of the lab {plan.name}"
        certificate = _certificate(name, [], key, name, key)
        _write(ca_file(plan), certificate.public_bytes(Encoding.PEM), 0o644)
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(
    name: str,
    hosts: list[str],
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate for some hosts; without any, for an authority (RFC 5280 section 4.2)."""
    subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, issuer))
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    else:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(signer, hashes.SHA256())


def _write(file: Path, content: bytes, mode: int) -> None:
    """Write whole or not at all, unless it is there: neither a kill nor a second reader finds half a key."""
    if file.exists() and file.read_bytes() == content:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, half = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(handle, mode)
        stream.write(content)
    Path(half).replace(file)

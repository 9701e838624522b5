"""Machines come by their certificates themselves, keep what they have when that fails, and say why."""

import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.xfr
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailwright.acme import names_of, provers
from mailwright.lab.shell import wait_until
from tests.lab.deploying import verify
from tests.lab.variants import attempt, machine, variant

MINUTES = 5

PROGRAM = "mailwright-certificates"
CREDENTIALS = "/etc/mailwright/acme/credentials"
WORK = "/var/lib/mailwright/acme"
SERVED = "/etc/mailwright/certificates/smtp"


@pytest.fixture(scope="module")
def members(lab, site):
    """The machines that get their certificates by proofs in the DNS."""
    return [lab.host(prover.machine.name) for prover in provers(site.fleet)]


@pytest.fixture
def member(members):
    """One of them."""
    return members[0]


def shown(host, context=None, name=None, port=465):
    """The certificate that a stranger is shown, verified as `context` wants it."""
    context = context or unverified()
    with (
        socket.create_connection((host.host.address, port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name or host.host.fqdn) as secure,
    ):
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True))


def unverified():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def state(host):
    return json.loads(host.run([PROGRAM, "--state"]).require().stdout)


def force(host):
    return host.run([PROGRAM, "--force", "smtp"], timeout=300)


def master(host):
    return host.run("cat /var/spool/postfix/pid/master.pid").require().stdout.strip()


@pytest.mark.proof("every member has a certificate of the authority for its host name and the service name")
def test_the_chain_verifies_for_every_name_at_every_member(lab, site, members, evidence):
    context = ssl.create_default_context(cadata=lab.ca.roots.decode())
    assert members
    for host in members:
        for name in names_of(site.fleet, site.fleet.machine(host.name)):
            leaf = shown(host, context, name.rstrip("."))
        evidence(f"{host.name}: {leaf.issuer.rfc4514_string()}, until {leaf.not_valid_after_utc:%Y-%m-%d}")


@pytest.mark.proof("a renewal is a reload: open sessions go on, and the mail server is not restarted")
def test_a_forced_renewal_disturbs_nobody(member, evidence):
    before, pid = shown(member), master(member)
    with (
        socket.create_connection((member.host.address, 465), timeout=60) as plain,
        unverified().wrap_socket(plain) as session,
    ):
        assert session.recv(200).startswith(b"220 ")
        done = force(member).require()
        session.sendall(b"NOOP\r\n")
        assert session.recv(200).startswith(b"250 ")
    after = shown(member)
    assert after.serial_number != before.serial_number
    assert after.public_key() != before.public_key()
    assert master(member) == pid
    evidence(done.stdout.splitlines()[-1])


@pytest.mark.proof("members that prove the same service name at the same time do not disturb each other")
def test_members_prove_one_name_at_once(lab, site, members):
    before = {host.name: shown(host).serial_number for host in members}
    with ThreadPoolExecutor(len(members)) as pool:
        for done in pool.map(force, members):
            done.require()
    assert all(shown(host).serial_number != before[host.name] for host in members)
    for prover in provers(site.fleet):
        for name in prover.names:
            assert lab.ns.values(name, "TXT") == []  # the proofs are gone again


@contextmanager
def authority_down(lab, _):
    lab.ca.stop()
    try:
        yield
    finally:
        lab.ca.start()


@contextmanager
def updates_refused(_, host):
    """The name server knows another key by that name."""
    host.run(
        f"cp -p {CREDENTIALS} /run/kept && sed -i 's/^\\(dns_rfc2136_secret = \\)..../\\1AAAA/' {CREDENTIALS}"
    )
    try:
        yield
    finally:
        host.run(f"cp -p /run/kept {CREDENTIALS} && rm /run/kept").require()


@contextmanager
def disk_full(_, host):
    """What certificates are made on has no room left."""
    host.run(f"mount -t tmpfs -o size=16k,mode=0700 none {WORK} && head -c 64k /dev/zero >{WORK}/full; :")
    try:
        assert not host.run(f"echo more >{WORK}/more").ok
        yield
    finally:
        host.run(["umount", WORK]).require()


FAILURES = {
    "the authority is down": (authority_down, "onnection"),
    "the name server refuses": (updates_refused, "TSIG|key|BADSIG|signature"),
    "the disk is full": (disk_full, "No space left on device"),
}


@pytest.mark.proof("where no certificate is to be had the old one stays, and the verification says why")
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_the_old_certificate(lab, member, failure, evidence):
    cause, says = FAILURES[failure]
    before = shown(member)
    # As after a change of the authority: the certificate is valid, but not the one that is wanted.
    member.run(f"echo former >{SERVED}/.ecdsa/origin").require()
    with cause(lab, member):
        assert not member.run("systemctl start mailwright-certificates.service", timeout=300).ok
        assert shown(member) == before
        wrong = verify(lab.plan.file, member.name)
        told = next(text for item, text in wrong.items() if "the authority's, and renewed" in item)
        assert "renewal fails since" in told
        assert any(word in told for word in says.split("|")), told
        assert len(member.run("journalctl -u mailwright-certificates -n 1 -o cat").stdout) > 0
        evidence(
            f"{failure}: {told.partition('renewal fails since ')[2].split(' UTC: ')[1].splitlines()[0][:160]}"
        )
    member.run([PROGRAM, "--apply"], timeout=300).require()  # what the next deploy does
    assert shown(member) != before
    member.run("systemctl start mailwright-certificates.service").require()
    assert verify(lab.plan.file, member.name) == {}


@pytest.mark.proof("a key that was tampered with is replaced by the next round of the timer")
def test_a_wrong_key_is_healed_by_the_next_round(lab, member):
    before = shown(member)
    member.run(f"openssl ecparam -genkey -name prime256v1 -noout -out {SERVED}/privkey.pem").require()
    assert any("certificate-smtp" in item for item in verify(lab.plan.file, member.name))
    member.run("systemctl start mailwright-certificates.service", timeout=300).require()
    assert shown(member) != before
    assert state(member)[0]["fault"] is None


def test_an_account_that_the_authority_forgot_is_made_anew(lab, member):
    before = shown(member)
    lab.ca.start()  # pebble keeps nothing
    force(member).require()
    assert shown(member) != before
    shown(member, ssl.create_default_context(cadata=lab.ca.roots.decode()))


@pytest.mark.proof("a machine's key changes its own proofs in the DNS, and nothing else")
def test_a_credential_is_good_for_its_own_proofs_only(lab, site, members):
    own, other = list(provers(site.fleet))[:2]
    zone = next(str(d.name) for d in site.fleet.domains if own.machine.fqdn.endswith("." + str(d.name)))
    said = dict(
        line.split(" = ", 1)
        for line in members[0].read(CREDENTIALS).decode().splitlines()
        if " = " in line and not line.startswith("#")
    )
    keyring = dns.tsigkeyring.from_text({said["dns_rfc2136_name"]: said["dns_rfc2136_secret"]})
    server = lab.ns.plan.host("ns").address

    def change(act, *arguments):
        update = dns.update.UpdateMessage(zone, keyring=keyring, keyalgorithm=dns.tsig.HMAC_SHA256)
        getattr(update, act)(*arguments)
        try:
            return dns.query.tcp(update, server, timeout=10).rcode()
        except dns.tsig.PeerBadKey:  # knot's answer where no rule allows it
            return dns.rcode.NOTAUTH

    own_proof, foreign = own.names[0], next(n for n in other.names if n not in own.names)
    assert change("add", own_proof, 60, "TXT", "probe") == dns.rcode.NOERROR
    assert change("delete", own_proof, "TXT", "probe") == dns.rcode.NOERROR
    soa = lab.ns.values(zone, "SOA")
    host = str(own.machine.fqdn)
    for act, *arguments in (
        ("add", foreign, 60, "TXT", "probe"),
        ("add", own_proof, 60, "A", "192.0.2.1"),
        ("add", f"below.{own_proof}", 60, "TXT", "probe"),
        ("add", host, 60, "TXT", "v=spf1 +all"),
        ("replace", host, 60, "A", "192.0.2.1"),
        ("delete", host),
        ("delete", zone, "MX"),
        ("add", f"_acme-challenge.{zone}", 60, "TXT", "probe"),
    ):
        assert change(act, *arguments) != dns.rcode.NOERROR, (act, *arguments)
    assert lab.ns.values(zone, "SOA") == soa
    signed = {"keyring": keyring, "keyalgorithm": dns.tsig.HMAC_SHA256}
    transfer = dns.query.xfr(server, zone, timeout=10, **signed)
    with pytest.raises((dns.xfr.TransferError, dns.tsig.PeerError)):
        list(transfer)


@pytest.fixture
def lonely(lab, deployed, tmp_path):
    """A machine that no pool has, and a fleet file in which it proves its name on port 80."""
    del deployed
    host = lab.host("util1")
    host.snapshot("before-http-01")

    def edit(fleet):
        roles = machine(fleet, host)["roles"]
        roles["certificates"] = {"mode": "acme", "challenge": "http-01"}
        roles["postfix"] = {"submission": False, "inbound": True}

    yield host, variant(lab, tmp_path, edit)
    host.restore("before-http-01")


@pytest.mark.proof("a first deploy without the authority ends red with all services running, and heals")
def test_a_first_deploy_gets_by_without_the_authority(lab, lonely, evidence):
    host, inventory = lonely
    with authority_down(lab, host):
        status, said = attempt(inventory, [host])
        assert status != 0
        assert "renewal fails since" in said
        unit = {12: "postfix@-", 13: "postfix"}[
            next(m.debian for m in lab.plan.fleet.machines if m.name == host.name)
        ]
        assert host.run(["systemctl", "is-active", unit]).ok
        assert "self-signed" in state(host)[0]["fault"]
        pid = master(host)
    host.run([PROGRAM, "--apply"], timeout=300).require()
    status, said = attempt(inventory, [host])
    assert status == 0, said[-3000:]
    assert state(host)[0]["fault"] is None
    assert master(host) == pid
    context = ssl.create_default_context(cadata=lab.ca.roots.decode())
    wait_until(lambda: smtp_shown(host, context) is not None, "port 25 offers TLS")
    evidence(f"{host.name} by http-01: {state(host)[0]['issuer']}")


def smtp_shown(host, context):
    """The certificate on port 25, after STARTTLS."""
    with socket.create_connection((host.host.address, 25), timeout=30) as plain:
        file = plain.makefile("rb")
        for request in (b"", b"EHLO stranger.example\r\n", b"STARTTLS\r\n"):
            plain.sendall(request)
            while (line := file.readline())[3:4] == b"-":
                pass
            assert line[:1] == b"2", line
        with context.wrap_socket(plain, server_hostname=host.host.fqdn) as secure:
            return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True))


def test_a_pinned_certificate_keeps_the_key_that_the_world_knows(lab, deployed, tmp_path):
    del deployed
    host = lab.host("mx1")
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    before = smtp_shown(host, unverified())

    def edit(fleet):
        machine(fleet, host)["roles"]["certificates"] = {"mode": "acme"}

    host.snapshot("before-acme")
    status, said = attempt(variant(lab, tmp_path, edit), [host])
    assert status == 0, said[-3000:]
    force(host).require()
    after = smtp_shown(host, unverified())
    host.restore("before-acme")
    assert "Pebble" in after.issuer.rfc4514_string()
    assert after.public_key().public_bytes(*spki) == before.public_key().public_bytes(*spki)

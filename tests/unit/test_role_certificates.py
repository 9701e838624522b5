"""Pins which certificates are served: made on the host and kept, or provided and fit."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from mailwright.acme import bind, knot, provers, route53_policy
from mailwright.acme import prover as make_prover
from mailwright.model.acme import LETS_ENCRYPT
from mailwright.model.errors import NeedsError, SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.load import load_fleet
from mailwright.model.needs import Certificate, Needs, Unit
from mailwright.model.providers import Rfc2136
from mailwright.model.role import Result, Role, Settings
from mailwright.model.secrets_store import required
from roles import certificates
from roles.certificates import acme

MAIL = Certificate("mail", ("m1.brightpost.example.", "smtp.brightpost.example."), "mail")
NAMES = [name.removesuffix(".") for name in MAIL.names]
NOW = datetime.now(UTC)


@pytest.fixture
def made():
    """Returns a function: names and times to a PEM certificate and its PEM key."""

    def pair(names=NAMES, start=NOW - timedelta(days=1), end=NOW + timedelta(days=60), subject="ca"):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), start, end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM).decode(), pem.decode()

    return pair


@pytest.fixture
def provided(plan_of):
    """Returns a function: a PEM chain and key to the plan of a machine that is to serve them."""

    def plan(chain, key):
        return plan_of(
            certificates.ROLE,
            needs=Needs(certificates=(MAIL,)),
            settings={"certificates": {"mode": "provided"}},
            secrets={"certificate/mail/fullchain": chain, "certificate/mail/privkey": key},
        )

    return plan


def test_a_provided_pair_is_put_in_place_with_its_key_kept(provided, made):
    files = {f.path: f for f in provided(*made()).merged.files}
    key = files["/etc/mailwright/certificates/mail/privkey.pem"]
    assert (key.owner, key.group, key.mode, key.secret) == ("root", "mail", 0o640, True)
    assert files["/etc/mailwright/certificates/mail/fullchain.pem"].mode == 0o644


def test_a_key_that_never_leaves_its_host_cannot_be_pinned(plan_of):
    pinned = Certificate("smtp", MAIL.names, pinned=((MAIL.names[0], 25),))
    with pytest.raises(NeedsError, match="TLSA records are to name the key of the certificate smtp") as error:
        plan_of(certificates.ROLE, needs=Needs(certificates=(pinned,)))
    assert "\n" not in str(error.value)


def test_a_wildcard_covers_one_label(provided, made):
    provided(*made(["*.brightpost.example"]))
    with pytest.raises(SecretError, match="does not cover m1"):
        provided(*made(["*.example"]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"names": NAMES[:1]}, "does not cover smtp.brightpost.example"),
        ({"end": NOW - timedelta(hours=1)}, "expired on"),
        ({"start": NOW + timedelta(days=2)}, "not valid before"),
    ],
)
def test_an_unfit_pair_is_refused_before_anything_is_uploaded(provided, made, arguments, says):
    with pytest.raises(SecretError, match=says):
        provided(*made(**arguments))


def test_a_key_of_another_certificate_is_refused(provided, made):
    with pytest.raises(SecretError, match="the key is not that of"):
        provided(made()[0], made()[1])


@pytest.mark.parametrize("damage", [lambda _, k: ("nonsense", k), lambda c, _: (c, "nonsense")])
def test_what_is_no_pair_is_refused_without_showing_it(provided, made, damage):
    with pytest.raises(SecretError, match="PEM") as refused:
        provided(*damage(*made()))
    assert "nonsense" not in str(refused.value)


def test_a_chain_in_the_wrong_order_is_refused(provided, made):
    chain, key = made()  # issued by "ca"
    provided(chain + made(subject="ca")[0], key)
    with pytest.raises(SecretError, match="out of order: CN=ca"):
        provided(chain + made(subject="another")[0], key)


def test_nothing_is_provided_when_self_signed(plan_of):
    plan = plan_of(certificates.ROLE, needs=Needs(certificates=(MAIL,)))
    assert not [f for f in plan.merged.files if f.path.startswith(certificates.HOME)]
    (folder,) = [d for d in plan.merged.directories if d.path == MAIL.directory]
    assert (folder.group, folder.mode) == ("mail", 0o750)


@pytest.mark.parametrize(("mode", "kept"), [("self-signed", [certificates.HOME]), ("provided", [])])
def test_what_is_made_on_the_host_is_nowhere_else_and_backed_up(provided, made, plan_of, mode, kept):
    plan = plan_of(certificates.ROLE) if mode == "self-signed" else provided(*made())
    assert [path.path for path in plan.merged.backups] == kept


@pytest.fixture
def sign(tmp_path, monkeypatch):
    """Returns a function that runs the host's shell in a folder of the test; the account is ours there."""
    fake = tmp_path / "bin"
    fake.mkdir()
    for tool in ("chown", "chgrp"):
        (fake / tool).write_text("#!/bin/sh\n")
        (fake / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setattr(Certificate, "directory", str(tmp_path))

    def run(*names, renew_days=30):
        certificate = Certificate("mail", names, "mail")
        text = certificates.self_sign(certificate, certificate.pairs[-1], 90, renew_days)
        request = certificates._request(certificate)
        subprocess.run(["sh", "-c", text], input=request, text=True, check=True, capture_output=True)
        return (tmp_path / "fullchain.pem").read_text(), (tmp_path / "privkey.pem").read_text()

    return run


def test_a_self_signed_pair_is_kept_until_its_names_change(sign):
    first = sign("a.example.")
    assert sign("a.example.") == first
    chain, key = sign("a.example.", "b.example.")
    assert (chain, key) != first
    leaf = x509.load_pem_x509_certificate(chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example", "b.example"]
    later = NOW + timedelta(hours=1)
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)
    assert not certificates.faults(chain.encode(), key.encode(), ("a.example.", "b.example."), later)


def test_a_self_signed_pair_is_replaced_before_its_end(sign):
    first = sign("a.example.")
    assert sign("a.example.", renew_days=100) != first


def test_a_pair_that_does_not_belong_together_is_replaced(sign, tmp_path):
    chain, key = sign("a.example.")
    sign("b.example.")
    (tmp_path / "fullchain.pem").write_text(chain)  # as a run leaves it that is killed between the two
    assert sign("a.example.")[1] != key


def test_it_is_measured_until_when_a_pair_is_valid(sign, tmp_path, monkeypatch):
    chain, _ = sign("a.example.")
    monkeypatch.setattr(certificates.measured, "METRICS", str(tmp_path / "metrics" / "certificates.prom"))
    mine = (Certificate("mail", ("a.example.",), "mail"),)

    def shell(text):
        return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)

    assert shell(certificates.measured.written(mine)).returncode != 0
    assert shell(certificates.measured.write(mine)).returncode == 0
    assert shell(certificates.measured.written(mine)).returncode == 0
    end = x509.load_pem_x509_certificate(chain.encode()).not_valid_after_utc.timestamp()
    line = f'mailwright_certificate_not_after_seconds{{certificate="mail",algorithm="ecdsa"}} {end:.0f}'
    assert line in (tmp_path / "metrics" / "certificates.prom").read_text().splitlines()


def test_an_rsa_pair_lies_beside_the_ecdsa_one_and_holds_an_rsa_key(made, plan_of):
    both = Certificate("mail", ("a.example.",), "mail", algorithms=("ecdsa", "rsa"))
    assert [pair.chain.rpartition("/")[2] for pair in both.pairs] == ["fullchain.pem", "rsa-fullchain.pem"]
    secrets = {
        f"certificate/mail/{start}{part}": pem
        for start in ("", "rsa-")
        for part, pem in zip(("fullchain", "privkey"), made(["a.example"]), strict=True)
    }
    settings = {"certificates": {"mode": "provided"}}
    with pytest.raises(SecretError, match="rsa-privkey: the key is no RSA key"):
        plan_of(certificates.ROLE, needs=Needs(certificates=(both,)), settings=settings, secrets=secrets)


ACME = {"certificates": {"mode": "acme"}}
SERVER = {"type": "rfc2136", "server": "203.0.113.53", "key_name": "fleet.", "key": "tsig/fleet"}
DOMAIN = {"name": "brightpost.example", "provider": "main"}
POOL = {"name": "outgoing", "service": "smtp.brightpost.example", "members": ["m1"]}
FLEET = {"providers": {"main": SERVER}, "domains": [DOMAIN], "pools": [POOL]}
PROOF = {"acme/m1/tsig": "c2VjcmV0"}


@pytest.fixture
def acme_plan(plan_of):
    """Returns a function: more of the fleet file to the plan of a machine that asks an authority."""

    def plan(certificate=MAIL, settings=None, secrets=PROOF, **fleet):
        unit = Unit(
            "postfix.service", reads=(f"{certificate.directory}/fullchain.pem",), reload=True, check="true"
        )
        return plan_of(
            certificates.ROLE,
            needs=Needs(certificates=(certificate,), units=(unit,)),
            settings={"certificates": {"mode": "acme", **(settings or {})}},
            secrets=secrets,
            **(FLEET | fleet),
        )

    return plan


def file_of(plan, path):
    return next(f for f in plan.merged.files if f.path == path)


def test_a_machine_asks_with_the_one_plugin_and_a_credential_of_its_own(acme_plan):
    plan = acme_plan()
    assert {p.name for p in plan.merged.packages} >= {"certbot", "python3-certbot-dns-rfc2136"}
    credentials = file_of(plan, "/etc/mailwright/acme/credentials")
    assert (credentials.owner, credentials.mode, credentials.secret) == ("root", 0o600, True)
    assert "dns_rfc2136_name = acme-m1." in credentials.content.decode()
    wanted = json.loads(file_of(plan, acme.CONFIG).content)
    (asked,) = wanted["certificates"]
    assert asked["names"] == NAMES
    assert asked["units"] == [{"name": "postfix.service", "reload": True, "check": "true"}]
    assert wanted["directory"] == LETS_ENCRYPT
    assert "c2VjcmV0" not in file_of(plan, acme.CONFIG).content.decode()
    assert "mailwright-certificates.timer" in {u.name for u in plan.merged.units}


def test_a_pinned_certificate_is_asked_for_with_the_key_from_the_secrets(acme_plan, made):
    key = made()[1]
    pinned = Certificate("mail", MAIL.names, pinned=((MAIL.names[0], 25),))
    plan = acme_plan(pinned, secrets=PROOF | {"certificate/mail/privkey": key})
    (asked,) = json.loads(file_of(plan, acme.CONFIG).content)["certificates"]
    given = file_of(plan, asked["pairs"][0]["given"])
    assert (given.content.decode(), given.mode, given.secret) == (key, 0o600, True)


def test_a_key_that_is_not_pinned_any_more_does_not_stay_on_the_machine(acme_plan):
    plan = acme_plan()
    gone = {a.path for a in plan.merged.absent}
    assert gone == {"/etc/mailwright/acme/mail-ecdsa.pem", "/etc/mailwright/acme/mail-rsa.pem"}


def test_what_is_secret_can_be_drawn():
    roles = (certificates.ROLE, Role("mail", Settings, lambda _: None, needs=lambda _: PINNED))
    fleet = Fleet.model_validate(
        {
            "owner": {"name": "x", "postmaster": "x@brightpost.example"},
            "machines": [
                {
                    "name": "m1",
                    "fqdn": "m1.brightpost.example",
                    "ipv4": "203.0.113.11",
                    "roles": ACME | {"mail": {}},
                }
            ],
            **FLEET,
            "pools": [],
        }
    )
    found = {one.name: one for one in required(fleet, roles)}
    assert len(base64.b64decode(found["acme/m1/tsig"].make())) == 32
    assert (
        load_pem_private_key(found["certificate/mail/privkey"].make().encode(), None).curve.name
        == "secp256r1"
    )
    assert "certificate/mail/fullchain" not in found


PINNED = Needs(certificates=(Certificate("mail", MAIL.names, pinned=((MAIL.names[0], 25),)),))


def test_port_80_proves_what_leads_to_one_machine_only(acme_plan):
    plan = acme_plan(settings={"challenge": "http-01"}, secrets={}, pools=[])
    (port,) = [p for p in plan.merged.ports if p.number == 80]
    assert (port.audience, port.brief) == ("public", True)
    assert not [f for f in plan.merged.files if f.path.endswith("credentials")]
    assert "/etc/mailwright/acme/credentials" in {a.path for a in plan.merged.absent}  # of dns-01 before
    second = {"name": "m2", "fqdn": "m2.brightpost.example", "ipv4": "203.0.113.12", "roles": {}}
    several = POOL | {"members": ["m1", "m2"]}
    with pytest.raises(NeedsError, match=r"^m1: smtp\.brightpost\.example leads to several machines.*dns-01"):
        acme_plan(settings={"challenge": "http-01"}, secrets={}, pools=[several], machines=[second])


@pytest.mark.parametrize(
    ("fleet", "says"),
    [
        ({"domains": []}, "nobody holds the zone of m1.brightpost.example"),
        (
            {"providers": {"main": {"type": "octodns", "provider": "a.B"}}},
            "certbot cannot publish proofs at main",
        ),
    ],
)
def test_a_machine_that_cannot_prove_its_name_is_refused_in_a_line(acme_plan, fleet, says):
    with pytest.raises(NeedsError, match=says) as refused:
        acme_plan(**fleet)
    assert "\n" not in str(refused.value)


CLIENT = {"name": "client.example", "mta_sts": {"mode": "testing", "served_by": ["m1"]}}
POLICIES = Certificate("mta-sts", ("mta-sts.client.example.",))


@pytest.mark.parametrize(
    ("client", "says"),
    [
        ({"provider": "other"}, "the provider other holds the zone of mta-sts.client.example"),
        ({}, "nobody holds the zone of mta-sts.client.example"),
    ],
)
def test_a_name_in_a_zone_that_the_credential_does_not_reach_is_refused(acme_plan, client, says):
    other = {"type": "cloudflare", "token": "dns/cloudflare"}
    fleet = {"providers": {"main": SERVER, "other": other}, "domains": [DOMAIN, CLIENT | client]}
    with pytest.raises(NeedsError, match=f"^m1: certificates: {says}") as refused:
        acme_plan(POLICIES, **fleet)
    assert "\n" not in str(refused.value)
    acme_plan(POLICIES, settings={"provider": "main"}, **fleet)  # the proofs are delegated


def test_one_server_may_hold_zones_by_several_keys(acme_plan):
    again = SERVER | {"key_name": "another.", "key": "tsig/another"}
    domains = [DOMAIN, CLIENT | {"provider": "other"}]
    acme_plan(POLICIES, providers={"main": SERVER, "other": again}, domains=domains)


def test_other_modes_keep_no_credential(plan_of):
    plan = plan_of(certificates.ROLE, needs=Needs(certificates=(MAIL,)))
    assert {a.path for a in plan.merged.absent} >= {acme.CONFIG, "/etc/mailwright/acme/credentials"}


def test_failures_are_what_the_verification_repeats(acme_plan):
    plan = acme_plan()
    (check,) = [c for _, c in plan.checks() if "renewed" in c.name]
    pair = {"certificate": "mail", "algorithm": "ecdsa", "fault": None, "failure": None}
    assert check.judge(Result(0, json.dumps([pair]), "")) is None
    failing = pair | {"failure": "renewal fails since 2026-11-22 08:54 UTC: rate limited"}
    assert "mail (ecdsa): renewal fails since" in check.judge(Result(0, json.dumps([failing]), ""))
    assert check.judge(Result(127, "", "not found")) == "not found"


def test_the_authority_of_the_lab_is_granted_what_the_command_prints():
    fleet = load_fleet(Path(__file__).parents[2] / "inventory" / "lab.yaml")
    for prover in provers(fleet):
        machine = fleet.machine(prover.machine.name)
        assert prover == make_prover(fleet, machine, fleet.providers["knot"])
    assert 'grant "acme-m1."' in bind([make_prover(fleet_of_one(), fleet_of_one().machines[0], SIGNED)])[1]


def test_a_key_may_change_the_proofs_of_its_machine_and_no_other_name():
    (machine,) = fleet_of_one().machines
    text = knot([make_prover(fleet_of_one(), machine, SIGNED)])
    lines = [line.strip() for line in text.splitlines()]
    assert "action: update" in lines
    assert "update-type: TXT" in lines
    assert "update-owner-match: equal" in lines
    names = "_acme-challenge.m1.brightpost.example., _acme-challenge.smtp.brightpost.example."
    assert f"update-owner-name: [ {names} ]" in lines
    policy = route53_policy(make_prover(fleet_of_one(), machine, SIGNED))
    condition = policy["Statement"][1]["Condition"]["ForAllValues:StringEquals"]
    assert condition["route53:ChangeResourceRecordSetsRecordTypes"] == ["TXT"]
    assert "_acme-challenge.m1.brightpost.example" in next(iter(condition.values()))


SIGNED = Rfc2136.model_validate(SERVER)


def fleet_of_one():
    machine = {
        "name": "m1",
        "fqdn": "m1.brightpost.example",
        "ipv4": "203.0.113.11",
        "roles": {"postfix": {}},
    }
    owner = {"name": "x", "postmaster": "x@brightpost.example"}
    return Fleet.model_validate({"owner": owner, "machines": [machine], **FLEET})


def test_a_closed_machine_asks_no_authority(acme_plan):
    plan = acme_plan(machine={"closed": True})
    (timer,) = (u for u in plan.merged.units if u.name == "mailwright-certificates.timer")
    assert (timer.enabled, timer.running) == (False, False)
    assert not [check.name for _, check in plan.checks() if "authority" in check.name]

"""Pins the small parts of the lab: verdicts, keys, locks, and how failures of several hosts are told."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import pytest
from cryptography import x509

from mailwright.certificate import faults
from mailwright.command.lab import aligned
from mailwright.lab import keys
from mailwright.lab.lab import each
from mailwright.lab.locks import exclusive
from mailwright.lab.mailbox import Message
from mailwright.lab.plan import LabPlan
from mailwright.lab.shell import attempt, run
from mailwright.model.errors import LabError
from mailwright.model.load import load_fleet

LAB = Path(__file__).parents[2] / "inventory" / "lab.yaml"

JUDGED = b"""\
Authentication-Results: mx.mailbox.example;
\tdkim=pass header.d=brightpost.example header.s=r2026 header.b=abc;
\tdkim=fail ("body hash did not verify") header.d=brightpost.example header.s=e2026;
\tdmarc=pass (policy=reject) header.from=brightpost.example;
\tspf=pass (mx.mailbox.example: domain of a@brightpost.example) smtp.mailfrom=a@brightpost.example
Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=

hello
"""


def test_verdicts_are_read_in_order():
    message = Message("ann", JUDGED, 0)
    assert message.results("dkim") == ["pass", "fail"]
    assert (message.results("dmarc"), message.results("spf"), message.results("arc")) == (
        ["pass"],
        ["pass"],
        [],
    )
    assert message.verdicts[0].details == "header.d=brightpost.example header.s=r2026 header.b=abc"
    assert message.subject == "grüße"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr("mailwright.lab.plan.lab_state", lambda name: tmp_path / name)
    return LabPlan.of(load_fleet(LAB), LAB)


def test_a_key_is_made_once_and_is_private(plan):
    key = keys.operator_key(plan)
    assert keys.operator_key(plan) == key
    assert (plan.state / "ssh/id_ed25519").stat().st_mode & 0o777 == 0o600
    assert key.public.startswith("ssh-ed25519 ")


def test_many_at_once_get_the_same_key(plan):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(keys.operator_key(plan).public)) for _ in range(8)
    ]
    keys.operator_key(plan)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8


def test_known_hosts_name_every_host_and_address(plan):
    keys.write_known_hosts(plan)
    lines = (plan.state / "ssh/known_hosts").read_text().splitlines()
    assert len(lines) == len(plan.hosts)
    names, kind, blob = next(line for line in lines if line.startswith("out1,")).split(" ")
    assert names == "out1,out1.brightpost.example,198.51.100.11,2001:db8:100::11"
    assert f"{kind} {blob}" == keys.host_key(plan, "out1").public


def test_the_ds_belongs_to_the_anchor(plan):
    key = keys.zone_key(plan, "example.")
    name, _, _, text = key.anchor.split(" ", 3)
    dnskey = dns.rdata.from_text("IN", "DNSKEY", text)
    assert str(dns.dnssec.make_ds(name, dnskey, "SHA256")) == key.ds


def test_anchors_cover_each_island(plan):
    zones = [line.split()[0] for line in keys.write_anchors(plan).decode().splitlines()]
    assert tuple(zones) == plan.anchored_zones


def test_a_lock_is_exclusive_and_follows_its_directory(tmp_path):
    place, order = tmp_path / "lock", []

    def second():
        with exclusive(place, waiting.set):
            order.append("second")

    waiting, thread = threading.Event(), threading.Thread(target=second)
    with exclusive(place):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
        place.rmdir()  # as `destroy` does: whoever waited must lock the new one
    thread.join(10)
    assert order == ["first", "second"]
    assert place.exists()


def test_failures_of_several_hosts_are_told_each():
    def act(name):
        raise LabError(f"{name}: broken")

    with pytest.raises(LabError, match=r"^a: broken\nb: broken$"):
        each(["a", "b"], act)


def test_a_mistake_of_ours_is_not_hidden_behind_a_failure():
    def act(error):
        raise error

    with pytest.raises(ZeroDivisionError):
        each([LabError("broken"), ZeroDivisionError()], act)


def test_a_failed_program_is_told_by_its_error_line():
    with pytest.raises(LabError, match=r"^building: E: no such package$"):
        run(["sh", "-c", "echo 'E: no such package' >&2; echo 'W: aside' >&2; exit 1"], what="building")
    with pytest.raises(LabError, match=r"nosuchprogram: not installed"):
        attempt(["nosuchprogram"])


def test_a_table_is_never_cut_short():
    wide = "x" * 200
    assert aligned([("A", "B"), (wide, "b")])[1] == f"{wide}  b"


def test_the_labs_authority_signs_what_an_operator_would_provide(plan):
    secrets = keys.fleet_certificates(plan)
    (authority,) = x509.load_pem_x509_certificates(keys.ca_file(plan).read_bytes())
    for name, host in (
        ("smtp", "mx1.brightpost.example"),
        ("mta-sts", "mta-sts.parcelnote.example."),
        ("backup", "vault1.brightpost.example"),
    ):
        chain, key = (secrets[f"certificate/{name}/{part}"].encode() for part in ("fullchain", "privkey"))
        assert faults(chain, key, [host], datetime.now(UTC)) == []
        x509.load_pem_x509_certificate(chain).verify_directly_issued_by(authority)


def test_the_labs_authority_is_made_once(plan):
    keys.fleet_certificates(plan)
    first = keys.ca_file(plan).read_bytes()
    keys.fleet_certificates(plan)
    assert keys.ca_file(plan).read_bytes() == first

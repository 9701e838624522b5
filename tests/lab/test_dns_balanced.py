"""The same members without balancers: the pool's name has their addresses, and each takes mail there."""

import uuid

import pytest

from mailwright.command.inventory import open_site
from tests.lab.deploying import limits, mailwright, verify
from tests.lab.mailing import auth_plain, refusal, talk, transaction
from tests.lab.variants import variant

MEMBERS = ("out1", "out2")  # Debian 13 and 12
SERVICE = "smtp.brightpost.example."
SENDER = "orders@parcelnote.example"


def by_the_dns(fleet):
    pool = next(p for p in fleet["pools"] if p["name"] == "outgoing")
    for key in ("balancers", "ipv4", "ipv6", "router_id"):
        pool.pop(key)
    pool["members"] = list(MEMBERS)


@pytest.fixture(scope="module")
def balanced_by_the_dns(lab, deployed, tmp_path_factory):
    """The fleet file without balancers for submission; its members and the DNS are as it says."""
    file = variant(lab, tmp_path_factory.mktemp("fleet"), by_the_dns)
    try:
        done = mailwright("apply", "--yes", file, *limits(MEMBERS))
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        yield file
    finally:
        assert mailwright("apply", "--yes", deployed.plan.file, *limits(MEMBERS)).returncode == 0


def test_the_name_has_every_member_s_addresses_and_the_suites_are_green(lab, balanced_by_the_dns):
    machines = [lab.plan.fleet.machine(name) for name in MEMBERS]
    assert lab.ns.values(SERVICE, "A") == sorted(str(m.ipv4) for m in machines)
    assert lab.ns.values(SERVICE, "AAAA") == sorted(str(m.ipv6) for m in machines)
    assert lab.ns.values("_submissions._tcp.brightpost.example.", "SRV") == [f"0 1 465 {SERVICE}"]
    assert verify(balanced_by_the_dns, *MEMBERS) == {}


@pytest.mark.proof("without balancers every member takes submission at the addresses of the pool's name")
@pytest.mark.parametrize("port", [587, 465])
def test_submission_works_at_each_address(lab, balanced_by_the_dns, port, evidence):
    password = open_site(balanced_by_the_dns).secrets.get("submission/shop")
    addresses = [a for type_ in ("A", "AAAA") for a in lab.ns.values(SERVICE, type_)]
    for address in addresses:
        token = uuid.uuid4().hex
        body = f"From: {SENDER}\r\nTo: anna@mailbox.example\r\nSubject: {token}\r\n\r\nhello"
        said = talk(
            lab.host("outside"),
            address,
            port,
            "EHLO laptop.internal\r\n",
            auth_plain("shop", password),
            *transaction(SENDER, "anna@mailbox.example", body=body),
            tls="starttls" if port == 587 else "wrapped",
        )
        assert refusal(said[3:]).code == 250, said
        assert lab.mailbox.wait_for("anna", lambda m, token=token: m.subject == token).results("dmarc") == [
            "pass"
        ]
    evidence(f"{port}: {', '.join(addresses)}")


def test_nothing_listens_for_balancers(lab, balanced_by_the_dns):  # noqa: ARG001
    for name in MEMBERS:
        ports = lab.host(name).run("ss -Hltn").require().stdout
        assert ":587 " in ports
        assert not any(f":{port} " in ports for port in (10024, 10465, 10587)), ports

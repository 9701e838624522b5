"""A machine that is closed: nobody but the operator comes in, no mail goes out, and nobody else notices."""

import pytest

from mailwright.lab.shell import wait_until
from tests.lab.deploying import mailwright, verify
from tests.lab.load import queued
from tests.lab.variants import machine, variant

NAME, USER = "out1", "behind-closed-doors"
TRY = "timeout 4 bash -c '</dev/tcp/{address}/{port}'"


@pytest.fixture
def closed(deployed, tmp_path):
    """The fleet file that closes the host, deployed; in the end it is open again."""
    file = variant(deployed, tmp_path, lambda data: machine(data, deployed.host(NAME)).update(closed=True))
    apply(file, "--no-dns", "--limit", NAME)
    yield file
    apply(deployed.plan.file, "--no-dns", "--limit", NAME)
    assert verify(deployed.plan.file, NAME) == {}


def apply(file, *arguments):
    done = mailwright("apply", "--yes", file, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def reaches(host, address, port):
    return host.run(TRY.replace("{address}", str(address)).replace("{port}", str(port))).ok


@pytest.mark.proof(
    "a closed machine is reached by the operator alone, delivers nothing, and no other one changes"
)
def test_a_closed_machine_delivers_nothing_and_nobody_reaches_it(deployed, site, closed, evidence):
    host, outside = deployed.host(NAME), deployed.host("outside")
    address, provider = site.fleet.machine(NAME).ipv4, deployed.host("mailbox").host.address
    ports = sorted(
        {p.number for p in site.plan(site.fleet.machine(NAME)).merged.ports if p.audience == "public"}
    )
    assert ports
    assert not [port for port in (*ports, 22) if reaches(outside, address, port)]
    assert not reaches(host, provider, 25)
    assert reaches(host, deployed.host("ns").host.address, 53)
    before = queued(host)
    host.run(
        ["sendmail", "-f", "bounces@brightpost.example", f"{USER}@mailbox.example"], stdin="Subject: x\n\n.\n"
    )
    wait_until(lambda: queued(host) == before + 1, "the message is queued", timeout=30)
    host.run("postqueue -f")
    assert verify(closed, NAME) == {}
    assert queued(host) == before + 1
    assert deployed.mailbox.messages(USER) == []
    others = [m.name for m in site.fleet.machines if m.name != NAME]
    plan = mailwright("plan", closed, "--no-dns", *(word for name in others for word in ("--limit", name)))
    assert plan.returncode == 0, plan.stdout[-2000:]
    evidence(
        f"ports {', '.join(map(str, ports))} and 22 refused from outside, {len(others)} others unchanged"
    )
    apply(deployed.plan.file, "--no-dns", "--limit", NAME)
    deployed.mailbox.wait_for(USER, timeout=60)

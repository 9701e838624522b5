"""Behind balancers Postfix knows who the client is, believes the balancers alone, and judges the client."""

import json
import re
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mailwright.lab.shell import wait_until
from mailwright.model.pools import HAND_OVER_PORT, HEALTH_PORT, proxy_port
from tests.lab.mailing import auth_plain, refusal, talk, transaction

WAYS = [(port, family) for port in (25, 587, 465) for family in (4, 6)]
TLS = {25: None, 587: "starttls", 465: "wrapped"}
GUARDED = (HEALTH_PORT, proxy_port(25), HAND_OVER_PORT, proxy_port(465), proxy_port(587))
EHLO = "EHLO client.outside.example\r\n"
KEPT = "orders@parcelnote.example"

# Tries to open each of the connections [address, port] and prints those that came about. The firewall
# drops what it refuses, so that only a time limit ends the others.
KNOCK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def opens(where):
    try:
        socket.create_connection(where, timeout=3).close()
    except OSError:
        return False
    return True
places = json.load(sys.stdin)
with ThreadPoolExecutor(len(places)) as pool:
    json.dump([p for p, came in zip(places, pool.map(opens, places)) if came], sys.stdout)
"""


def stranger(lab, family):
    """The address of the client outside."""
    found = [i.ip for i in lab.plan.host("outside").interfaces]
    return str(next(address for address in found if address.version == family))


def virtual(fleet, port, family):
    """The address at which balancers take a port."""
    pool = next(p for p in fleet.pools if p.balancers and port in p.ports)
    return str(pool.ipv4 if family == 4 else pool.ipv6)


def members(fleet, port):
    """The machines behind it."""
    return fleet.members(next(p for p in fleet.pools if p.balancers and port in p.ports))


def logged(host, pattern):
    """Wait for a line of the mail log; returns it."""
    lines = []

    def came():
        lines.extend(host.run(["journalctl", "-q", "-o", "cat", "-g", pattern]).stdout.splitlines())
        return bool(lines)

    wait_until(came, f"{host.name} logs {pattern}", timeout=20, interval=0.2)
    return lines[-1]


@pytest.fixture(scope="module")
def words(site):
    """Returns a function: a port to what its client says to send a message, and the message's subject."""

    def say(port):
        token = uuid.uuid4().hex
        sender, to = ("stranger@outside.example", KEPT) if port == 25 else (KEPT, "anna@mailbox.example")
        body = f"From: {sender}\r\nTo: {to}\r\nSubject: {token}\r\n\r\nhello"
        login = [] if port == 25 else [auth_plain("shop", site.secrets.get("submission/shop"))]
        return [EHLO, *login, *transaction(sender, to, body=body)], token

    return say


@pytest.mark.proof(
    "through the balancers Postfix sees the client's own address, over IPv4 and IPv6, on 25, 587 and 465"
)
@pytest.mark.parametrize(("port", "family"), WAYS)
def test_the_client_s_address_comes_through_the_balancers(lab, site, words, evidence, port, family):
    client, address = stranger(lab, family), virtual(site.fleet, port, family)
    say, token = words(port)
    replies = talk(lab.host("outside"), address, port, *say, tls=TLS[port])
    assert refusal(replies).code == 250, replies
    machine = next(m for m in members(site.fleet, port) if m.fqdn.bare in replies[0].lines[0])
    host, queued = lab.host(machine.name), replies[-1].lines[0].split()[-1]
    line = logged(host, f"{queued}: client=")
    assert f"client=outside.example[{client}]" in line
    evidence(f"{port} over IPv{family} by {address}: {machine.name} logs {line.partition(': ')[2][:60]}")
    if port == 25:
        logged(host, rf"CONNECT from \[{client}\]:\d+ to \[{address}\]:25")
        # What is submitted keeps its client to itself (tests/lab/test_mail_flow.py); this is a stranger's.
        file = host.run(f"grep -rl {token} /srv/mail").require().stdout.strip()
        literal = client if family == 4 else f"IPv6:{client}"
        assert f"(outside.example [{literal}])" in host.read(file).decode()


@pytest.mark.parametrize("family", [4, 6])
def test_a_wrong_password_is_the_client_s_and_not_the_balancer_s(lab, site, family):
    client, name = stranger(lab, family), uuid.uuid4().hex
    wrong = auth_plain(name, "wrong-password-of-length")
    replies = talk(lab.host("outside"), virtual(site.fleet, 465, family), 465, EHLO, wrong, tls="wrapped")
    assert replies[-1].code == 535, replies
    machine = next(m for m in members(site.fleet, 465) if m.fqdn.bare in replies[0].lines[0])
    assert f"outside.example[{client}]" in logged(
        lab.host(machine.name), f"SASL PLAIN authentication failed: .*sasl_username={name}"
    )
    lab.host(machine.name).run("systemctl restart dovecot").require()  # it remembers who guesses


# Comes from a balancer with a PROXY header, speaks before it is greeted, as robots do, and prints the answer.
HURRY = """
import json, socket, sys
sys.path.insert(0, sys.argv[1])
from smtp_client import proxy_header
address, port, client, words = json.load(sys.stdin)
s = socket.create_connection((address, port), timeout=20)
s.sendall(proxy_header(client, 1024, address, port) + words.encode())
while said := s.recv(1000):
    print(said.decode())
"""
FOLDER = str(Path(__file__).parent)


def by_balancer(lab, site, machine, program, *told):
    """Run a program in the network of a balancer of a machine."""
    balancer = lab.host(site.fleet.balancers_of(machine.name)[0])
    return (
        balancer.in_network([sys.executable, "-c", program, FOLDER], stdin=json.dumps(told)).require().stdout
    )


@pytest.mark.parametrize("family", [4, 6])
def test_postscreen_judges_the_client_and_not_the_balancer(lab, site, family):
    for machine in members(site.fleet, 25):
        # One that postscreen has not yet met: it remembers for a day who has passed.
        number = uuid.uuid4().int
        client = (
            f"198.19.{number % 250}.{number % 251}" if family == 4 else f"2001:db8:bad::{number % 2**16:x}"
        )
        server = str(machine.ipv4 if family == 4 else machine.ipv6)
        early = f"EHLO {uuid.uuid4().hex}"
        words = "".join([f"{early}\r\n", *transaction("", KEPT)[:2], "QUIT\r\n"])
        said = by_balancer(lab, site, machine, HURRY, server, proxy_port(25), client, words)
        assert re.search(r"^550 5\.5\.1 ", said, re.MULTILINE), said
        logged(lab.host(machine.name), rf"PREGREET \d+ after \S+ from \[{client}\]:1024: {early}")


LIMIT = 50

# Opens connections through a PROXY header for each client named, keeps them, and prints the codes that
# they are greeted with.
CROWD = """
import json, socket, sys
sys.path.insert(0, sys.argv[1])
from smtp_client import proxy_header
address, port, clients = json.load(sys.stdin)
held, codes = [], []
for client in clients:
    held.append(socket.create_connection((address, port), timeout=20))
    held[-1].sendall(proxy_header(client, 1024, address, port))
    codes.append(int(held[-1].recv(1000)[:3]))
json.dump(codes, sys.stdout)
"""


@pytest.mark.parametrize("port", [25, 587])
def test_a_client_s_connections_are_counted_by_its_own_address(lab, site, port):
    clients = ["198.18.0.1"] * (LIMIT + 1) + ["198.18.0.2"]
    for machine in members(site.fleet, port):
        said = by_balancer(lab, site, machine, CROWD, str(machine.ipv4), proxy_port(port), clients)
        assert json.loads(said) == [220] * LIMIT + [421, 220], machine.name


# --- nobody but a balancer says who a client is


@pytest.mark.proof(
    "only balancers reach the ports on which a PROXY header counts, and only sending machines a hand-over"
)
def test_who_is_not_meant_gets_no_connection(lab, site, evidence):
    targets = site.fleet.with_role("postfix")
    places = [[str(a), port] for m in targets for a in m.addresses for port in GUARDED]

    def reached(host):
        done = host.in_network([sys.executable, "-c", KNOCK], stdin=json.dumps(places)).require()
        return host.name, {(address, port) for address, port in json.loads(done.stdout)}

    sources = [lab.host(name) for name in ("outside", *(m.name for m in site.fleet.machines))]
    with ThreadPoolExecutor(len(sources)) as pool:
        found = dict(pool.map(reached, sources))
    for source, seen in found.items():
        expected = set()
        for machine in targets:
            behind = {proxy_port(p) for pool in site.fleet.pools_of(machine.name) for p in pool.ports}
            for address in map(str, machine.addresses):
                if source in site.fleet.balancers_of(machine.name):
                    expected |= {(address, port) for port in behind | {HEALTH_PORT}}
                if source in {m.name for m in targets} - {machine.name}:
                    expected.add((address, HAND_OVER_PORT))
                if source == machine.name:
                    # The firewall does not stand between a machine and itself; what answers there is
                    # another test's question.
                    expected |= {(address, port) for port in behind | {HEALTH_PORT, HAND_OVER_PORT}}
        assert seen == expected, source
        evidence(f"{source} reaches {len(seen)} of {len(places)}")


CLAIMS = {"version 2": "proxy", "version 1": "line"}


@pytest.mark.proof("a PROXY header at a port that is for clients is an error, and its claim is not believed")
@pytest.mark.parametrize("version", CLAIMS)
@pytest.mark.parametrize(("port", "family"), WAYS)
def test_a_client_cannot_claim_to_be_another(lab, site, port, family, version):
    for machine in members(site.fleet, port):
        server = str(machine.ipv4 if family == 4 else machine.ipv6)
        claimed = "198.18.0.3" if family == 4 else "2001:db8:bad::3"
        header = [claimed, 1024, server, port]
        line = f"PROXY TCP{family} {claimed} {server} 1024 {port}\r\n"
        version_1 = version == "version 1"
        replies = talk(
            lab.host("outside"),
            server,
            port,
            *([line] if version_1 else []),
            EHLO,
            tls="wrapped" if port == 465 and version_1 else None,
            proxy=None if version_1 else header,
        )
        assert refusal(replies).code in (0, 500, 502, 521, 550, 554), replies
        seen = lab.host(machine.name).run(["journalctl", "-q", "-o", "cat", "-g", re.escape(f"[{claimed}]")])
        assert seen.stdout == ""

"""Pins that the world reaches exactly the TCP ports that the needs of a machine declare public."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import pytest

# A local link loses next to nothing; one retry makes up for what the kernel's queues drop.
SCAN = ("nmap", "-n", "-Pn", "-sS", "-p-", "--open", "--min-rate", "30000", "--max-retries", "1", "-oG", "-")

KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20).close()
except OSError as error:
    sys.exit(f"{error}")
"""


def _scan(outside, addresses):
    """Address to open TCP ports, of all 65535, as the stranger outside sees them."""
    families = {4: [], 6: ["-6"]}

    def scan(version):
        targets = [str(address) for address in addresses if address.version == version]
        return outside.run([*SCAN, *families[version], *targets], timeout=600).require().stdout

    with ThreadPoolExecutor() as pool:
        lines = "".join(pool.map(scan, families)).splitlines()
    found = {str(address): set() for address in addresses}
    for line in lines:
        if seen := re.match(r"Host: (\S+) .*\tPorts: ([^\t]*)", line):
            found[seen[1]] = {int(port) for port in re.findall(r"(\d+)/open/", seen[2])}
    return found


def _opens(outside, address, port):
    return outside.in_network([sys.executable, "-c", KNOCK, address, str(port)]).ok


@pytest.mark.proof(
    "the world reaches the ports that needs declare public and no others, of all 65535, over IPv4 and IPv6"
)
def test_the_world_reaches_the_public_ports_and_no_others(lab, site, evidence):
    machines = site.fleet.machines
    expected = {str(a): set() for of in (*machines, *site.fleet.pools) for a in of.addresses}
    for machine in machines:
        for port in site.plan(machine).merged.ports:
            if (port.proto, port.audience) == ("tcp", "public"):
                for address in port.at or map(str, machine.addresses):
                    expected[address].add(port.number)
    outside = lab.host("outside")
    name_server = [interface.ip for interface in lab.plan.host("ns").interfaces]
    addresses = [*map(ip_address, expected), *name_server]
    found = _scan(outside, addresses)
    # The name server has no firewall: what is found there proves that the scan finds what is open.
    assert [53 in found.pop(str(address)) for address in name_server] == [True, True]
    for address, ports in expected.items():  # a busy machine may have answered too late for the scan
        found[address] |= {port for port in ports - found[address] if _opens(outside, address, port)}
    assert found == expected
    for of in (*machines, *site.fleet.pools):
        ports = found[str(of.addresses[0])]
        evidence(f"{of.name}: {', '.join(map(str, sorted(ports))) or 'none'}")


def test_the_operators_network_reaches_ssh(lab, site):
    del site
    assert all(lab.host(machine.name).answers() for machine in lab.plan.fleet.machines)

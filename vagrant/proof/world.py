"""What the machines have around them in the proof: two bridges, addresses, packages and the fleet's zone.

A provider of virtual machines brings the first two and a way to the internet. Here no route leads out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from mailwright.lab import network, packages
from mailwright.lab.archive import Archive
from mailwright.lab.paths import PACKAGES
from mailwright.lab.shell import attempt, wait_until
from mailwright.model.vagrant import Vagrant

CONTROLLER = IPv4Interface("198.18.227.1/24")
"""This machine's end of the provider's network."""
NAT = "mailwright-nat"
FLEET = "mailwright"
"""The bridges: the provider's network, and the private one."""
PROXY = f"http://{CONTROLLER.ip}:{packages.PORT}"
_LEASES = "198.18.227.100,198.18.227.199,1h"

_KNOT = """\
server:
    rundir: {folder}
    user: root
    listen: {address}@53
log:
  - target: stderr
    any: warning
database:
    storage: {folder}
policy:
  - id: proof
    algorithm: ecdsap256sha256
template:
  - id: default
    storage: {folder}
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: all
    dnssec-signing: on
    dnssec-policy: proof
zone:
  - domain: {zone}
    file: {file}
"""


@dataclass
class World:
    """The surroundings, while they are there."""

    folder: Path
    """For its logs and state."""
    fleet: Vagrant
    """The private network, in which this machine has the first address of each family."""

    @contextmanager
    def networks(self) -> Iterator[None]:
        """Both bridges; remains of a run that was killed are taken away before."""
        remove()
        try:
            network.make_bridge(NAT, [CONTROLLER])
            ipv4, ipv6 = self.fleet.ipv4, self.fleet.ipv6
            ends = (IPv4Interface((ipv4[1], ipv4.prefixlen)), IPv6Interface((ipv6[1], ipv6.prefixlen)))
            network.make_bridge(FLEET, ends)
            yield
        finally:
            remove()

    @contextmanager
    def addresses(self) -> Iterator[None]:
        """A DHCP server, as a provider has one."""
        program = [
            *(
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--user=root",
                "--pid-file=",
                "--port=0",
            ),
            *("--bind-interfaces", f"--interface={NAT}", "--except-interface=lo"),
            # No router: option 3 without a value.
            *(f"--dhcp-range={_LEASES}", "--dhcp-option=3", f"--dhcp-leasefile={self.folder / 'leases'}"),
        ]
        with self._running("dnsmasq", program):
            yield

    @contextmanager
    def packages(self, archive: Archive) -> Iterator[None]:
        """The lab's proxy, which reaches the Debian archive and nothing else."""
        program = [
            sys.executable,
            "-I",
            packages.__file__,
            f"--listen={CONTROLLER.ip}",
            f"--cache={PACKAGES}",
        ]
        with self._running(
            "packages", [*program, *(f"--archive={address}" for address in archive.addresses)]
        ):
            yield

    @contextmanager
    def zone(self, zone: str, file: Path) -> Iterator[str]:
        """A name server with a zone from a master file, which it signs; gives its keys, as zone file text."""
        config = self.folder / "knot.conf"
        config.write_text(_KNOT.format(folder=self.folder, address=CONTROLLER.ip, zone=zone, file=file))
        with self._running("knotd", ["knotd", "-c", str(config)]):
            wait_until(lambda: bool(_keys(zone)), "the name server signs", timeout=60)
            yield _keys(zone)

    @contextmanager
    def _running(self, name: str, program: Sequence[str]) -> Iterator[None]:
        """A process that ends with this one, however that ends."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *program], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def remove() -> None:
    """Take away both bridges, if they are there."""
    for bridge in (NAT, FLEET):
        network.remove_bridge(bridge)


def containers() -> list[str]:
    """The containers that the Vagrantfile made."""
    return [
        name for name in attempt(["lxc-ls", "-1"]).stdout.split() if name.startswith("mailwright-vagrant-")
    ]


def forget_groups() -> None:
    """Remove the empty control group that LXC leaves in each hierarchy; where containers run it stays."""
    for place in (*Path("/sys/fs/cgroup").glob("*/lxc.pivot"), Path("/sys/fs/cgroup/lxc.pivot")):
        with suppress(OSError):  # not there, or in use
            place.rmdir()


def _keys(zone: str) -> str:
    question = dns.message.make_query(zone, dns.rdatatype.DNSKEY)
    try:
        answer = dns.query.tcp(question, str(CONTROLLER.ip), timeout=2)
    except (OSError, dns.exception.DNSException):
        return ""
    return "".join(f"{rrset.to_text()}\n" for rrset in answer.answer if rrset.rdtype == dns.rdatatype.DNSKEY)

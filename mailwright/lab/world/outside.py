"""A stranger on the network: scans, forges, and asks to relay. It believes the lab's name server."""

from __future__ import annotations

from mailwright.lab.container import Seed
from mailwright.lab.plan import LabPlan
from mailwright.lab.world import WorldHost


def outsider(plan: LabPlan) -> WorldHost:
    """The stranger of a lab."""
    resolver = "".join(f"nameserver {i.ip}\n" for i in plan.host("ns").interfaces)
    return WorldHost(
        packages=(
            "nmap",
            "swaks",
            "libnet-ssleay-perl",
            "libio-socket-inet6-perl",
            "openssl",
            "bind9-dnsutils",
        ),
        files=(Seed("/etc/resolv.conf", resolver.encode()),),
    )

"""The lab's bridge: the one network its hosts have. No address translation, no forwarding, no way out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface, ip_network

from mailwright.lab.shell import attempt, run
from mailwright.model.errors import LabError

PREFIX = "mw-"
"""Of bridge names, which have at most 15 characters (IFNAMSIZ): a lab's name has at most 8."""


def bridge(lab: str) -> str:
    """The name of a lab's bridge."""
    return PREFIX + lab


def make_bridge(name: str, addresses: Iterable[IPv4Interface | IPv6Interface]) -> None:
    """Make the bridge with the controller's addresses on it; what is there already is kept.

    Raises:
        LabError: another interface of this machine is in one of the networks.
    """
    wanted = list(addresses)
    links = {link["ifname"]: link for link in json.loads(run(["ip", "-json", "address", "show"]))}
    for link in links.values():
        if link["ifname"] != name:
            _refuse_overlap(link, wanted)
    if name not in links:
        run(["ip", "link", "add", name, "type", "bridge", "forward_delay", "0"])
    # Addresses must be usable at once, and no router's word may give this machine a way through a lab.
    for setting in ("accept_dad", "accept_ra"):
        run(["sysctl", "-qw", f"net.ipv6.conf.{name}.{setting}=0"])
    for address in wanted:
        run(["ip", "address", "replace", str(address), "dev", name])
    run(["ip", "link", "set", name, "up"])
    # The hosts' ends of a bridge that was removed under them; systemd-nspawn names them so.
    for link in links.values():
        if link["ifname"].startswith(f"vb-{name.removeprefix(PREFIX)}-") and "master" not in link:
            run(["ip", "link", "set", link["ifname"], "master", name])


def remove_bridge(name: str) -> None:
    """Remove the bridge if it is there."""
    if attempt(["ip", "link", "show", name]).ok:
        run(["ip", "link", "delete", name])


def _refuse_overlap(link: dict[str, object], wanted: list[IPv4Interface | IPv6Interface]) -> None:
    for info in link["addr_info"]:  # type: ignore[attr-defined]
        there = ip_network(f"{info['local']}/{info['prefixlen']}", strict=False)
        for address in wanted:
            if address.version == there.version and address.network.overlaps(there):
                raise LabError(
                    f"{address.network} is already the network of {link['ifname']}: give this lab another"
                    " (mailwright lab fleet --help)"
                )

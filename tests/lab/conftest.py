"""The lab that tests share: the fleet of inventory/lab.yaml under a name and in networks of its own.

It is made anew for a session and destroyed after it. With MAILWRIGHT_KEEP_LAB=1 it stays, and the next
session goes on with it: `mailwright lab ssh out1 --fleet /var/tmp/mailwright-tests/test1.yaml`. Two sessions
on one machine need two numbers: MAILWRIGHT_LAB_NUMBER=2 (default 1) is `test2` in 198.18.2.0/24. With
`-n 2 --dist loadfile` two workers share the files out, each with a lab of its own, numbered from there on.
With `--fleet FILE` the tests use the lab of that file, as it is, and leave it running.
"""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from rich.console import Console

from mailwright.command.inventory import open_site
from mailwright.lab.derive import write_fleet
from mailwright.lab.lab import Lab
from mailwright.lab.progress import Progress
from mailwright.model.fleet import Lab as LabSection
from tests.lab.deploying import BACKED_UP, mailwright
from tests.lab.proofs import evidence, pytest_addoption, pytest_collection_modifyitems, pytest_configure

__all__ = ["evidence", "pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]

FLEET = Path(__file__).parents[2] / "inventory" / "lab.yaml"


def section(name, number):
    """A lab's name and networks: 198.18.NUMBER.0/24 and 2001:db8:NUMBER::/64."""
    ipv4, ipv6 = IPv4Network(f"198.18.{number}.0/24"), IPv6Network(f"2001:db8:{number}::/64")
    return LabSection(name=name, ipv4=ipv4, ipv6=ipv6)


@pytest.fixture(scope="session")
def lab(request, tmp_path_factory):
    """The shared lab, up. A test that changes a host leaves it as it found it, or resets it."""
    if given := request.config.getoption("--fleet"):
        made = Lab.open(Path(given).absolute())
        made.up(Progress(Console(stderr=True)))
        yield made
        return
    keep, number = os.environ.get("MAILWRIGHT_KEEP_LAB"), int(os.environ.get("MAILWRIGHT_LAB_NUMBER", "1"))
    number += int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    folder = Path("/var/tmp/mailwright-tests") if keep else tmp_path_factory.mktemp("inventory")
    made = Lab.open(write_fleet(FLEET, section(f"test{number}", number), folder))
    if not keep:
        made.destroy()  # left behind by a session that was killed
    made.up(Progress(Console(stderr=True)))
    yield made
    if not keep:
        made.destroy()


@pytest.fixture(scope="module")
def deployed(lab):
    """The shared lab with every machine provisioned, every zone published and no backup that failed."""
    done = mailwright("apply", "--yes", lab.plan.file)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for machine in lab.plan.fleet.machines:
        lab.host(machine.name).run(BACKED_UP, timeout=300)  # a backup that fails again is a finding of verify
    return lab


@pytest.fixture(scope="module")
def site(deployed):
    """The provisioned lab as its fleet file wants it: machines, needs, secrets."""
    return open_site(deployed.plan.file)

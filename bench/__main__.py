"""`make bench`: boot a fleet of its own, measure, write docs/benchmarks.md, and take the fleet down."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import roles
from bench import converge, signing
from mailwright.lab.derive import write_fleet
from mailwright.lab.lab import Lab
from mailwright.model.fleet import Lab as LabSection
from mailwright.model.fleet import Machine
from mailwright.model.load import load_site

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
NETWORKS = LabSection(name="bench", ipv4=IPv4Network("198.18.2.0/24"), ipv6=IPv6Network("2001:db8:2::/64"))

PAGE_TEXT = """\
# Benchmarks

Written by `make bench`. Every tool runs in turn within one run, on the same machines, so the ratios hold
where the seconds do not.

Last run: {day}, {rounds} counted rounds, {cores} processors, load average {load} before it, Python {python},
lab hosts {hosts}.

## A deploy with nothing to change

All machines, the same packages, accounts, files and units. Ansible is given less to do: no live kernel
settings, no validation, no comparison of start times with configuration files. Every counted run reported
zero changes.

{converging}

## Signing

One machine takes messages of {size} octets on 587, {connections} connections at a time; nothing is delivered
meanwhile. The generator runs on the same processors.

{signing}
"""


def main() -> None:
    """Run everything and write the page; the lab is destroyed whatever happens."""
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="counted runs of each tool")
    options.add_argument("--keep", action="store_true", help="leave the lab running")
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="mailwright-bench-") as folder:
        fleet = write_fleet(ROOT / "inventory" / "lab.yaml", NETWORKS, Path(folder))
        lab = Lab.open(fleet)
        try:
            _deploy(lab, fleet)
            site = load_site(fleet, roles.ROLES)
            ansible = Path(folder) / "ansible"
            ansible.mkdir(mode=0o700)
            seconds = converge.measure(
                converge.contenders(site, fleet.with_suffix(".py"), ansible), chosen.rounds
            )
            rates = signing.measure(lab, chosen.rounds)
            PAGE.write_text(_page(site.fleet.machines, seconds, rates, chosen.rounds, load))
            print(f"wrote {PAGE.relative_to(ROOT)}")
        finally:
            if not chosen.keep:
                lab.destroy()


def _deploy(lab: Lab, fleet: Path) -> None:
    print("booting and provisioning the fleet", flush=True)
    lab.up()
    pyinfra = (sys.executable, "-m", "pyinfra", "-y", str(fleet.with_suffix(".py")), "deploy.py")
    subprocess.run(pyinfra, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for machine in lab.plan.fleet.machines:  # the peer's modules are Python programs
        python = "apt-get -qq update && apt-get -qq install -y --no-install-recommends python3 python3-apt"
        if not lab.host(machine.name).run(python, timeout=300).ok:
            raise RuntimeError(f"{machine.name}: python3 could not be installed")


def _page(
    machines: Sequence[Machine],
    seconds: dict[str, list[float]],
    rates: dict[str, list[float]],
    rounds: int,
    load: float,
) -> str:
    return PAGE_TEXT.format(
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        rounds=rounds,
        cores=os.cpu_count(),
        load=f"{load:.1f}",
        python=platform.python_version(),
        hosts=", ".join(f"{m.name} Debian {m.debian}" for m in machines),
        converging="\n".join(converge.table(seconds)),
        size=signing.SIZE,
        connections=signing.CONNECTIONS,
        signing="\n".join(signing.table(rates)),
    )


if __name__ == "__main__":
    main()

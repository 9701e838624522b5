"""`make bench [ONLY=dns]`: measure, and write docs/benchmarks.md.

A deploy, signing, a verification, a pool and backups are measured on fleets that are booted and taken down
again; DNS on loopback. Sections that are not measured are left as they are on the page.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import roles
from bench import backup, converge, dns, pool, signing, verify
from bench.dnszones import ZONES
from bench.tables import table
from mailwright.growth.fleetfile import NewMachine, with_machine
from mailwright.lab.derive import write_fleet
from mailwright.lab.lab import Lab
from mailwright.model.fleet import Lab as LabSection
from mailwright.model.fleet import Machine
from mailwright.model.load import load_site

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
NETWORKS = LabSection(
    name="bench", ipv4=IPv4Network("198.18.200.0/24"), ipv6=IPv6Network("2001:db8:200::/64")
)

HEAD = """\
# Benchmarks

Written by `make bench`. Every tool runs in turn within one run, on the same machines, so the ratios hold
where the seconds do not.
"""

CONVERGING = "A deploy with nothing to change"
VERIFYING = "A verification"
SIGNING = "Signing"
PLANNING = "Planning DNS"
GROWING = "A pool of sending hosts"
BACKING_UP = "Backup and restore"
ORDER = (CONVERGING, VERIFYING, SIGNING, GROWING, BACKING_UP, PLANNING)

CONVERGING_TEXT = """\
All machines, the same packages, accounts, files and units. Ansible is given less to do: no live kernel
settings, no validation, no comparison of start times with configuration files. Every counted run reported
zero changes.

{table}
"""

SIGNING_TEXT = """\
One machine takes messages of {size} octets on 587, {connections} connections at a time; nothing is delivered
meanwhile. The generator runs on the same processors.

{table}
"""

GROWING_TEXT = """\
A pool takes messages of {size} octets at its virtual address, port 587, {connections} connections at a time
for {seconds:g} seconds, with 1 to 4 members in turn; they are signed twice and queued, and nothing is
delivered meanwhile.

### Hosts without a limit

All of them, both balancers and the generator run on the same {processors} processors. So this does not show
what a host brings: once the processors are busy there is nothing left to bring. It shows what a pool costs.

{unlimited}

### Hosts held to {share} % of a processor each

As machines of their own have processors of their own: what another host brings adds up as long as balancers
and generator, which are not held, have enough of the rest. The rates are those of a quarter of this
processor; the ratios are worth reading.

{held}
"""

BACKING_UP_TEXT = """\
{mib} MiB that no compression makes smaller, half of it in files of 1 MiB and half in files of 16 KiB: from a
machine to the store of its fleet and back. rsync and tar go over SSH between the same two machines, and have
less to do: they do not encrypt what lies there, keep no history, and do not wait for the disk. Ours is the
unit that the timer starts, at its low priority, to restic's REST server over HTTPS. A rate is what is looked
after in a second, also where little of it had to be sent.

{parts}

### What a machine takes meanwhile

Messages of {size} octets on 587, {connections} connections at a time, signed twice and queued, while new
content is copied to the store without a pause. Generator, machine and store share the processors, so that
the store's work is taken from the mail, too.

{mail}
"""

PLANNING_TEXT = """\
{zones:,} zones of 8 records each that are as they should be, at a fake of Cloudflare's API and at moto's
server for Route 53, both in Python on the same processors. Our records are made in memory, octoDNS reads its
own from a file a zone. Ours keeps ownership, so that it also plans a marker for each of the 8,000 sets. Peak
memory and calls are the most of any run.

{table}
"""


def main() -> None:
    """Run what is chosen and write its part of the page."""
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument(
        "only", nargs="?", choices=("fleet", "verify", "pool", "backup", "dns"), help="this part alone"
    )
    options.add_argument("--rounds", type=int, default=5, help="counted runs of each tool")
    options.add_argument("--keep", action="store_true", help="leave the lab running")
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    sections: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="mailwright-bench-") as folder:
        if chosen.only in (None, "fleet"):
            sections |= _fleet(Path(folder), chosen.rounds, load, keep=chosen.keep)
        if chosen.only in (None, "verify"):
            sections[VERIFYING] = _verifying(Path(folder), chosen.rounds, load, keep=chosen.keep)
        if chosen.only in (None, "pool"):
            sections[GROWING] = _growing(Path(folder), chosen.rounds, load, keep=chosen.keep)
        if chosen.only in (None, "backup"):
            sections[BACKING_UP] = _backing_up(Path(folder), chosen.rounds, load, keep=chosen.keep)
        if chosen.only in (None, "dns"):
            told = dns.tables(dns.measure(Path(folder), chosen.rounds))
            text = PLANNING_TEXT.format(zones=ZONES, table=told)
            sections[PLANNING] = _under(text, chosen.rounds, load)
    PAGE.write_text(_page(PAGE.read_text() if PAGE.exists() else "", sections))
    print(f"wrote {PAGE.relative_to(ROOT)}")


def _fleet(folder: Path, rounds: int, load: float, *, keep: bool) -> dict[str, str]:
    """What is measured on machines; the lab is destroyed whatever happens."""
    fleet = write_fleet(ROOT / "inventory" / "lab.yaml", NETWORKS, folder)
    lab = Lab.open(fleet)
    try:
        _deploy(lab, fleet)
        site = load_site(fleet, roles.ROLES)
        ansible = folder / "ansible"
        ansible.mkdir(mode=0o700)
        seconds = converge.measure(converge.contenders(site, fleet.with_suffix(".py"), ansible), rounds)
        rates = signing.measure(lab, rounds)
    finally:
        if not keep:
            lab.destroy()
    told = CONVERGING_TEXT.format(table="\n".join(table("tool", converge.SECONDS, seconds)))
    signed = SIGNING_TEXT.format(
        size=signing.SIZE,
        connections=signing.CONNECTIONS,
        table="\n".join(table("submission", signing.RATE, rates)),
    )
    machines = site.fleet.machines
    return {
        CONVERGING: _under(told, rounds, load, machines),
        SIGNING: _under(signed, rounds, load, machines),
    }


def _verifying(folder: Path, rounds: int, load: float, *, keep: bool) -> str:
    """The same fleet with a fourth sending host makes ten, with all that they do."""
    fleet = _with_a_fourth(folder)
    lab = Lab.open(fleet)
    machines = lab.plan.fleet.machines
    try:
        print("booting and provisioning the fleet", flush=True)
        lab.up()
        _mailwright("apply", "--yes", fleet)
        peer = verify.write(load_site(fleet, roles.ROLES), folder / "singly")
        told = verify.told(peer, verify.measure(lab, peer, fleet, rounds), len(machines))
    finally:
        if not keep:
            lab.destroy()
    return _under(told, rounds, load, machines)


def _growing(folder: Path, rounds: int, load: float, *, keep: bool) -> str:
    """The same fleet with a fourth sending host; those that neither send nor balance are left bare."""
    fleet = _with_a_fourth(folder)
    lab = Lab.open(fleet)
    pool_of = lab.plan.fleet.pools[0]
    names = [*(m.name for m in lab.plan.fleet.members(pool_of)), *pool_of.balancers]
    try:
        _provision(lab, fleet, names)
        rates = pool.measure(lab, rounds)
    finally:
        if not keep:
            lab.destroy()
    told = {title: "\n".join(table("members", pool.RATE, runs)) for title, runs in rates.items()}
    text = GROWING_TEXT.format(
        size=pool.SIZE,
        connections=pool.CONNECTIONS,
        seconds=pool.SECONDS,
        processors=os.cpu_count(),
        share=pool.SHARE,
        unlimited=told[pool.UNLIMITED],
        held=told[pool.HELD],
    )
    return _under(text, rounds, load, [lab.plan.fleet.machine(name) for name in names])


def _backing_up(folder: Path, rounds: int, load: float, *, keep: bool) -> str:
    """A machine that sends, and the store; the others are left bare."""
    fleet = write_fleet(ROOT / "inventory" / "lab.yaml", NETWORKS, folder)
    backup.edit(fleet)
    lab = Lab.open(fleet)
    names = (backup.MACHINE, backup.STORE)
    try:
        _provision(lab, fleet, names)
        _mailwright("dns", "apply", "--yes", fleet)
        backup.prepare(lab)
        rates = backup.measure(lab, rounds)
        taken = backup.mail(lab, rounds)
    finally:
        if not keep:
            lab.destroy()
    told = [f"### {part}\n\n" + "\n".join(table("tool", backup.RATE, runs)) for part, runs in rates.items()]
    text = BACKING_UP_TEXT.format(
        mib=backup.MIB,
        parts="\n\n".join(told),
        size=signing.SIZE,
        connections=signing.CONNECTIONS,
        mail="\n".join(table("meanwhile", backup.MAIL, taken)),
    )
    return _under(text, rounds, load, [lab.plan.fleet.machine(name) for name in names])


def _with_a_fourth(folder: Path) -> Path:
    """The lab's fleet with one more machine that sends."""
    fleet = write_fleet(ROOT / "inventory" / "lab.yaml", NETWORKS, folder)
    fourth = NewMachine("out4", "out4.brightpost.example", str(NETWORKS.ipv4[15]), str(NETWORKS.ipv6[0x15]))
    fleet.write_text(with_machine(fleet.read_text(), "out3", fourth))
    return fleet


def _mailwright(*words: str | Path) -> None:
    """Run a command that must go well; what it says is of no interest."""
    argv = (sys.executable, "-m", "mailwright", *map(str, words))
    subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _provision(lab: Lab, fleet: Path, names: Sequence[str] = ()) -> None:
    """Boot a lab and deploy to some machines (none: all)."""
    print("booting and provisioning the fleet", flush=True)
    lab.up()
    limits = [word for name in names for word in ("--limit", name)]
    pyinfra = (sys.executable, "-m", "pyinfra", "-y", str(fleet.with_suffix(".py")), "deploy.py", *limits)
    subprocess.run(pyinfra, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _deploy(lab: Lab, fleet: Path) -> None:
    _provision(lab, fleet)
    for machine in lab.plan.fleet.machines:  # the peer's modules are Python programs
        python = "apt-get -qq update && apt-get -qq install -y --no-install-recommends python3 python3-apt"
        if not lab.host(machine.name).run(python, timeout=300).ok:
            raise RuntimeError(f"{machine.name}: python3 could not be installed")


def _under(text: str, rounds: int, load: float, machines: Sequence[Machine] = ()) -> str:
    """A section, and below it under what it was measured."""
    hosts = f", lab hosts {', '.join(f'{m.name} Debian {m.debian}' for m in machines)}" if machines else ""
    return (
        f"{text}\n{datetime.now(UTC):%Y-%m-%d}: {rounds} counted rounds, {os.cpu_count()} processors, "
        f"load average {load:.1f} before it,\nPython {platform.python_version()}{hosts}.\n"
    )


def _page(old: str, sections: dict[str, str]) -> str:
    """The page with these sections new and the others as they were."""
    known = dict(re.findall(r"^## (.+?)\n\n(.*?)(?=^## |\Z)", old, re.DOTALL | re.MULTILINE))
    held = known | sections
    parts = [f"## {title}\n\n{held[title].strip()}\n" for title in ORDER if title in held]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    main()

"""Verifying a fleet: ours against the same checks, one testinfra call for each thing that is asked.

Both in turn within one run, on the same machines. The peer is pytest-testinfra over OpenSSH with a connection
kept for each machine, and a process of pytest-xdist for each machine. sshd on the machines says how many
commands each of them ran. Each counted run must find everything as it should be, or the measurement is void.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import singly
from bench.tables import Column, ratio, table
from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab
from mailwright.model.errors import UnknownError
from mailwright.model.site import Site
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence, Expectation, Joint
from mailwright.verify.gather import evidence
from mailwright.verify.ssh import runner
from mailwright.verify.together import joint

OURS, THEIRS = "mailwright verify", "pytest-testinfra, one call each"
SECONDS = Column("median", lambda seconds: f"{seconds:.1f} s", "time against ours")
_ROOT = Path(__file__).parent.parent
_LIMIT = 3600
"""Seconds that a run may take."""

# The role `base` has sshd tell of each command that it starts (Debian 13: its child does).
_CURSOR = "journalctl --show-cursor --lines=0 | sed -n 's/^-- cursor: //p'"
_COUNT = (
    "journalctl -t sshd -t sshd-session --after-cursor='{}' --output=cat | grep -c '^Starting session: ' || :"
)


@dataclass(frozen=True)
class Peer:
    """What the peer runs."""

    folder: Path
    ssh_config: Path
    checks: int
    """All that are expected of the machines."""
    asked: int
    """Those of them that testinfra has calls for."""
    tests: int
    """One a check and machine."""
    commands: int
    """Those of them that are a command with an exit status."""


@dataclass(frozen=True)
class Run:
    """What a run took."""

    seconds: float
    commands: int
    """On all machines together."""


def write(site: Site, folder: Path) -> Peer:
    """Look at all machines once, and write the peer's tests.

    Raises:
        RuntimeError: a machine is not as it should be.
    """
    plans = {machine.name: site.plan(machine) for machine in site.fleet.machines}
    together = joint(site, plans)
    expected: dict[str, list[Expectation | Joint]] = {
        name: [*expectations(plan), *(one for one in together if name in one.machines)]
        for name, plan in plans.items()
    }

    def look(name: str) -> Evidence:
        return evidence(runner(plans[name].machine), plans[name].merged, _inside(expected[name]))

    with ThreadPoolExecutor(len(plans)) as pool:
        seen = dict(zip(plans, pool.map(look, plans), strict=True))
    every = {one.id: one for own in expected.values() for one in own}
    for one in _inside(every.values()):
        _well(one, seen)
    calls = {name: singly.written(plan, expected[name], seen[name]) for name, plan in plans.items()}
    folder.mkdir(mode=0o700)
    (folder / "sockets").mkdir(mode=0o700)
    for name, own in calls.items():
        (folder / f"test_{name.replace('-', '_')}.py").write_text(singly.module(name, own))
    config = folder / "ssh_config"
    config.write_text(singly.ssh_config(site.fleet.machines, folder / "sockets"))
    lines = {(name, one.id): calls[name][one.name] for name, own in expected.items() for one in own}
    return Peer(
        folder,
        config,
        checks=len(every),
        asked=len({id_ for (_, id_), statements in lines.items() if statements}),
        tests=sum(map(bool, lines.values())),
        commands=len({one.id for one in every.values() if one.command is not None}),
    )


def _inside(expected: Iterable[Expectation | Joint]) -> list[Expectation | Joint]:
    """What is not asked from outside."""
    return [one for one in expected if isinstance(one, Joint) or not one.visits]


def _well(one: Expectation | Joint, seen: Mapping[str, Evidence]) -> None:
    try:
        fault = one.judged(seen.__getitem__)
    except UnknownError as error:
        raise RuntimeError(f"{one.id}: {error}") from None
    if fault:
        raise RuntimeError(one.report(fault))


def measure(lab: Lab, peer: Peer, inventory: Path, rounds: int) -> dict[str, list[Run]]:
    """The runs of each, in turn; the first round of each is not counted.

    Raises:
        RuntimeError: a run found something that is not as it should be, or was not seen by any sshd.
    """
    hosts = [lab.host(machine.name) for machine in lab.plan.fleet.machines]
    ways: dict[str, Callable[[], None]] = {
        OURS: lambda: _ours(inventory),
        THEIRS: lambda: _theirs(peer, len(hosts)),
    }
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            run = _run(way, hosts)
            _part(peer, hosts)
            if number:
                found[name].append(run)
                told = f"{run.seconds:.1f} s, {run.commands} commands"
                print(f"  round {number}: {name}: {told}", flush=True)
    return found


def _run(way: Callable[[], None], hosts: Sequence[LabHost]) -> Run:
    with ThreadPoolExecutor(len(hosts)) as pool:
        cursors = list(pool.map(lambda host: _said(host, _CURSOR), hosts))
        began = time.monotonic()
        way()
        seconds = time.monotonic() - began
        counts = pool.map(lambda host, at: int(_said(host, _COUNT.format(at))), hosts, cursors)
        by_host = dict(zip((host.name for host in hosts), counts, strict=True))
    if not all(by_host.values()):
        raise RuntimeError(f"the machines' sshd does not tell what it ran: {by_host}")
    return Run(seconds, sum(by_host.values()))


def _said(host: LabHost, command: str) -> str:
    return host.run(command).require().stdout.strip()


def _ours(inventory: Path) -> None:
    _printed((sys.executable, "-m", "mailwright", "verify", str(inventory)), _ROOT)


def _theirs(peer: Peer, processes: int) -> None:
    words = ("-q", "-n", str(processes), "--dist", "loadfile", f"--ssh-config={peer.ssh_config}")
    told = _printed((sys.executable, "-m", "pytest", *words, str(peer.folder)), peer.folder)
    passed = re.search(r"(\d+) passed", told)
    if passed is None or int(passed[1]) != peer.tests:
        raise RuntimeError(f"the peer did not run its {peer.tests} tests:\n{told[-2000:]}")


def _printed(argv: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _part(peer: Peer, hosts: Sequence[LabHost]) -> None:
    """Each run makes its connections itself."""
    for host in hosts:
        leave = ("ssh", "-F", str(peer.ssh_config), "-O", "exit", host.name)
        subprocess.run(leave, check=False, capture_output=True)


TEXT = """\
{machines} machines, {checks:,} checks, and nothing is wrong. The peer is pytest-testinfra as its users write
it, with a test for each check and a call for each thing that it asks (`host.package(...).is_installed`,
`host.file(...).mode`), over OpenSSH with a kept connection and a process of pytest-xdist for each machine.
Its tests are made from the same needs. It has {asked:,} of the checks, {commands:,} of them a command each
(`host.check_output(...)`), and judges less: of a command its exit status alone, of a unit not whether it runs
on what lies on the disk. For the other {rest:,} it has no call: ours asks them from outside. Remote commands
are those that the machines' sshd started.

{table}
"""


def told(peer: Peer, found: Mapping[str, Sequence[Run]], machines: int) -> str:
    """The section of the page."""
    counts = {name: [float(run.commands) for run in runs] for name, runs in found.items()}
    rows = table("tool", SECONDS, {name: [run.seconds for run in runs] for name, runs in found.items()})
    rows[0] += " remote commands | against ours |"
    rows[1] += "---:|---:|"
    for at, name in enumerate(found, start=2):
        rows[at] += f" {max(counts[name]):,.0f} | {ratio(counts, name):.0f} |"
    return TEXT.format(
        machines=machines,
        checks=peer.checks,
        asked=peer.asked,
        commands=peer.commands,
        rest=peer.checks - peer.asked,
        table="\n".join(rows),
    )

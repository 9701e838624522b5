"""What another sending host brings: messages a second that a pool accepts at its virtual address.

The hosts that do not count are drained at both balancers, so that one fleet is measured at each size in turn
within one run. Nothing is delivered meanwhile (the transport is deferred): what is measured is passing on,
taking, signing twice and queueing.

All hosts, the balancers and the generator share one machine's processors, so that hosts without a limit
mostly take them from each other. Held to a share of a processor each, every host brings its own, as one in a
rack does.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import run

from bench.tables import Column
from mailwright.lab import processes
from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab
from mailwright.model.secrets_store import open_secrets

CONNECTIONS = 12
"""At a time: a number that 1, 2, 3 and 4 hosts share evenly."""
SECONDS = 15.0
"""Of each measurement."""
PER_SESSION = 20
"""Messages of a session."""
SIZE = 8192
"""Octets of a body."""
SHARE = 25
"""Percent of a processor that each host has where it is held to a share."""
UNLIMITED, HELD = "no limit", f"{SHARE} % of a processor each"
RATE = Column("median", lambda rate: f"{rate:.1f}/s", "rate against 1 host", digits=2)
_CPU = Path("/sys/fs/cgroup/cpu")


def measure(lab: Lab, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Accepted messages a second by number of hosts, in turn: without a limit, and held to a share.

    The first round of each is not counted.
    """
    pool = lab.plan.fleet.pools[0]
    hosts = [lab.host(machine.name) for machine in lab.plan.fleet.members(pool)]
    balancers = [lab.host(name) for name in pool.balancers]
    sender = lab.plan.fleet.senders[0]
    password = open_secrets(lab.plan.fleet, lab.plan.file).get(f"submission/{sender.login}")
    job = (str(pool.addresses[0]), sender.login, password, f"bench{sender.addresses[0]}")
    found: dict[str, dict[str, list[float]]] = {}
    with _keeping(hosts):
        for title, held in ((UNLIMITED, ()), (HELD, hosts)):
            with _held(held):
                found[title] = _series(job, hosts, balancers, rounds, title)
    return found


def _series(
    job: tuple[str, str, str, str],
    hosts: Sequence[LabHost],
    balancers: Sequence[LabHost],
    rounds: int,
    title: str,
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {_named(n): [] for n in range(1, len(hosts) + 1)}
    for number in range(rounds + 1):
        for size in range(1, len(hosts) + 1):
            _serving(hosts, size, balancers)
            rate = _rate(job)
            for host in hosts:
                _must(host, "postsuper -d ALL")
            if number:
                rates[_named(size)].append(rate)
                print(f"  round {number}, {title}: {_named(size)}: {rate:.1f} messages/s", flush=True)
    return rates


def _named(size: int) -> str:
    return "1 host" if size == 1 else f"{size} hosts"


def _serving(hosts: Sequence[LabHost], size: int, balancers: Sequence[LabHost]) -> None:
    """The first `size` hosts get the sessions. They are taken back before others go."""
    for word, chosen in (("undrain", hosts[:size]), ("drain", hosts[size:])):
        for balancer in balancers:
            for host in chosen:
                _must(balancer, f"mailwright-balance {word} {host.name}")
    time.sleep(10)  # HAProxy's slowstart: a host that comes back gets its full share only then


def _rate(job: tuple[str, str, str, str]) -> float:
    with ProcessPoolExecutor(max_workers=CONNECTIONS) as pool:
        return sum(pool.map(_submit, [job] * CONNECTIONS))


def _submit(job: tuple[str, str, str, str]) -> float:
    """Messages a second over one connection at a time, for so long as a measurement takes."""
    address, login, password, author = job
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # self-signed in the lab
    text = f"From: <{author}>\r\nTo: <bench@mailbox.example>\r\nSubject: bench\r\n\r\n"
    text += ("x" * 70 + "\r\n") * (SIZE // 72)
    began, sent = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        with smtplib.SMTP(address, 587, timeout=120) as smtp:
            smtp.starttls(context=context)
            smtp.login(login, password)
            for _ in range(PER_SESSION):
                smtp.sendmail(author, ["bench@mailbox.example"], text)
                sent += 1
                if time.monotonic() - began >= SECONDS:
                    break
    return sent / (time.monotonic() - began)


@contextmanager
def _keeping(hosts: Sequence[LabHost]) -> Iterator[None]:
    """Nothing is delivered until the block ends."""
    for host in hosts:
        _must(host, "postconf -e defer_transports=smtp && postfix reload")
    try:
        yield
    finally:
        for host in hosts:
            _must(host, "postsuper -d ALL; postconf -X defer_transports && postfix reload")


@contextmanager
def _held(hosts: Sequence[LabHost]) -> Iterator[None]:
    """Every process of each host has a share of a processor, all of a host's together."""
    with ExitStack() as undo:
        for host in hosts:
            undo.callback(_hold(host.container.unit))
        yield


def _hold(unit: str) -> Callable[[], None]:
    if processes.SYSTEMD.exists():
        _quota(unit, f"{SHARE}%")
        return lambda: _quota(unit, "")
    # Without systemd around the lab, the controller is of version 1 and lies in a hierarchy of its own.
    group = _CPU / f"mailwright-bench-{unit}"
    group.mkdir(exist_ok=True)
    period = int((group / "cpu.cfs_period_us").read_text())
    (group / "cpu.cfs_quota_us").write_text(str(period * SHARE // 100))
    _move(unit, group)
    return lambda: (_move(unit, _CPU), group.rmdir())[1]


def _move(unit: str, group: Path) -> None:
    """What is born meanwhile is born beside its parent: twice catches it."""
    for _ in range(2):
        for pid in processes.members(unit):
            with suppress(OSError):  # ended meanwhile
                (group / "cgroup.procs").write_text(str(pid))


def _quota(unit: str, share: str) -> None:
    run(["systemctl", "set-property", "--runtime", f"{unit}.service", f"CPUQuota={share}"], check=True)


def _must(host: LabHost, command: str) -> None:
    done = host.run(command, timeout=180)
    if not done.ok:
        raise RuntimeError(f"{host.name}: {command}: {done.stderr}")

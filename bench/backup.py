"""What a backup takes: octets a second to the store and back, and what mail a machine takes meanwhile.

The peers are rsync and tar over SSH, between the same two machines in the same run. They get less to do: no
encryption at rest, no deduplication, no history, no fsync. Our side is the unit that the timer starts, as it
is: at low priority, and with all else that the machine backs up.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from ruamel.yaml import YAML

from bench import signing
from bench.signing import must
from bench.tables import Column
from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab

MACHINE, STORE = "out1", "vault1"
LARGE, SMALL = (128, 1 << 20), (8192, 16 << 10)
"""(number of files, octets of each): some large ones, and many as small as messages."""
MIB = sum(number * size for number, size in (LARGE, SMALL)) >> 20
RATE = Column("median", lambda rate: f"{rate:.1f} MiB/s", "rate against ours", digits=2)
MAIL = Column("median", lambda rate: f"{rate:.0f}/s", "rate against no copy", digits=2)

NEW, AGAIN, BACK = "Everything is new", "Nothing has changed", "Back again"

_DATA, _STAGED = "/srv/bench", "/srv/staged"
_COPY, _TAR = "/srv/copy", "/srv/tar"
_RUN = "systemctl start mailwright-backup.service"
_SSH = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new"

# Content that no compression and no deduplication makes smaller.
_FILL = f"""
import os
for name, (number, size) in {{"large": {LARGE}, "small": {SMALL}}}.items():
    os.makedirs(f"{_DATA}/{{name}}", exist_ok=True)
    for one in range(number):
        with open(f"{_DATA}/{{name}}/{{one}}", "wb") as file:
            file.write(os.urandom(size))
"""
# New content to every chunk, at little cost of its own: restic's are half a MiB at the least.
_MARK = f"""
import os
for name, (number, size) in {{"large": {LARGE}, "small": {SMALL}}}.items():
    for one in range(number):
        with open(f"{_DATA}/{{name}}/{{one}}", "r+b") as file:
            for at in range(0, size, 256 << 10):
                file.seek(at)
                file.write(os.urandom(16))
"""

_PATIENCE = 600
"""Seconds that a copy may take."""

Contender = tuple[Callable[[], None], Callable[[], None]]
"""What is made ready, and what is timed."""


def edit(fleet: Path) -> None:
    """Have the machine back up the data, and let it log in to the store, as rsync and tar want."""
    yaml = YAML()
    data = yaml.load(fleet.read_text())
    machine = next(m for m in data["machines"] if m["name"] == MACHINE)
    data["networks"]["admin"].append(f"{machine['ipv4']}/32")
    machine["roles"] = dict(machine["roles"]) | {
        "backup": {"paths": [{"path": _DATA, "reason": "what the benchmark copies"}], "schedule": "yearly"}
    }
    yaml.dump(data, fleet)


def prepare(lab: Lab) -> None:
    """Fill the machine, and let its root log in to the store."""
    machine, store = lab.host(MACHINE), lab.host(STORE)
    for host in (machine, store):
        must(
            host, "apt-get -qq update && apt-get -qq install -y --no-install-recommends rsync openssh-client"
        )
    must(machine, "mkdir -p /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    must(store, "cat >> /root/.ssh/authorized_keys", machine.read("/root/.ssh/id_ed25519.pub"))
    must(machine, f"{_SSH} {store.host.address} true")
    must(machine, "python3 -", _FILL)


def measure(lab: Lab, rounds: int) -> dict[str, dict[str, list[float]]]:
    """MiB a second of each way there, there again and back, in turn; the first round is not counted."""
    machine, store = lab.host(MACHINE), lab.host(STORE)
    parts = _parts(machine, store)
    found: dict[str, dict[str, list[float]]] = {
        part: {name: [] for name in ways} for part, ways in parts.items()
    }
    for number in range(rounds + 1):
        must(machine, "python3 -", _MARK)
        must(store, f"rm -rf {_COPY} {_TAR} && mkdir {_COPY} {_TAR}")
        for part, ways in parts.items():
            for name, (ready, work) in ways.items():
                ready()
                began = time.monotonic()
                work()
                rate = MIB / (time.monotonic() - began)
                if number:
                    found[part][name].append(rate)
                    print(f"  round {number}, {part}: {name}: {rate:.1f} MiB/s", flush=True)
    return found


def _parts(machine: LabHost, store: LabHost) -> Mapping[str, Mapping[str, Contender]]:
    at = store.host.address

    def told(host: LabHost, command: str) -> Callable[[], None]:
        return lambda: must(host, command, timeout=_PATIENCE)

    def nothing() -> None:
        return

    emptied = told(machine, f"rm -rf {_STAGED} && mkdir {_STAGED}")
    without = told(store, f"rm -rf {_TAR} && mkdir {_TAR}")
    ours = told(machine, _RUN)
    rsync = told(machine, f"rsync -a -e '{_SSH}' {_DATA}/ {at}:{_COPY}/")
    tar = told(machine, f"tar -C {_DATA} -c . | {_SSH} {at} tar -C {_TAR} -x")
    there: dict[str, Contender] = {
        "mailwright-backup": (nothing, ours),
        "rsync": (nothing, rsync),
        "tar": (without, tar),
    }
    back: dict[str, Contender] = {
        "mailwright-backup stage": (
            emptied,
            told(machine, f"mailwright-backup stage {_STAGED} --path {_DATA}"),
        ),
        "rsync": (emptied, told(machine, f"rsync -a -e '{_SSH}' {at}:{_COPY}/ {_STAGED}/")),
        "tar": (emptied, told(machine, f"{_SSH} {at} tar -C {_TAR} -c . | tar -C {_STAGED} -x")),
    }
    return {NEW: there, AGAIN: there, BACK: back}


def mail(lab: Lab, rounds: int) -> dict[str, list[float]]:
    """Messages a second that the machine takes while it is copied without a pause, in turn."""
    machine, store = lab.host(MACHINE), lab.host(STORE)
    rsync = f"rsync -aW -e '{_SSH}' {_DATA}/ {store.host.address}:{_COPY}/"
    ways = {"no copy": "", "mailwright-backup": _RUN, "rsync": rsync}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    job = signing.job(lab)
    with signing.kept(machine):
        for number in range(rounds + 1):
            order = list(ways.items())
            random.shuffle(order)
            for name, command in order:
                with _again_and_again(machine, command):
                    rate = signing.rate(job)
                must(machine, "postsuper -d ALL")
                if number:
                    rates[name].append(rate)
                    print(f"  round {number}: {name}: {rate:.0f} messages/s", flush=True)
    return rates


@contextmanager
def _again_and_again(host: LabHost, command: str) -> Iterator[None]:
    """Copy new content meanwhile, and begin anew as soon as that is done."""
    over = Event()

    def work() -> None:
        while not over.is_set():
            must(host, "python3 -", _MARK)
            must(host, command, timeout=_PATIENCE)

    thread = Thread(target=work)
    if command:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if command:
            thread.join()

"""A deploy with nothing to change: ours against ansible-core, plain-pipelined and with mitogen.

The same machines, the same desired state, in turn within one run, so that a ratio holds when the
machine's speed drifts. Each tool's runs must report zero changes, or the measurement is void.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.peer import write_project
from bench.tables import Column
from mailwright.model.site import Site

SECONDS = Column("median", lambda seconds: f"{seconds:.2f} s", "time against ours")


@dataclass(frozen=True)
class Contender:
    """A tool, how it is called, and what it prints when nothing was changed."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    unchanged: Callable[[str], bool]


def contenders(site: Site, shim: Path, folder: Path) -> tuple[Contender, ...]:
    """The tools, each ready to converge all machines of `site`."""
    playbook = write_project(site, folder)
    ansible = (
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(folder / "inventory.json"),
        str(playbook),
    )
    common = {
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_FORKS": "50",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(folder),
    }
    return (
        Contender(
            "mailwright (pyinfra deploy.py)",
            (sys.executable, "-m", "pyinfra", "-y", str(shim), "deploy.py"),
            {},
            _pyinfra_unchanged,
        ),
        Contender(
            "ansible-core, pipelining", ansible, {**common, "ANSIBLE_STRATEGY": "free"}, _ansible_unchanged
        ),
        Contender(
            "ansible-core, mitogen",
            ansible,
            {**common, "ANSIBLE_STRATEGY": "mitogen_free", "ANSIBLE_STRATEGY_PLUGINS": _mitogen_plugins()},
            _ansible_unchanged,
        ),
    )


def measure(contenders: tuple[Contender, ...], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender's runs, in turn; one uncounted run each to settle first.

    Raises:
        RuntimeError: a counted run changed something or failed; the message ends with what it printed.
    """
    for contender in contenders:
        _run(contender)
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            began = time.monotonic()
            printed = _run(contender)
            seconds[contender.name].append(time.monotonic() - began)
            if not contender.unchanged(printed):
                raise RuntimeError(f"{contender.name} changed something:\n{printed[-4000:]}")
            print(f"  round {number + 1}: {contender.name}: {seconds[contender.name][-1]:.2f} s", flush=True)
    return seconds


def _run(contender: Contender) -> str:
    done = subprocess.run(
        contender.argv,
        env={**os.environ, **contender.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{contender.name} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _ansible_unchanged(printed: str) -> bool:
    changed = re.findall(r"changed=(\d+)", printed)
    return bool(changed) and not any(int(number) for number in changed)


def _pyinfra_unchanged(printed: str) -> bool:
    totals = re.findall(r"Grand total\s+\d+\s+(\S+)", printed)
    return bool(totals) and totals[-1] == "-"


def _mitogen_plugins() -> str:
    spec = importlib.util.find_spec("ansible_mitogen")
    if spec is None or spec.origin is None:
        raise RuntimeError("mitogen is not installed: `make setup`")
    return str(Path(spec.origin).parent / "plugins" / "strategy")

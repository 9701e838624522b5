"""Pins how the controller gets what a lab needs: once, however many labs come up, and patient with apt."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from rich.console import Console

from mailwright.lab import machine
from mailwright.lab.progress import Progress

HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
    print("let go", flush=True)
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What apt-get was asked for, on a machine that lacks one program."""
    program, asked, busy = tmp_path / "nspawn", [], threading.Lock()

    def run(argv, what):
        assert busy.acquire(blocking=False), "two apt-get at once"
        try:
            asked.append(what)
            threading.Event().wait(0.1)  # long enough for another to come in
            if "install" in argv:
                program.touch()
        finally:
            busy.release()

    monkeypatch.setattr(machine, "_PROGRAMS", {str(program): "systemd-container"})
    monkeypatch.setattr(machine, "_LIMITS", {})
    monkeypatch.setattr(machine, "_APT_LISTS", tmp_path / "lock")
    monkeypatch.setattr(machine, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "run", run)
    return asked


def prepare(_=None):
    machine.prepare(Progress(Console(file=StringIO())))


def test_labs_that_come_up_at_once_install_once(asked):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, range(4)))
    assert asked == ["apt-get update", "apt-get install"]


def test_the_machines_own_update_is_awaited(asked, tmp_path):
    (tmp_path / "lock").touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        waiter = threading.Thread(target=prepare)
        waiter.start()
        waiter.join(0.5)
        assert asked == []
        holder.stdin.close()
        assert holder.stdout.readline() == "let go\n"
    waiter.join(10)
    assert asked == ["apt-get update", "apt-get install"]

"""Pins the host's side of a guarded change with a real shell: kept if confirmed, else as before."""

import os
import subprocess

import pytest

from mailwright.converge import guard as module
from mailwright.converge.guard import Guard, change, confirm, settled
from mailwright.converge.shell import script

TOOLS = ("systemctl", "systemd-run", "logger")


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A folder that is the host: a file, a guard of it, and systemd's tools doing nothing."""
    monkeypatch.setattr(module, "HOME", str(tmp_path / "guard"))
    for tool in TOOLS:
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "conf").write_text("old\n")
    guard = Guard(
        name="role",
        paths=(str(tmp_path / "conf"), str(tmp_path / "more")),
        activate=f"cat {tmp_path}/conf >{tmp_path}/running",
        revert=f"cat {tmp_path}/conf >{tmp_path}/running; cat kept >>{tmp_path}/running",
        save="echo kept >kept",
    )
    return tmp_path, guard


def _sh(text):
    text = 'fail() { echo "$*" >&2; exit 1; }\n' + text
    return subprocess.run(["sh", "-eu"], input=text, capture_output=True, text=True, check=False)


def _install(folder, content="new"):
    return f"echo {content} >{folder}/conf; echo {content} >{folder}/more"


def _running(folder):
    return (folder / "running").read_text().split()


def test_a_confirmed_change_stays(host):
    folder, guard = host
    assert _sh(change(guard, _install(folder))).returncode == 0
    assert _sh(settled(guard)).returncode == 1
    assert _sh(confirm(guard)).returncode == 0
    assert _sh(settled(guard)).returncode == 0
    assert (folder / "conf").read_text() == "new\n"
    assert _running(folder) == ["new"]


def test_an_unconfirmed_change_is_taken_back_and_cannot_be_confirmed_any_more(host):
    folder, guard = host
    _sh(change(guard, _install(folder)))
    assert _sh(f"sh {guard.home}/restore").returncode == 0  # what the timer does
    assert (folder / "conf").read_text() == "old\n"
    assert not (folder / "more").exists()
    assert _running(folder) == ["old", "kept"]
    late = _sh(confirm(guard))
    assert (late.returncode, late.stderr.strip()) == (1, module.TOO_LATE)


def test_the_timer_cannot_take_back_what_was_confirmed(host):
    folder, guard = host
    _sh(change(guard, _install(folder)))
    restore = (folder / "guard/role/restore").read_text()
    _sh(confirm(guard))
    _sh(restore)  # a timer that fires in the very moment
    assert (folder / "conf").read_text() == "new\n"


@pytest.mark.parametrize("broken", ["install", "activate"])
def test_a_change_that_fails_is_taken_back_at_once(host, broken):
    folder, guard = host
    install = _install(folder) + ("; false" if broken == "install" else "")
    guard = Guard(guard.name, guard.paths, "false" if broken == "activate" else ":", guard.revert, guard.save)
    assert _sh(change(guard, install)).returncode != 0
    assert (folder / "conf").read_text() == "old\n"
    assert not (folder / "more").exists()
    assert _sh(settled(guard)).returncode == 0


@pytest.mark.parametrize("left", ["restore", "restoring"])
def test_what_a_killed_run_left_is_taken_back_before_the_next_change(host, left):
    folder, guard = host
    _sh(change(guard, _install(folder, "unconfirmed")))
    home = folder / "guard/role"
    (home / "restore").rename(home / left)
    assert _sh(change(guard, _install(folder))).returncode == 0
    _sh(f"sh {guard.home}/restore")
    assert (folder / "conf").read_text() == "old\n"


@pytest.mark.parametrize("left", ["role", "role.new"])
def test_a_guard_that_was_never_armed_is_no_obstacle(host, left):
    folder, guard = host
    (folder / "guard" / left / "old").mkdir(parents=True)
    assert _sh(change(guard, _install(folder))).returncode == 0
    assert _sh(confirm(guard)).returncode == 0
    assert (folder / "conf").read_text() == "new\n"


def test_it_is_a_shell_script_as_a_whole(host):
    folder, guard = host
    for text in (change(guard, _install(folder)), confirm(guard), module.wait(guard)):
        assert subprocess.run(["sh", "-n"], input=script(text), text=True, check=False).returncode == 0

"""Kernel settings: set, kept for the next boot, or reported."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from mailwright.converge.sysctls import apply, decide, needs
from mailwright.model.needs import Sysctl
from mailwright.observe import PathState, SysctlState, parse
from mailwright.observe.places import SYSCTL_FILE
from mailwright.observe.script import FOOTER, HEADER

EMPTY = parse(f"{HEADER}\nclock 1.0\nuptime 1.0\nuid 0\npath d root root 755 1.0 1.0 /\n{FOOTER}\n")
SETTING = Sysctl("net.ipv4.tcp_rmem", "4096  131072 6291456", "Room for many slow receivers.")


def seen(state=None, container="", settings=(SETTING,), on_disk=True):
    (file,) = needs(settings).files
    digest = hashlib.sha256(file.content).hexdigest()
    paths = {SYSCTL_FILE: PathState("file", "root", "root", 0o644, 1.0, 1.0, digest)} if on_disk else {}
    return replace(
        EMPTY, container=container, paths=paths, sysctls={SETTING.key: state} if state is not None else {}
    )


def test_white_space_makes_no_difference():
    assert not decide([SETTING], seen(SysctlState("4096 131072 6291456", writable=True)))


def test_a_live_value_is_set():
    plan = decide([SETTING], seen(SysctlState("1 2 3", writable=True)))
    assert plan.lines == ("net.ipv4.tcp_rmem: 1 2 3 -> 4096 131072 6291456",)
    assert ">/proc/sys/net/ipv4/tcp_rmem ||" in apply(plan)


def test_a_value_that_is_live_but_not_on_disk_is_written():
    plan = decide([SETTING], seen(SysctlState("4096 131072 6291456", writable=True), on_disk=False))
    assert plan.file.lines == (f"{SYSCTL_FILE}: new",)
    assert plan.live == ()


@pytest.mark.parametrize("state", [None, SysctlState("1", writable=False)])
def test_in_a_container_what_is_not_its_own_is_reported_and_no_change(state):
    plan = decide([SETTING], seen(state, container="systemd-nspawn"))
    assert not plan
    assert "only the machine around can set it" in plan.foreign[0]


@pytest.mark.parametrize("state", [None, SysctlState("1", writable=False)])
def test_on_a_machine_of_its_own_that_is_a_mistake(state):
    assert decide([SETTING], seen(state)).obstacles != ()


def test_the_file_says_why():
    (file,) = needs([SETTING]).files
    assert b"# Room for many slow receivers.\nnet.ipv4.tcp_rmem = 4096" in file.content


def test_without_settings_there_is_no_file():
    assert [a.path for a in needs([]).absent] == [SYSCTL_FILE]


def test_a_refusal_of_the_kernel_is_told(sandbox):
    plan = decide([SETTING], seen(SysctlState("1 2 3", writable=True)))
    done = sandbox.run(apply(plan).replace("/proc/sys/net/ipv4/tcp_rmem", "/dev/full"))
    assert done.returncode == 1
    assert "the kernel refuses net.ipv4.tcp_rmem" in done.stderr

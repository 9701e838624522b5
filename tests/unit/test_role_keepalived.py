"""Pins who holds the virtual addresses when; the lab proves that they move, and move once."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess

import pytest

from mailwright.lab.shell import wait_until
from mailwright.model.fleet import Fleet
from mailwright.model.role import Result, Role, Settings
from roles import keepalived
from tests.unit.test_role_haproxy import INCOMING, M2, OUT1, OUTGOING, POSTFIX

HAPROXY = Role("haproxy", Settings, apply=lambda _: None)
V6_ONLY = {**INCOMING, "ipv4": None, "ipv6": "2001:db8::101"}


@pytest.fixture
def plan(plan_of):
    """Returns a function: settings of the role and pools to the first balancer's plan."""

    def planned(settings=None, pools=(OUTGOING, V6_ONLY), **machine):
        machine["roles"] = {"haproxy": {}, "keepalived": settings or {}}
        return plan_of(keepalived.ROLE, HAPROXY, POSTFIX, machine=machine, machines=(M2, OUT1), pools=pools)

    return planned


@pytest.fixture
def instance(plan, content_of):
    """Returns a function: a pool's VRRP instance as one text without superfluous blanks."""

    def cut(name, **options):
        text = content_of(plan(**options), keepalived.CONFIG)
        (found,) = re.findall(rf"^vrrp_instance {name} \{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
        return " ".join(line.strip() for line in found.splitlines() if not line.strip().startswith("#"))

    return cut


def test_a_pools_addresses_of_both_families_move_together(instance):
    text = instance("outgoing")
    assert "virtual_router_id 51 " in text
    assert "virtual_ipaddress { 203.0.113.100/32 }" in text
    assert "virtual_ipaddress_excluded { 2001:db8::100/128 }" in text
    assert "unicast_src_ip 203.0.113.11 unicast_peer { 203.0.113.12 }" in text


def test_a_pool_of_ipv6_alone_speaks_over_ipv6(instance):
    text = instance("incoming")
    assert "unicast_src_ip 2001:db8::11 unicast_peer { 2001:db8::12 }" in text
    assert "virtual_ipaddress { 2001:db8::101/128 }" in text
    assert "excluded" not in text


def test_who_comes_back_takes_nothing_back(instance):
    assert instance("outgoing").startswith("state BACKUP nopreempt ")


def test_the_first_balancer_of_a_pool_is_preferred(instance):
    second = {**V6_ONLY, "balancers": ["m2", "m1"]}
    assert "priority 150 " in instance("outgoing")
    assert "priority 149 " in instance("incoming", pools=[OUTGOING, second])


def test_only_the_other_balancers_may_speak_vrrp(plan):
    assert [(p.proto, p.audience) for p in plan().by_role["keepalived"].ports] == [("vrrp", ("m2",))]


def test_a_hook_of_the_operators_is_told_the_addresses(plan, content_of):
    text = content_of(plan({"notify": "/usr/local/sbin/float"}), keepalived.PROGRAM)
    assert "outgoing) set -- 203.0.113.100/32 2001:db8::100/128 ;;" in text
    assert 'timeout 60 /usr/local/sbin/float "$pool" "$state" "$@"' in text
    assert "timeout" not in content_of(plan(), keepalived.PROGRAM)


def word(file):
    """The state in a pool's file, once it is there."""
    return file.read_text().partition(" ")[0] if file.exists() else ""


@pytest.fixture
def changed(plan, content_of, tmp_path):
    """Returns a function: begin to tell the program a new state of the pool; settings are the role's."""
    folder = tmp_path / "vrrp"
    folder.mkdir()
    for name in ("systemctl", "systemd-run"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / "mkdir").write_text('#!/bin/sh\nwhile [ -e "$HELD" ]; do sleep 0.05; done\n')
    for name in ("systemctl", "systemd-run", "mkdir"):
        (tmp_path / name).chmod(0o755)

    def tell(state, settings=None, held=""):
        text = content_of(plan(settings), keepalived.PROGRAM)
        program = tmp_path / "vrrp.sh"
        program.write_text(text.replace(keepalived.FOLDER, str(folder)))
        argv = ["sh", program, "INSTANCE", "outgoing", state, "150"]
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HELD": str(held)}
        return subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL)

    tell.folder = folder
    return tell


def test_a_change_that_is_told_late_says_nothing(changed, tmp_path):
    held = tmp_path / "held"
    held.touch()
    late = changed("BACKUP", held=held)
    assert changed("MASTER").wait(30) == 0
    held.unlink()
    assert late.wait(30) == 0
    assert word(changed.folder / "outgoing") == "MASTER"
    assert (changed.folder / "outgoing.claim").read_text() == "100\n"
    assert changed("FAULT").wait(30) == 0
    assert word(changed.folder / "outgoing") == "FAULT"


def test_a_hook_that_was_overtaken_while_it_waited_is_left_out(changed, tmp_path):
    hook, folder = tmp_path / "float", changed.folder
    hook.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/told\n')
    hook.chmod(0o755)
    with (folder / "hook.lock").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        changes = []
        for state in ("MASTER", "BACKUP"):
            changes.append(changed(state, {"notify": str(hook)}))
            wait_until(lambda state=state: word(folder / "outgoing") == state, state)
    assert [change.wait(30) for change in changes] == [0, 0]
    told = "outgoing BACKUP 203.0.113.100/32 2001:db8::100/128\n"
    assert (tmp_path / "told").read_text() == told


def test_the_interface_is_the_one_with_the_address_unless_it_is_said(plan, content_of):
    assert "ip -o address show to 203.0.113.11" in content_of(plan(), keepalived.PROGRAM)
    said = content_of(plan({"interface": "ens3"}), keepalived.PROGRAM)
    assert "interface=ens3\n" in said
    assert "address show" not in said


@pytest.fixture
def holds(plan):
    """Returns a function: what keepalived says and how many addresses are here to the verdict."""

    def judged(state, count, retired="0"):
        check = plan().checks()[0][1]
        return check.judge(Result(0, f"{state}\n{count}\n{retired}\n", ""))

    return judged


@pytest.mark.parametrize(
    ("state", "count"), [("MASTER 2026-11-01T00:00:00Z", 2), ("BACKUP 2026-11-01T00:00:00Z", 0)]
)
def test_a_state_that_fits_the_addresses_is_right(holds, state, count):
    assert holds(state, count) is None


@pytest.mark.parametrize(
    ("state", "count", "verdict"),
    [
        ("MASTER x", 1, "keepalived says MASTER x, but 1 of its addresses are here"),
        ("BACKUP x", 2, "keepalived says BACKUP x, but 2 of its addresses are here"),
        ("FAULT x", 0, "keepalived says FAULT x"),
    ],
)
def test_a_state_that_does_not_fit_is_a_fault(holds, state, count, verdict):
    assert holds(state, count) == verdict


def test_a_retired_balancer_is_meant_to_hold_nothing(holds):
    assert holds("FAULT x", 0, retired="1") is None


HELD = Result(0, "2: eth0    inet 203.0.113.100/32 scope global eth0\n", "")
NOT_HELD = Result(0, "", "")


@pytest.mark.parametrize(
    ("m1", "m2", "verdict"),
    [
        (HELD, NOT_HELD, None),
        (NOT_HELD, HELD, None),
        (HELD, HELD, "m1 and m2 hold it at the same time"),
        (NOT_HELD, NOT_HELD, "none of them does"),
        (Result(1, "", "no ip"), HELD, "m1: no ip"),
    ],
)
def test_exactly_one_balancer_holds_an_address(m1, m2, verdict):
    machines = [M2 | {"name": "m1", "fqdn": "m1.brightpost.example", "ipv4": "203.0.113.11"}, M2, OUT1]
    owner = {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}
    fleet = Fleet.model_validate({"owner": owner, "machines": machines, "pools": [OUTGOING]})
    first, second = keepalived.agreements(fleet)
    assert first.machines == second.machines == ("m1", "m2")
    assert first.judge({"m1": m1, "m2": m2}) == verdict


def test_a_closed_balancer_takes_no_address_because_it_hears_no_other(plan):
    (unit,) = plan(closed=True).by_role["keepalived"].units
    assert (unit.enabled, unit.running) == (False, False)
    assert not [check for role, check in plan(closed=True).checks() if role == "keepalived"]

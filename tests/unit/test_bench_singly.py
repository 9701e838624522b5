"""Pins that the peer of a benchmark is asked the same: a test for each check, which tells good from bad."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench import singly
from bench.verify import OURS, THEIRS, Peer, Run, told
from mailwright.model import needs as n
from mailwright.model.role import Check, Result, Role, Settings
from mailwright.observe import Observation, SysctlState, UnitState
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence, Expectation
from mailwright.verify.sockets import parse

NEEDS = n.Needs(
    packages=(n.Package("postfix"),),
    users=(n.User("filter", uid=990, gid=990, groups=("mail",)),),
    directories=(n.Directory("/etc/filter", mode=0o750),),
    files=(n.File("/etc/filter/conf", b"x", group="filter", mode=0o640),),
    absent=(n.Absent("/etc/filter/old"),),
    sysctls=(n.Sysctl("net.core.somaxconn", "4096", "bursts"), n.Sysctl("vm.swappiness", "1", "mail")),
    units=(n.Unit("filter.service"), n.Unit("clock.service"), n.Unit("exim4.service", masked=True)),
    ports=(
        n.Port(25, "tcp", "public", "SMTP"),
        n.Port(8891, "tcp", "local", "filter"),
        n.Port(80, "tcp", "public", "ACME proofs", brief=True),
        n.Port(1, "vrrp", "fleet", "VRRP"),
    ),
    backups=(n.BackupPath("/var/lib/filter", "what it learnt"),),
)
CHECKS = (
    Check("it answers", "filter --ping 100%", lambda _: None, ""),
    Check("it refuses", "filter --refuse", lambda _: None, ""),
)
UNIT = UnitState("loaded", "active", "running", "enabled", "simple", "success", False, False, 1.0, None)
SOCKETS = """\
tcp LISTEN 0 100 0.0.0.0:25 0.0.0.0:*
tcp LISTEN 0 100 [::]:25 [::]:*
tcp LISTEN 0 100 127.0.0.1:8891 0.0.0.0:*
"""


@pytest.fixture
def plan(plan_of):
    return plan_of(
        Role("filter", Settings, apply=lambda _: None, needs=lambda _: NEEDS, checks=lambda _: CHECKS)
    )


@pytest.fixture
def evidence(plan):
    """A machine that is as it should be, in a container that may not set everything."""
    seen = Observation(
        0.0, 0, "debian", "13", "lxc", {}, {}, (), False, False, {}, {},
        {"net.core.somaxconn": SysctlState("4096", True), "vm.swappiness": SysctlState("60", False)},
        {
            "filter.service": UNIT,
            "clock.service": replace(UNIT, active="inactive", skipped=True),
            "exim4.service": replace(UNIT, load="masked", active="inactive", file_state="masked"),
        },
        {},
    )  # fmt: skip
    results = {e.name: Result(0, "", "") for e in expectations(plan) if e.command is not None}
    results["check-filter-it refuses"] = Result(75, "", "")
    return Evidence(seen, frozenset(), parse(SOCKETS), results)


class Host:
    """What testinfra says of a machine that is as it should be, but for what a test says otherwise."""

    def __init__(self, **other):
        self.asked = Counter()
        self.system_info = SimpleNamespace(distribution="debian", release="13.1")
        self.other = {"file": {"is_directory": True, "exists": False}, "statuses": {"filter --refuse": 75}}
        self.other |= other
        self.socket = Sockets(self)

    def _told(self, kind, name, **usual):
        self.asked[f"{kind} {name}"] += 1
        return SimpleNamespace(**usual | self.other.get(kind, {}))

    def package(self, name):
        return self._told("package", name, is_installed=True)

    def user(self, name):
        return self._told("user", name, group="filter", uid=990, gid=990, groups=["filter", "mail"])

    def file(self, path):
        folder = path == "/etc/filter"
        content = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        group, mode = ("root", 0o750) if folder else ("filter", 0o640)
        return self._told("file", path, user="root", group=group, mode=mode, sha256sum=content)

    def sysctl(self, key):
        self.asked[f"sysctl {key}"] += 1
        return {"net.core.somaxconn": 4096, "vm.swappiness": 60}[key]

    def service(self, name):
        masked = name == "exim4.service"
        usual = {"is_running": name == "filter.service", "is_enabled": not masked, "is_masked": masked}
        return self._told("service", name, **usual)

    def check_output(self, command):
        self.run_expect([0], command)
        return ""

    def run_expect(self, statuses, command):
        self.asked[command] += 1
        assert self.other["statuses"].get(command, 0) in statuses


class Sockets:
    def __init__(self, host):
        self.host = host

    def __call__(self, spec):
        return self.host._told("socket", spec, is_listening=True)

    def get_listening_sockets(self):
        self.host.asked["sockets"] += 1
        return self.host.other.get("sockets", ["tcp://0.0.0.0:25", "tcp://127.0.0.1:8891", "unix:///x"])


@pytest.fixture
def tests(plan, evidence):
    """The tests of the module that is written, by the names of their checks."""
    calls = singly.written(plan, expectations(plan), evidence)
    found = {}
    exec(singly.module("m1", calls), found)  # noqa: S102 - it is what pytest would import
    functions = [value for name, value in found.items() if name.startswith("test_")]
    asked = [name for name, lines in calls.items() if lines]
    assert found["testinfra_hosts"] == ["ssh://m1"]
    return dict(zip(asked, functions, strict=True))


def failing(tests, host):
    found = set()
    for name, test in tests.items():
        try:
            test(host)
        except AssertionError:
            found.add(name)
    return found


def test_each_check_is_a_test_and_what_is_asked_from_outside_has_none(plan, tests):
    without = {e.name for e in expectations(plan) if e.name not in tests}
    assert without == {"outside-25/tcp", "outside-8891/tcp"}


def test_a_machine_that_is_as_it_should_be_passes_and_was_asked_for_all_of_it(tests):
    host = Host()
    assert failing(tests, host) == set()
    assert set(host.asked) >= {
        "package postfix",
        "user filter",
        "file /etc/filter",
        "file /etc/filter/conf",
        "file /etc/filter/old",
        "sysctl net.core.somaxconn",
        "service filter.service",
        "service clock.service",
        "socket tcp://0.0.0.0:25",
        "socket tcp://:::25",
        "socket tcp://127.0.0.1:8891",
        "sockets",
        "filter --ping 100%",
        "filter --refuse",
        "test -e /var/lib/filter",
    }
    assert not [name for name in host.asked if name.endswith((":80", ":1"))]


@pytest.mark.parametrize(
    ("other", "red"),
    [
        ({"package": {"is_installed": False}}, {"package-postfix"}),
        ({"user": {"uid": 991}}, {"user-filter"}),
        ({"user": {"groups": ["filter"]}}, {"user-filter"}),
        ({"file": {"is_directory": True, "exists": True}}, {"absent-/etc/filter/old"}),
        (
            {"file": {"is_directory": True, "exists": False, "mode": 0o666}},
            {"directory-/etc/filter", "file-/etc/filter/conf"},
        ),
        (
            {"file": {"is_directory": True, "exists": False, "sha256sum": "other"}},
            {"file-/etc/filter/conf"},
        ),
        ({"service": {"is_running": False}}, {"unit-filter.service"}),
        ({"service": {"is_enabled": False}}, {"unit-filter.service", "unit-clock.service"}),
        ({"service": {"is_masked": False}}, {"unit-exim4.service"}),
        ({"socket": {"is_listening": False}}, {"port-25/tcp-public", "port-8891/tcp-local"}),
        ({"sockets": ["tcp://0.0.0.0:23"]}, {"listeners"}),
        ({"statuses": {}}, {"check-filter-it refuses"}),
    ],
    ids=lambda each: str(each if isinstance(each, dict) else sorted(each)),  # workers must agree on them
)
def test_what_is_wrong_turns_its_own_test_red(tests, other, red):
    assert failing(tests, Host(**other)) == red


def test_a_kind_of_check_that_nobody_has_written_is_no_check_left_out(plan, evidence):
    new = Expectation("m1", "filter", "moon-full", lambda _: None, "")
    with pytest.raises(RuntimeError, match="m1-moon-full: nobody has said"):
        singly.written(plan, [new], evidence)


def test_the_page_says_how_much_of_it_the_peer_has():
    peer = Peer(None, None, checks=1200, asked=1100, tests=1101, commands=300)
    found = {OURS: [Run(2.0, 10), Run(4.0, 10)], THEIRS: [Run(20.0, 3000), Run(60.0, 3100)]}
    page = told(peer, found, 10)
    text = " ".join(page.split())
    assert "10 machines, 1,200 checks" in text
    assert "It has 1,100 of the checks, 300 of them a command each" in text
    assert "For the other 100 it has no call" in text
    assert f"| {OURS} | 3.0 s | 2.0 s to 4.0 s | 1.0 | 10 | 1 |" in page
    assert f"| {THEIRS} | 40.0 s | 20.0 s to 60.0 s | 12.5 | 3,100 | 305 |" in page

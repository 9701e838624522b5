"""One need against what a machine says of itself: right passes, and each way of being wrong is told."""

import hashlib
from dataclasses import replace

import pytest

from mailwright.model import accounts
from mailwright.model.needs import Absent, Directory, File, Package, Sysctl, Unit, User
from mailwright.observe import (
    GroupState,
    Observation,
    PackageState,
    PathState,
    SysctlState,
    UnitState,
    UserState,
)
from mailwright.verify import judge

NEED = File("/etc/postfix/main.cf", b"compatibility_level = 3.6\n")
FILE = PathState("file", "root", "root", 0o644, 100.0, 100.0, hashlib.sha256(NEED.content).hexdigest())
FOLDER = PathState("directory", "root", "root", 0o755, 100.0, 100.0, None)
UNIT = UnitState(
    "loaded",
    "active",
    "running",
    "enabled",
    "notify",
    "success",
    stale=False,
    remains=False,
    began=200.0,
    taken=None,
)
NOTHING = Observation(
    clock=1000.0, uid=0, distribution="debian", release="12", container="", paths={"/": FOLDER}, packages={},
    broken=(), interrupted=False, our_policy=False, users={}, groups={}, sysctls={}, units={}, tests={},
)  # fmt: skip


def seen(**values):
    return replace(NOTHING, **values)


def at(path, state, **values):
    return seen(paths={path: replace(state, **values)})


def found(fault):
    return fault and (fault.expected, fault.found)


def test_release():
    assert judge.release(12, NOTHING) is None
    assert found(judge.release(13, NOTHING)) == ("Debian 13", "debian 12")
    assert found(judge.release(12, seen(distribution="ubuntu"))) == ("Debian 12", "ubuntu 12")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"interrupted": True}, "dpkg was interrupted"),
        ({"broken": ("postfix", "postfix-doc")}, "postfix, postfix-doc"),
        ({"our_policy": True}, "an installation was cut short: daemons do not start"),
    ],
)
def test_half_installed_packages(values, words):
    assert judge.whole(NOTHING) is None
    assert judge.whole(seen(**values)).found == words


def test_package():
    need = Package("postfix")
    assert judge.package(need, seen(packages={"postfix": PackageState("3.7.11-0", "ii")})) is None
    assert judge.package(need, NOTHING).found == "not there"
    assert (
        judge.package(need, seen(packages={"postfix": PackageState("3.7.11-0", "rc")})).found
        == "dpkg says `rc`"
    )


def test_file():
    assert judge.file(NEED, at(NEED.path, FILE)) is None
    assert judge.file(NEED, NOTHING).found == "nothing there"


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        ({"mode": 0o600}, "mode 0644", "mode 0600"),
        ({"owner": "postfix"}, "owner root", "owner postfix"),
        ({"group": "4711"}, "group root", "group 4711"),
        ({"kind": "link", "sha256": None}, "a file", "a link"),
        ({"kind": "directory", "sha256": None}, "a file", "a directory"),
        ({"sha256": "0" * 64}, "SHA-256 d3", "0000000000000000...: edited by hand?"),
        ({"sha256": "0" * 64, "mode": 0o600}, "mode 0644, SHA-256", "mode 0600, 0000"),
    ],
)
def test_a_file_that_differs(change, expected, words):
    fault = judge.file(NEED, at(NEED.path, FILE, **change))
    if expected.endswith("d3"):
        expected = "SHA-256 " + FILE.sha256[:16]
    assert fault.expected.startswith(expected)
    assert fault.found.startswith(words)


def test_the_content_of_a_file_is_in_no_report():
    secret = File("/etc/key", b"the-private-key", secret=True)
    fault = judge.file(secret, at(secret.path, FILE))
    assert "the-private-key" not in fault.expected + fault.found


def test_directory_and_absent():
    need = Directory("/etc/opendkim", group="opendkim", mode=0o750)
    assert judge.directory(need, at(need.path, FOLDER, group="opendkim", mode=0o750)) is None
    assert found(judge.directory(need, at(need.path, FOLDER))) == (
        "group opendkim, mode 0750",
        "group root, mode 0755",
    )
    assert judge.directory(need, at(need.path, FILE)).found == "a file"
    assert judge.absent(Absent("/etc/x"), NOTHING) is None
    assert judge.absent(Absent("/etc/x"), at("/etc/x", FILE)).found == "a file"


ADMIN = User(  # noqa: S604 - a login shell
    "alex",
    uid=1001,
    gid=1001,
    groups=("sudo",),
    home="/home/alex",
    shell="/bin/bash",
    system=False,
    keys=("ssh-ed25519 AAAA alex",),
)
ADMIN_KEYS = hashlib.sha256(b"ssh-ed25519 AAAA alex\n").hexdigest()
ADMIN_SEEN = {
    "users": {"alex": UserState(1001, 1001, "/home/alex", "/bin/bash")},
    "groups": {"alex": GroupState(1001, frozenset()), "sudo": GroupState(27, frozenset({"alex", "kim"}))},
    "paths": {
        ADMIN.authorized_keys: replace(FILE, owner="alex", group="alex", mode=0o600, sha256=ADMIN_KEYS)
    },
}


def test_user():
    assert judge.user(ADMIN, seen(**ADMIN_SEEN)) is None
    assert judge.user(ADMIN, NOTHING).found == "none"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"users": {"alex": UserState(1002, 1001, "/home/alex", "/bin/sh")}}, "uid 1002, shell /bin/sh"),
        ({"groups": {"alex": GroupState(1001, frozenset())}}, "not a member"),
        ({"groups": {"sudo": GroupState(27, frozenset({"alex"}))}}, "no such group"),
        ({"paths": {}}, "no authorized_keys"),
        ({"paths": {ADMIN.authorized_keys: replace(FILE, sha256="0" * 64)}}, "other keys"),
    ],
)
def test_a_user_that_differs(change, words):
    assert judge.user(ADMIN, seen(**{**ADMIN_SEEN, **change})).found == words


def test_debian_chooses_numbers_home_and_shell_of_a_service():
    need = User("opendkim")
    state = UserState(107, 112, "/run/opendkim", "/bin/false")
    assert (
        judge.user(need, seen(users={"opendkim": state}, groups={"opendkim": GroupState(112, frozenset())}))
        is None
    )


def test_sysctl():
    need = Sysctl("net.ipv4.ip_local_port_range", "10240 65535", "many connections out")

    def say(value, **values):
        return seen(sysctls={need.key: SysctlState(value, values.pop("writable", True))}, **values)

    assert judge.sysctl(need, say("10240 65535")) is None
    assert found(judge.sysctl(need, say("32768 60999"))) == ("10240 65535", "32768 60999")
    assert judge.sysctl(need, say("32768 60999", writable=False)) is None, (
        "the machine around the container sets it"
    )
    assert judge.sysctl(need, NOTHING).found == "this kernel has no such setting"


def unit(need, path_ctime=100.0, **values):
    paths = {NEED.path: replace(FILE, ctime=path_ctime), "/": FOLDER}
    return judge.unit(need, seen(units={"postfix.service": replace(UNIT, **values)}, paths=paths))


POSTFIX = Unit("postfix.service", reads=("/etc/postfix",))


def test_unit():
    assert unit(POSTFIX) is None
    assert judge.unit(POSTFIX, NOTHING).found == "systemd knows none"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"active": "failed", "sub": "failed", "result": "exit-code"},
            "failed (failed, result exit-code), result exit-code",
        ),
        ({"active": "inactive", "sub": "dead"}, "inactive (dead, result success)"),
        ({"file_state": "disabled"}, "disabled"),
        ({"stale": True}, "changed on disk since (daemon-reload is due)"),
        ({"load": "not-found"}, "systemd knows none"),
        ({"path_ctime": 300.0}, "/etc/postfix/main.cf changed after it was read"),
    ],
)
def test_a_unit_that_differs(values, words):
    assert unit(POSTFIX, **values).found == words


def test_a_reload_takes_the_configuration_too():
    assert unit(POSTFIX, path_ctime=300.0, taken=301.0) is None


def test_a_neighbour_of_what_a_unit_reads_is_not_read():
    assert unit(Unit("postfix.service", reads=("/etc/post",)), path_ctime=300.0) is None


def test_a_oneshot_that_has_done_its_work_is_well():
    done = {"type": "oneshot", "active": "inactive", "sub": "dead"}
    assert unit(POSTFIX, **done) is None
    assert unit(POSTFIX, **done, result="exit-code") is not None
    assert unit(POSTFIX, **done, began=None) is not None


def test_units_that_must_not_run():
    stopped = Unit("postfix.service", enabled=False, running=False)
    assert unit(stopped, active="inactive", file_state="disabled") is None
    assert found(unit(stopped)) == ("not enabled, stopped", "enabled, active")
    masked = Unit("postfix.service", masked=True)
    assert unit(masked, load="masked", file_state="masked", active="inactive") is None
    assert judge.unit(masked, NOTHING) is None
    assert unit(masked).expected == "masked"


def test_numbers_that_debian_drew_are_no_fault_and_worth_a_word():
    groups = {"postfix": GroupState(112, frozenset()), "postdrop": GroupState(113, frozenset())}
    drawn = UserState(105, 112, "/var/spool/postfix", "/usr/sbin/nologin")
    there = seen(users={"postfix": drawn}, groups=groups)
    assert judge.user(accounts.POSTFIX, there) is None
    assert "105:112" in judge.other_numbers(accounts.POSTFIX, there)
    assert (
        judge.other_numbers(accounts.POSTFIX, seen(users={"postfix": replace(drawn, uid=820, gid=820)}))
        is None
    )
    assert found(judge.user(accounts.POSTFIX, replace(there, groups={"postfix": groups["postfix"]}))) == (
        "group postdrop",
        "no such group",
    )

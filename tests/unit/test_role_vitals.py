"""Pins what is said of packages' origin, room on disks and entropy, from the words of real machines."""

import time

import pytest

from mailwright.model.errors import UnknownError
from mailwright.model.needs import BackupPath, Needs, Package
from mailwright.model.role import Result
from roles import base

ARCHIVES = """\
Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 http://deb.example/debian-security trixie-security/main amd64 Packages
     release v=13,o=Debian,a=stable-security,n=trixie-security,l=Debian-Security,c=main,b=amd64
     origin deb.example
 500 http://deb.example/debian trixie/main amd64 Packages
     release v=13.7,o=Debian,a=stable,n=trixie,l=Debian,c=main,b=amd64
     origin deb.example
 500 https://packages.example/haproxy trixie/main amd64 Packages
     release o=Somebody,a=trixie,n=trixie,c=main,b=amd64
     origin packages.example
Pinned packages:
"""
DEBIAN = """\
unbound:
  Installed: 1.26.2-0+deb13u1
  Candidate: 1.26.2-0+deb13u1
  Version table:
 *** 1.26.2-0+deb13u1 500
        500 http://deb.example/debian-security trixie-security/main amd64 Packages
        100 /var/lib/dpkg/status
     1.22.0-2+deb13u3 500
        500 http://deb.example/debian trixie/main amd64 Packages
"""
OLDER = """\
postfix:
  Installed: 3.10.12-0+deb13u1
  Candidate: 3.10.13-0+deb13u1
  Version table:
     3.10.13-0+deb13u1 500
        500 http://deb.example/debian trixie/main amd64 Packages
 *** 3.10.12-0+deb13u1 100
        100 /var/lib/dpkg/status
"""
FOREIGN = """\
haproxy:
  Installed: 3.2.4-1~bpo13
  Candidate: 3.2.4-1~bpo13
  Version table:
 *** 3.2.4-1~bpo13 500
        500 https://packages.example/haproxy trixie/main amd64 Packages
        100 /var/lib/dpkg/status
     3.0.11-1 500
        500 http://deb.example/debian trixie/main amd64 Packages
"""
LOCAL = """\
curl:
  Installed: 99-local
  Candidate: 99-local
  Version table:
 *** 99-local 100
        100 /var/lib/dpkg/status
     8.14.1-2 500
        500 http://deb.example/debian trixie/main amd64 Packages
"""
MISSING = """\
nginx:
  Installed: (none)
  Candidate: 1.26.3-3
  Version table:
     1.26.3-3 500
        500 http://deb.example/debian trixie/main amd64 Packages
"""


@pytest.fixture
def checks(plan_of):
    """Returns a function: settings of base and other needs to the checks, by name."""

    def named(settings=None, needs=None):
        plan = plan_of(base.ROLE, settings={"base": settings or {}}, needs=needs)
        return {check.name: check for _, check in plan.checks()}

    return named


def judged(check, stdout, stderr=""):
    return check.judge(Result(0, stdout, stderr))


@pytest.mark.parametrize(
    ("packages", "found"),
    [
        (DEBIAN, None),
        (DEBIAN + OLDER + MISSING, None),  # an upgrade that is due is no stranger
        (
            DEBIAN + FOREIGN,
            "haproxy 3.2.4-1~bpo13 is from https://packages.example/haproxy trixie/main amd64",
        ),
        (LOCAL + DEBIAN, "curl 99-local is from no archive"),
    ],
)
def test_a_package_that_is_not_debians_is_named(checks, packages, found):
    said = judged(checks()["packages come from Debian"], f"{ARCHIVES}\n{packages}")
    assert said is None if found is None else said.startswith(found)


def test_without_lists_nobody_can_tell_where_packages_come_from(checks):
    alone = "Package files:\n 100 /var/lib/dpkg/status\n     release a=now\nPinned packages:\n"
    with pytest.raises(UnknownError, match="no package lists"):
        judged(checks()["packages come from Debian"], f"{alone}\n{LOCAL}")


def test_a_second_answer_that_is_empty_is_unknown(checks):
    with pytest.raises(UnknownError, match="of no package"):
        judged(checks()["packages come from Debian"], f"{ARCHIVES}\n", "Killed")


def test_a_package_of_a_pinned_version_is_the_operators_choice(checks):
    needs = Needs(packages=(Package("haproxy"), Package("nginx")))
    asked = checks({"pins": {"haproxy": "3.2.*"}}, needs)["packages come from Debian"].command.split()
    assert "nginx" in asked
    assert "haproxy" not in asked


HEAD = "   1B-blocks       Avail   Inodes    IFree Mounted on\n"
ROOT = "270553174016 74001920000 16777216 15964153 /\n"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (ROOT + ROOT, None),
        ("270553174016 2147483648 16777216 15964153 /\n", None),
        ("270553174016 2147483647 16777216 15964153 /\n", "/ has 2047 MiB left of 258019"),
        ("67108864 6710886 16384 8000 /var/spool\n", None),
        ("67108864 6710000 16384 8000 /var/spool\n", "/var/spool has 6 MiB left of 64"),
        ("270553174016 74001920000 16777216 49999 /srv\n", "/srv has 49999 inodes left of 16777216"),
        ("270553174016 74001920000 0 0 /srv\n", None),  # btrfs makes inodes as it goes
        ("270553174016 74001920000 - - /srv\n", None),
    ],
)
def test_a_file_system_needs_a_tenth_or_two_gibibytes(checks, row, found):
    assert judged(checks()["disks have room"], HEAD + row) == found


def test_the_room_is_asked_for_where_there_is_something_to_keep(checks):
    asked = checks(needs=Needs(backups=(BackupPath("/srv/mail", "replies"),)))["disks have room"].command
    assert {"/", "/var/log", "/srv/mail"} <= set(asked.split())


def test_a_df_that_says_nothing_is_unknown(checks):
    with pytest.raises(UnknownError):
        judged(checks()["disks have room"], "")


@pytest.mark.parametrize(("text", "well"), [("256\n", True), ("64\n", True), ("17\n", False)])
def test_entropy_is_counted(checks, text, well):
    assert (judged(checks()["random numbers do not run out"], text) is None) == well


def test_a_kernel_that_does_not_say_is_unknown(checks):
    with pytest.raises(UnknownError):
        judged(checks()["random numbers do not run out"], "", "No such file or directory")


@pytest.mark.parametrize(
    ("asked", "seen", "well"),
    [(0, 0, True), (-240, -200, True), (-240, 0, True), (0, -61, False), (-240, -301, False), (0, 61, False)],
)
def test_the_clock_may_be_read_at_any_time_while_the_machine_is_asked(asked, seen, well):
    """A busy machine answers after minutes; `asked` and `seen` are seconds from now."""
    now = time.time()
    found = base._clock(Result(0, f"{now + seen}\n", "", now + asked))
    assert (found is None) == well
    assert base._clock(Result(0, f"{now}\nLeap status     : Not synchronised\n", "", now))

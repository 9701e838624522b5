"""What apt's, dpkg's and needrestart's words are taken for. The simulations are apt 2.6's, shortened."""

from __future__ import annotations

import pytest

from mailwright.model.needs import Needs, Package
from mailwright.model.role import Result
from mailwright.upgrading import release
from mailwright.upgrading.pending import questions, read
from mailwright.upgrading.reboots import foreseen, owed

BASH = "Inst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.15/oldstable [amd64])\n"
XZ = "Inst xz-utils [5.4.1-1] (5.4.1-1+deb12u2 Debian-Security:12/oldstable-security [amd64]) []\n"
# In a point release and in the security archive as well.
GCRYPT = (
    "Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, "
    "Debian-Security:12/oldstable-security [amd64])\n"
)
KERNEL = "Inst linux-image-6.1.0-41-amd64 (6.1.158-1 Debian:12.15/oldstable [amd64])\n"
POSTFIX = "Inst postfix [3.7.10-0] (3.7.11-0 Debian:12.15/oldstable [amd64])\n"
FREE = "      Avail Mounted on\n900000000 /\n900000000 /\n900000000 /boot\n"
KERNEL_UP_TO_DATE = "NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 1\n"


def answers(upgrade="", *, status=0, **said):
    """A machine's answers: nothing is pending but what `upgrade` has, unless `said` has more."""
    found = dict.fromkeys(questions(), "")
    found |= {"release": "debian 12\n", "upgrade": upgrade, "everything": upgrade, "free": FREE}
    found |= {"stale": KERNEL_UP_TO_DATE} | said
    results = {key: Result(0, text, "") for key, text in found.items()}
    return results | {"upgrade": Result(status, found["upgrade"], said.get("stderr", ""))}


def test_updates_have_their_versions_and_say_whether_they_mend_a_security_problem():
    found = read("out1", answers(BASH + XZ + GCRYPT + KERNEL))
    assert [(u.name, u.old, u.new, u.security) for u in found.updates] == [
        ("bash", "5.2.15-2+b8", "5.2.15-2+b13", False),
        ("libgcrypt20", "1.10.1-3", "1.10.1-3+deb12u1", True),
        ("linux-image-6.1.0-41-amd64", "", "6.1.158-1", False),
        ("xz-utils", "5.4.1-1", "5.4.1-1+deb12u2", True),
    ]
    assert [u.name for u in found.only(security=True).updates] == ["libgcrypt20", "xz-utils"]
    assert not found.problem


def test_a_point_release_that_supersedes_a_security_update_mends_it_as_well():
    superseded = "Inst bash [5.2.15-2+b8] (5.2.15-2+b9 Debian-Security:12/oldstable-security [amd64])\n"
    (bash,) = read("out1", answers(BASH, security=superseded)).updates
    assert (bash.new, bash.security) == ("5.2.15-2+b13", True)


def test_a_machine_without_a_security_archive_has_updates_all_the_same():
    said = answers(BASH) | {"security": Result(100, "", "E: The value 'x' is invalid")}
    assert [u.security for u in read("out1", said).updates] == [False]


def test_what_is_held_is_named_and_stays():
    full = BASH + "Remv exim4-base [4.96-15]\n" + POSTFIX
    found = read("out1", answers(BASH, everything=full, held="postfix\n"))
    assert [u.name for u in found.updates] == ["bash"]
    assert [(u.name, u.new) for u in found.held] == [("postfix", "3.7.11-0")]
    assert (found.kept_back, found.removed) == ((), ())


def test_what_needs_a_removal_is_kept_back_until_that_is_named():
    full = BASH + "Remv exim4-base [4.96-15]\n" + POSTFIX
    found = read("out1", answers(BASH, everything=full))
    assert (found.kept_back, found.removed) == (("postfix",), ("exim4-base",))
    assert [u.name for u in read("out1", answers(BASH, everything=full), ["bash"]).updates] == ["bash"]
    named = read("out1", answers(BASH, everything=full), ["exim4-base"])
    assert [u.name for u in named.updates] == ["bash", "postfix"]
    assert named.kept_back == ()


def test_a_full_disk_is_seen_before_anything_is_unpacked():
    sizes = "old 1000\nnew 1000\nnew 500000\nget 300000000\n"
    found = read("out1", answers(BASH, sizes=sizes))
    assert found.download == 300_000_000
    # 300 MB to fetch, and twice the 500,000 KiB: grown by, and once more while dpkg unpacks it.
    assert found.problem.startswith("/ has 900.0 MB free, and the upgrade needs 1391.1 MB: make room there")
    assert not read("out1", answers(BASH, sizes="old 1000\nnew 1000\nget 300000000\n")).problem


def test_a_new_kernel_needs_room_below_boot():
    small = FREE.replace("900000000 /boot", "150000000 /boot")
    assert read("out1", answers(KERNEL, free=small)).problem.startswith("/boot has 150.0 MB free")
    assert not read("out1", answers(BASH, free=small)).problem


@pytest.mark.parametrize("free", ["", "  Avail Mounted on\n"])
def test_a_machine_that_does_not_know_its_room_is_not_upgraded_blindly(free):
    assert "free space" in read("out1", answers(BASH, free=free)).problem


def test_apt_s_own_complaint_is_the_problem():
    said = answers(status=100, stderr="E: Unmet dependencies. Try 'apt --fix-broken install'\n")
    assert read("out1", said).problem == "apt: Unmet dependencies. Try 'apt --fix-broken install'"


def test_an_interrupted_dpkg_is_no_problem_because_it_is_put_right():
    said = answers(status=100, stderr="E: dpkg was interrupted\n", dpkg="/var/lib/dpkg/updates/0001\n")
    found = read("out1", said)
    assert (found.interrupted, found.problem) == (True, "")


def test_a_bare_machine_is_for_apply():
    said = answers(BASH) | {"release": Result(1, "debian 12\n", "")}
    assert read("out1", said).problem == "it has not been deployed: mailwright apply comes first"


def test_an_answer_that_broke_off_is_none():
    said = answers(BASH)
    del said["stale"]
    assert read("out1", said).problem == "it was not asked to the end (stale)"


@pytest.mark.parametrize(
    ("marker", "needrestart", "reboot", "restarts"),
    [
        ("", KERNEL_UP_TO_DATE, (), ()),
        ("linux-image-6.1.0-41-amd64\ndbus\ndbus\nMARKER\n", "", ("linux-image-6.1.0-41-amd64", "dbus"), ()),
        ("MARKER\n", "", ("/run/reboot-required",), ()),
        ("dbus\n", "", (), ()),
        ("", "NEEDRESTART-KSTA: 3\n", ("another kernel",), ()),
        ("", "NEEDRESTART-KSTA: 0\nNEEDRESTART-SVC: dbus.service\n", (), ("dbus.service",)),
    ],
)
def test_what_a_reboot_or_a_restart_is_owed_for(marker, needrestart, reboot, restarts):
    found = owed(marker, needrestart)
    assert (found.reboot, found.restarts) == (reboot, restarts)


def test_a_reboot_is_foreseen_for_kernels_and_for_what_cannot_be_restarted():
    names = ["bash", "linux-image-6.1.0-41-amd64", "libc6", "dbus", "intel-microcode", "libc6-dev"]
    assert foreseen(names) == ("linux-image-6.1.0-41-amd64", "libc6", "dbus", "intel-microcode")


# --- from one release to the next

NEEDS = Needs(packages=(Package("postfix"), Package("dovecot-core")))


def ahead(state="12\n", upgrade=POSTFIX, *, fetch=0, origins="Debian bookworm deb.example\n", **said):
    more = {"state": state, "origins": origins, "fetch": "", "tidy": ""}
    found = answers(upgrade, **said) | {key: Result(0, text, "") for key, text in more.items()}
    found["fetch"] = Result(fetch, "E: Failed to fetch\n" if fetch else "", "")
    return release.read_ahead("out2", 13, found, NEEDS)


def test_a_change_of_release_shows_what_it_would_do():
    found = ahead()
    assert ([u.name for u in found.updates], found.problem) == (["postfix"], "")


def test_a_machine_that_is_there_has_nothing_pending():
    assert not ahead("13\n").updates


def test_a_change_that_was_killed_is_gone_on_with():
    found = ahead("13 changing\n", "", origins="Debian bookworm x\nDebian trixie x\n")
    assert (found.interrupted, found.problem) == (True, "")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"state": "11\n"}, "it runs Debian 11; the way to 13 is from 12"),
        ({"fetch": 100}, "the lists of Debian 13 cannot be fetched: E: Failed to fetch"),
        ({"held": "bash\n", "everything": POSTFIX + BASH}, "held: bash: take that out of `hold`"),
        ({"origins": "Debian bookworm x\nOther stable y.example\n"}, "not Debian's own: Other stable"),
        ({"origins": "Debian bookworm x\nDebian sid y.example\n"}, "not Debian's own: Debian sid"),
        (
            {"upgrade": POSTFIX + "Remv dovecot-core [1:2.3.19]\n"},
            "Debian 13 would take dovecot-core away, which the machine needs",
        ),
    ],
)
def test_what_stands_in_the_way_of_another_release_is_said_before(said, problem):
    assert ahead(**said).problem.startswith(problem)

"""How a machine is handled: locks are waited for, a reboot is over when the machine says so."""

from __future__ import annotations

import base64
import fcntl
import re
import subprocess

import pytest

from mailwright.model.errors import ConvergeError, UnknownError
from mailwright.model.needs import Needs, Package, Unit
from mailwright.model.role import Result
from mailwright.upgrading import release, work
from mailwright.upgrading.hand import Hand
from mailwright.upgrading.pending import Pending, Update

BASH = Update("bash", "5.2-2", "5.2-1")


class Machine:
    """A machine that answers from lists; of the last answer it has as many as are asked for."""

    def __init__(self, *, locks=(), boots=(), **fixed):
        self.answers = {work.HOLDER: list(locks) or [""], work.BOOT: list(boots)}
        self.fixed, self.asked, self.said, self.now = fixed, [], [], 0.0

    def hand(self):
        return Hand("out1", self.run, self.said.append, lambda: self.now, self.pause)

    def pause(self, seconds):
        self.now += seconds

    def run(self, command):
        self.asked.append(command)
        if command in self.answers:
            left = self.answers[command]
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is None:
                raise UnknownError("connection refused")
            return Result(0, answer, "")
        return self.fixed.get("other", Result(0, "", ""))


def test_whoever_works_on_the_packages_is_named_once_and_waited_for():
    machine = Machine(locks=["unattended-upgr (process 812)"] * 3 + ["apt-get (process 9)", ""])
    machine.hand().upgrade(Pending("out1", (BASH,)))
    assert machine.said == [
        "out1: unattended-upgr (process 812) works on its packages: waiting for it",
        "out1: apt-get (process 9) works on its packages: waiting for it",
    ]
    assert machine.asked[-1] not in (work.HOLDER, work.BOOT)


def test_a_lock_that_is_never_given_back_is_told():
    machine = Machine(locks=["dpkg (process 7)"])
    with pytest.raises(ConvergeError, match=r"^after 1800 s dpkg \(process 7\) still works on the packages"):
        machine.hand().upgrade(Pending("out1", (BASH,)))


def test_the_holder_of_a_lock_is_found(tmp_path):
    """The program itself, on a lock file of the test's own."""
    lock = tmp_path / "lock"
    lock.touch()
    probe = work.HOLDER.replace("/run/unattended-upgrades.lock", str(lock))

    def holder():
        return subprocess.run(["sh", "-c", probe], capture_output=True, text=True, check=True).stdout

    assert str(lock) in probe
    with lock.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert re.fullmatch(r"\S+ \(process \d+\)\n", holder())
    assert not re.search(r"python|pytest", holder())


def test_a_reboot_is_over_when_another_boot_says_that_it_has_settled():
    boots = ["aaa\nrunning\n", "aaa\nstopping\n", None, None, "bbb\nstarting\n", "bbb\ndegraded\n"]
    machine = Machine(boots=boots)
    machine.hand().reboot()
    assert machine.now == 5
    assert "systemctl --no-block reboot" in machine.asked


def test_a_machine_that_never_goes_down_has_not_rebooted():
    machine = Machine(boots=["aaa\nrunning\n"])
    with pytest.raises(ConvergeError, match="600 s after it was told to reboot systemd says it is running"):
        machine.hand().reboot()


def test_a_machine_that_does_not_come_back_is_told():
    machine = Machine(boots=["aaa\nrunning\n", None])
    with pytest.raises(ConvergeError, match="it does not answer: look at its console"):
        machine.hand().reboot()


def test_lists_that_cannot_be_fetched_are_a_problem_with_apt_s_own_words():
    machine = Machine(other=Result(100, "Err:1 x\nE: Failed to fetch http://deb.example/InRelease\n", ""))
    found = machine.hand().look(refresh=True)
    assert found.problem == (
        "its package lists cannot be fetched: Failed to fetch http://deb.example/InRelease"
    )


def test_dpkg_s_error_goes_before_apt_s():
    said = (
        "Setting up dovecot-core ...\ndpkg: error processing package dovecot-core (--configure):\n"
        " post-installation script subprocess returned error exit status 1\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    with pytest.raises(ConvergeError) as error:
        Machine(other=Result(1, "", said)).hand().upgrade(Pending("out1", (BASH,)))
    assert str(error.value) == (
        "dpkg: error processing package dovecot-core (--configure): post-installation script subprocess"
        " returned error exit status 1"
    )


def test_a_machine_that_does_not_answer_has_a_problem():
    machine = Machine(locks=[None])
    assert machine.hand().look().problem == "connection refused"


# --- the shell text


def test_an_upgrade_heals_dpkg_only_where_it_was_interrupted():
    assert "--configure -a" in work.upgrading(Pending("out1", interrupted=True))
    assert "--configure -a" not in work.upgrading(Pending("out1", (BASH,)))


def test_security_alone_installs_these_versions_and_removes_nothing():
    text = work.upgrading(Pending("out1", (BASH,)), security=True)
    assert "run_apt --only-upgrade --no-remove install bash=5.2-2 || show" in text
    assert "apt-mark auto $auto" in text


def test_a_removal_happens_only_by_name():
    pending = Pending("out1", (BASH,), removed=("exim4-base",))
    assert "dist-upgrade" not in work.upgrading(pending)
    assert "dist-upgrade" not in work.upgrading(pending, ["other"])
    assert "run_apt dist-upgrade || show" in work.upgrading(pending, ["exim4-base"])


@pytest.mark.parametrize(
    "text",
    [
        work.upgrading(Pending("out1", (BASH,), removed=("a",), interrupted=True), ["a"]),
        work.upgrading(Pending("out1", (BASH,)), security=True),
        release.changing(13, Needs(packages=(Package("postfix"),))),
        *release.questions(13).values(),
    ],
)
def test_what_a_machine_runs_is_shell(text):
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    ("unit", "status"),
    [("dovecot", 101), ("dovecot.service", 101), ("ssh.service", 0), ("new.service", 101), ("old", 0)],
)
def test_daemons_with_a_configuration_of_before_stay_as_they_are(tmp_path, unit, status):
    """The policy that packages ask, as a change of release puts it there; `systemctl` is the test's own."""
    needs = Needs(units=(Unit("dovecot.service", reads=("/etc/x",)), Unit("ssh.service", reads=("/etc/y",))))
    text = release.changing(13, needs)
    coded = re.search(r"base64 -d >[^\n]*<<'MAILWRIGHT'\n(.*?)\nMAILWRIGHT", text, re.DOTALL)[1]
    policy = base64.b64decode(coded).decode().replace("/run/mailwright/upgrading", str(tmp_path / "ran"))
    (tmp_path / "ran").write_text("old.service\ndovecot.service\nssh.service\n")
    (tmp_path / "systemctl").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "systemctl").chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-s", unit, "start"], input=policy, text=True, env=path, check=False)
    assert done.returncode == status

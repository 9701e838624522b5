"""Packages: what is missing or broken, and the apt run, with pretend programs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailwright.converge.packages import apply, decide
from mailwright.model.needs import Package
from mailwright.observe import PackageState, parse
from mailwright.observe.places import POLICY, POLICY_MARK
from mailwright.observe.script import FOOTER, HEADER

EMPTY = parse(f"{HEADER}\nclock 1.0\nuptime 1.0\nuid 0\npath d root root 755 1.0 1.0 /\n{FOOTER}\n")
PACKAGES = (Package("postfix"), Package("unbound"))


def seen(broken=(), *, interrupted=False, **states):
    packages = {name: PackageState("1.0", status) for name, status in states.items()}
    return replace(EMPTY, packages=packages, broken=tuple(broken), interrupted=interrupted)


@pytest.mark.parametrize("status", ["ii", "hi"])
def test_what_is_installed_needs_nothing(status):
    assert not decide(PACKAGES, seen(postfix=status, unbound=status))


@pytest.mark.parametrize("status", ["rc", "iF", "iU", "iHR"])
def test_what_is_not_quite_there_is_missing(status):
    assert decide(PACKAGES, seen(postfix=status, unbound="ii")).missing == ("postfix",)


def test_a_broken_package_of_anybody_is_healed():
    plan = decide(PACKAGES, seen(broken=["other"], postfix="ii", unbound="ii", other="iHR"))
    assert (plan.missing, plan.heal, plan.reinstall) == ((), True, ("other",))


def test_an_interrupted_dpkg_is_healed():
    assert decide(PACKAGES, seen(postfix="ii", unbound="ii", interrupted=True)).heal


@pytest.fixture
def debian(sandbox):
    """Pretend apt-get and dpkg; apt-get fails while a file says how often."""
    sandbox.pretend(
        "apt-get",
        f"""echo "Reading package lists..."
case " $* " in *" install "*) ;; *) exit 0 ;; esac
cp {sandbox.root}{POLICY} {sandbox.root}/policy-during 2>/dev/null || :
if [ -s {sandbox.root}/fail ]; then
  sed -i 1d {sandbox.root}/fail
  echo 'E: Failed to fetch postfix.deb'
  exit 100
fi""",
    )
    sandbox.pretend("dpkg", "")
    return sandbox


def acts(host):
    """The verbs of apt-get and dpkg, with the packages."""
    options = ("-", "DPkg::", "Dpkg::")
    calls = [c.split()[1:] for c in host.called()]
    return [" ".join(word for word in call if not word.startswith(options)) for call in calls]


def test_one_run_installs_all(debian):
    assert debian.run(apply(decide(PACKAGES, seen()))).returncode == 0
    assert acts(debian) == ["update", "install postfix unbound"]
    install = debian.called()[1]
    for option in ("--no-install-recommends", "--force-confold", "DPkg::Lock::Timeout=", "-y"):
        assert option in install


def test_lists_of_yesterday_are_worth_a_second_try(debian):
    (debian.root / "fail").write_text("once\n")
    assert debian.run(apply(decide(PACKAGES, seen()))).returncode == 0
    assert acts(debian) == ["update", "install postfix unbound", "update", "install postfix unbound"]


def test_a_failure_shows_the_end_of_what_apt_said(debian):
    (debian.root / "fail").write_text("once\ntwice\n")
    done = debian.run(apply(decide(PACKAGES, seen())))
    assert done.returncode == 1
    assert "E: Failed to fetch postfix.deb" in done.stderr


def test_healing_comes_first(debian):
    debian.run(apply(decide(PACKAGES, seen(broken=["other"], other="iHR", unbound="ii"))))
    assert debian.called()[0] == "dpkg --configure -a"
    assert acts(debian)[1:] == ["install other", "install", "update", "install postfix"]


class TestNoDaemonStartsByItself:
    def policy(self, host):
        return host.root / POLICY.removeprefix("/")

    def test_while_apt_runs_and_not_after(self, debian):
        debian.run(apply(decide(PACKAGES, seen())))
        assert POLICY_MARK in (debian.root / "policy-during").read_text()
        assert not self.policy(debian).exists()

    def test_not_even_after_a_failure(self, debian):
        (debian.root / "fail").write_text("once\ntwice\n")
        debian.run(apply(decide(PACKAGES, seen())))
        assert not self.policy(debian).exists()

    def test_somebody_else_s_policy_stays(self, debian):
        self.policy(debian).write_text("#!/bin/sh\nexit 101\n")
        debian.run(apply(decide(PACKAGES, seen())))
        assert self.policy(debian).read_text() == "#!/bin/sh\nexit 101\n"

    def test_one_of_ours_that_was_left_behind_goes(self, debian):
        self.policy(debian).write_text(f"#!/bin/sh\n{POLICY_MARK}\n")
        debian.run(apply(decide(PACKAGES, seen())))
        assert not self.policy(debian).exists()

    @pytest.mark.parametrize(("active", "status"), [(0, 0), (3, 101)])
    def test_what_runs_may_be_restarted(self, debian, active, status):
        """So that an upgraded library is taken up. 101 forbids (invoke-rc.d(8))."""
        debian.run(apply(decide(PACKAGES, seen())))
        debian.pretend("systemctl", f"exit {active}")
        policy = debian.root / "policy-during"
        assert debian.run(f"sh {policy} postfix.service restart || exit $?").returncode == status

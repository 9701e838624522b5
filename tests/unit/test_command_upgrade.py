"""What `mailwright upgrade` makes of a fleet: what is shown, who is asked about, order, failure, resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from mailwright.command import main, suites, turns, upgrade, upgrading
from mailwright.model.errors import ConvergeError
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.rolling.terms import ROLLING, Terms
from mailwright.upgrading.pending import Pending, Update
from mailwright.upgrading.reboots import Owed
from tests.unit.rolling_world import World, fleet
from tests.unit.test_command_rolling import Desk, FakeRun

SSL = Update("libssl3", "3.0.18", "3.0.17", security=True)
BASH = Update("bash", "5.2-2", "5.2-1")


class Machines(Desk):
    """A pretended fleet whose machines have packages; nothing is left to be deployed to them."""

    def __init__(self, world):
        super().__init__(world)
        self.pending = {m.name: Pending(m.name, (BASH, SSL)) for m in world.fleet.machines}
        self.new = set(self.pending)
        self.after = {}
        """What a machine owes once it is upgraded."""
        self.broken = {}
        """Machines on which apt fails, with its word."""
        self.later = {}
        """What comes up for a machine once the first of all is upgraded."""

    def hand(self, _site, name):
        return FakeHand(self, name)


class FakeHand:
    def __init__(self, desk, name):
        self.desk, self.name = desk, name

    def look(self, _removable=(), *, refresh=False):
        if refresh:
            self.desk.log.append(f"refresh {self.name}")
        return self.desk.pending[self.name]

    def upgrade(self, pending, _removable, *, security):
        names = " ".join(update.name for update in pending.updates)
        self.desk.log.append(f"upgrade {self.name}: {names}")
        assert not security or all(update.security for update in pending.updates)
        self.desk.pending |= self.desk.later
        if self.name in self.desk.broken:
            raise ConvergeError(self.desk.broken[self.name])
        old = self.desk.pending[self.name]
        left = tuple(update for update in old.updates if update not in pending.updates)
        self.desk.pending[self.name] = replace(
            old, updates=left, owed=self.desk.after.get(self.name, Owed()), interrupted=False
        )

    def reboot(self):
        self.desk.log.append(f"reboot {self.name}")
        self.desk.pending[self.name] = replace(self.desk.pending[self.name], owed=Owed())


@pytest.fixture
def desk(tmp_path, monkeypatch):
    made = Machines(World(fleet()))
    site = Site(made.world.fleet, (), GivenSecrets({}))
    (tmp_path / "prod.py").touch()
    (tmp_path / "prod.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(upgrade, "open_site", lambda _: site)
    monkeypatch.setattr(upgrading, "hand_of", made.hand)
    monkeypatch.setattr(upgrading, "Run", lambda _r, _s, machines, **more: FakeRun(made, machines, **more))
    monkeypatch.setattr(upgrading, "repository", lambda _: tmp_path)
    monkeypatch.setattr(turns, "traffic_of", lambda _: made.world.traffic())
    monkeypatch.setattr(suites, "verified", made.verified)
    return made


def run(*arguments):
    return main.run(["upgrade", "prod.yaml", *arguments])


def work(desk):
    return [line for line in desk.log if not line.startswith("refresh")]


def test_machines_take_turns_the_standby_first_and_those_without_a_balancer_last(desk, capsys):
    assert run("--yes") == 0
    order = "in this order: lb2, then lb1, then out1, then out2, then out3, then mx1, then util1"
    assert order in capsys.readouterr().out
    assert work(desk) == [
        f"upgrade {m}: bash libssl3" for m in ("lb2", "lb1", "out1", "out2", "out3", "mx1", "util1")
    ]
    assert desk.world.traffic().out() == {}


def test_what_is_pending_is_shown_before_anything_is_asked(desk, capsys, monkeypatch):
    desk.pending["out1"] = Pending(
        "out1",
        (BASH, SSL, Update("libc6", "2.36-10", "2.36-9")),
        held=(Update("postfix", "3.7.12", "3.7.11"),),
        kept_back=("foo",),
        removed=("bar",),
        download=41_200_000,
        owed=Owed(restarts=("dovecot.service",)),
    )
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: (_ for _ in ()).throw(typer.Abort()))
    assert run("--limit", "out1") == main.INTERRUPTED
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()][:8] == [
        "out1  3 packages to upgrade (1 for security), 41.2 MB to fetch, a reboot is likely (libc6)",
        "  bash     5.2-1 -> 5.2-2",
        "  libssl3  3.0.17 -> 3.0.18   for security",
        "  libc6    2.36-9 -> 2.36-10",
        "  postfix  3.7.11 -> 3.7.12   held: it stays",
        "  kept back: foo: would take bar away (--remove bar)",
        "  run on libraries of before: dovecot.service",
        "in this order: out1",
    ]
    assert work(desk) == []


def test_a_plan_for_programs_does_nothing_and_says_by_its_status_whether_there_is_work(desk, capsys):
    assert run("--json", "--limit", "out1") == 2
    (plan,) = json.loads(capsys.readouterr().out)
    assert plan["updates"][1] == {"package": "libssl3", "from": "3.0.17", "to": "3.0.18", "security": True}
    desk.pending["out1"] = Pending("out1")
    assert run("--json", "--limit", "out1") == 0
    desk.pending["out1"] = Pending("out1", problem="no route to host")
    assert run("--json", "--limit", "out1") == 1
    assert work(desk) == []


def test_a_second_run_finds_nothing_to_do(desk, capsys):
    assert run("--yes", "--limit", "sending") == 0
    desk.log.clear()
    desk.world.log.clear()
    assert run("--limit", "sending") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "nothing to do"
    assert work(desk) == desk.world.log == []


def test_security_alone_leaves_the_rest(desk):
    assert run("--yes", "--security", "--limit", "out1") == 0
    assert work(desk) == ["upgrade out1: libssl3"]


def test_a_red_suite_stops_the_run_with_the_machine_drained_and_the_others_untouched(desk, capsys):
    desk.red = {"out1": ("fail", "check-x", "silence")}
    assert run("--yes", "--security", "--limit", "sending") == 1
    said = capsys.readouterr()
    assert "out1  failed  1 package upgraded" in said.out
    assert said.err.splitlines()[-6:] == [
        "out1: the suite is failed: out1: check-x (declared by postfix): silence",
        "not begun: out2, out3",
        "drained: out1; the others serve",
        "to look at it: mailwright verify prod.yaml --limit out1",
        "to take it back as it is: mailwright undrain prod.yaml out1",
        "to go on, once it is mended: mailwright upgrade --security prod.yaml",
    ]
    assert work(desk) == ["upgrade out1: libssl3"]


def test_what_apt_says_stops_the_run_and_the_next_one_goes_on(desk, capsys):
    desk.broken = {"out1": "Sub-process /usr/bin/dpkg returned an error code (1)"}
    assert run("--yes", "--limit", "sending") == 1
    assert "out1: Sub-process /usr/bin/dpkg returned an error code (1)" in capsys.readouterr().err
    assert set(desk.world.traffic().out()) == {"out1"}
    desk.broken = {}
    assert run("--yes", "--limit", "sending") == 0
    assert desk.world.traffic().out() == {}


def test_a_machine_that_a_killed_run_left_is_proved_and_taken_back_though_nothing_is_pending(desk, capsys):
    desk.pending = {name: Pending(name) for name in desk.pending}
    desk.world.traffic().leave(["out2"], Terms(ROLLING))
    assert run("--yes") == 0
    assert "out2  was left drained by a run that was stopped: it is gone on with" in capsys.readouterr().out
    assert desk.world.traffic().out() == {}
    assert work(desk) == []


def test_a_machine_reboots_once_its_packages_and_its_deploy_are_done(desk):
    desk.after = {"out1": Owed(reboot=("linux-image-6.1.0-41-amd64",))}
    desk.new.discard("out1")
    assert run("--yes", "--limit", "out1") == 0
    assert work(desk) == ["upgrade out1: bash libssl3", "deploy out1", "reboot out1"]


def test_a_unit_that_nobody_can_restart_asks_for_a_reboot(desk):
    desk.after = {"out1": Owed(restarts=("dbus.service",))}
    assert run("--yes", "--limit", "out1") == 0
    assert work(desk)[-1] == "reboot out1"


def test_a_reboot_that_is_owed_is_work_even_without_packages(desk):
    desk.pending["out1"] = Pending("out1", owed=Owed(reboot=("dbus",)))
    assert run("--yes", "--limit", "out1") == 0
    assert work(desk) == ["reboot out1"]


def test_a_reboot_that_is_not_wanted_stays_owed_and_is_said(desk, capsys):
    desk.after = {"out1": Owed(reboot=("dbus",))}
    assert run("--yes", "--limit", "out1", "--reboot", "never") == 0
    assert "out1: a reboot is owed (dbus)" in capsys.readouterr().err
    assert work(desk) == ["upgrade out1: bash libssl3"]


def test_who_stands_alone_is_asked_about_and_may_be_left_out(desk, capsys, monkeypatch):
    asked = []

    def confirm(question, **_):
        asked.append(question)
        return not question.startswith("mx1")

    monkeypatch.setattr(typer, "confirm", confirm)
    assert run() == 0
    assert [question.partition(":")[0] for question in asked] == [
        "mx1 serves incoming alone",
        "no balancer stands before util1",
        "Do this?",
    ]
    assert "upgrade mx1: bash libssl3" not in desk.log
    assert work(desk)[-1] == "upgrade util1: bash libssl3"
    assert "mx1" not in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.usefixtures("desk")
def test_a_batch_holds_no_machine_that_stands_alone(capsys):
    assert run("--yes", "--batch", "2") == 0
    assert "then out1 and out2, then out3, then mx1, then util1" in capsys.readouterr().out


def test_other_updates_than_were_shown_are_not_installed(desk, capsys):
    newer = Update("libssl3", "3.0.19", "3.0.17", security=True)
    desk.later = {"out2": Pending("out2", (BASH, newer))}
    assert run("--yes", "--limit", "sending") == 1
    assert "out2: other updates are due than were shown (libssl3=3.0.19)" in capsys.readouterr().err
    assert work(desk) == ["upgrade out1: bash libssl3"]
    assert desk.world.traffic().out() == {}


def test_what_others_have_installed_meanwhile_is_no_surprise(desk):
    desk.later = {"out2": Pending("out2", (BASH,))}
    assert run("--yes", "--limit", "sending") == 0
    assert "upgrade out2: bash" in desk.log


@pytest.mark.usefixtures("desk")
def test_what_is_still_pending_after_the_upgrade_is_a_failure(capsys, monkeypatch):
    monkeypatch.setattr(FakeHand, "upgrade", lambda *_, **__: None)
    assert run("--yes", "--limit", "out1") == 1
    assert "out1: still to be upgraded after the upgrade: bash, libssl3" in capsys.readouterr().err


@pytest.mark.parametrize("problem", ["no route to host", "apt: Unmet dependencies."])
def test_nothing_begins_while_a_machine_cannot_be_upgraded(desk, capsys, problem):
    desk.pending["out2"] = Pending("out2", problem=problem)
    assert run("--yes", "--limit", "sending") == 1
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"out2  cannot be upgraded: {problem}",
        "out2 cannot be planned, so that nothing was begun; to leave that out: --limit out1 --limit out3",
    ]
    assert work(desk) == desk.world.log == []


def test_what_is_to_be_deployed_anyway_is_shown_and_done(desk, capsys):
    desk.new.discard("out1")
    assert run("--yes", "--limit", "out1") == 0
    assert "  greeter: files" in capsys.readouterr().out
    assert work(desk) == ["upgrade out1: bash libssl3", "deploy out1"]


def test_another_command_on_the_same_fleet_is_not_disturbed(desk, capsys):
    with upgrade.alone(Path("prod.yaml")):
        assert run("--yes", "--limit", "out1") == 1
    assert "is at work on this fleet" in capsys.readouterr().err
    assert work(desk) == []


def test_a_change_of_release_that_the_file_says_of_nobody_is_refused(desk, capsys, monkeypatch):
    machines = tuple(m.model_copy(update={"debian": 12}) for m in desk.world.fleet.machines)
    old = desk.world.fleet.model_copy(update={"machines": machines})
    monkeypatch.setattr(upgrade, "open_site", lambda _: Site(old, (), GivenSecrets({})))
    assert run("--release", "13", "--yes") == 1
    assert "say `debian: 13` in its entry first" in capsys.readouterr().err
    assert desk.log == []

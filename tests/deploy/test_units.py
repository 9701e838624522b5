"""When a unit is started, restarted or reloaded, and that none of it can be lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailwright.converge.units import apply, covers, decide, unit_files
from mailwright.model.needs import Absent, File, Needs, Unit
from mailwright.observe import Observation, PathState, UnitState
from mailwright.observe.places import taken, tombstone
from mailwright.observe.script import described, script

BEGAN = 1000.0
RUNNING = UnitState(
    load="loaded",
    active="active",
    sub="running",
    file_state="enabled",
    type="simple",
    result="success",
    stale=False,
    remains=False,
    began=BEGAN,
    taken=None,
)
NAME = "mail.service"


def observation(state=RUNNING, name=NAME, **ctimes):
    paths = {p: PathState("file", "root", "root", 0o644, t, t, "0" * 64) for p, t in ctimes.items()}
    return Observation(
        clock=2000.0, uid=0, distribution="debian", release="12", container="", paths=paths,
        packages={}, broken=(), interrupted=False, our_policy=False, users={}, groups={}, sysctls={},
        units={name: state} if state else {}, tests={},
    )  # fmt: skip


def changed(**fields):
    return UnitState(**{**vars(RUNNING), **fields})


def verbs(unit, seen, merged=None, pending=()):
    plan = decide([unit], merged or Needs(), seen, frozenset(pending))
    return plan.steps[0].verbs if plan.steps else ()


FILES = Needs(files=tuple(File(p, b"") for p in ("/etc/mail/a.conf", "/etc/mail/sub/b.conf", "/etc/other")))
NOT_THERE = {"load": "not-found", "active": "inactive", "file_state": "", "began": None}
MASKED = {"file_state": "masked", "active": "inactive", "began": None}
READS = Unit(NAME, reads=("/etc/mail",))


@pytest.mark.parametrize(
    ("state", "unit", "wanted"),
    [
        (RUNNING, Unit(NAME), ()),
        (None, Unit(NAME), ("enable", "start")),
        (changed(**NOT_THERE), Unit(NAME), ("enable", "start")),
        (changed(file_state="disabled"), Unit(NAME), ("enable",)),
        (changed(file_state="static"), Unit(NAME), ()),
        (changed(file_state="generated"), Unit(NAME), ()),
        (changed(file_state="enabled-runtime"), Unit(NAME), ()),
        (RUNNING, Unit(NAME, enabled=False), ("disable",)),
        (RUNNING, Unit(NAME, running=False), ("stop",)),
        (changed(active="inactive"), Unit(NAME), ("start",)),
        (changed(active="failed"), Unit(NAME), ("start",)),
        (changed(active="activating", sub="auto-restart"), Unit(NAME), ("restart",)),
        (changed(active="reloading"), Unit(NAME), ()),
        (changed(**MASKED), Unit(NAME), ("unmask", "enable", "start")),
        (RUNNING, Unit(NAME, masked=True), ("mask",)),
        (changed(file_state="masked"), Unit(NAME, masked=True), ("mask",)),
        (changed(file_state="masked", active="failed"), Unit(NAME, masked=True), ()),
        (None, Unit(NAME, masked=True), ("mask",)),
    ],
)  # fmt: skip
def test_what_a_unit_needs(state, unit, wanted):
    assert verbs(unit, observation(state)) == wanted


@pytest.mark.parametrize(
    ("ctimes", "wanted"),
    [
        ({}, ()),
        ({"/etc/mail/a.conf": BEGAN - 1}, ()),
        ({"/etc/mail/a.conf": BEGAN + 0.001}, ("restart",)),
        ({"/etc/mail/a.conf": BEGAN - 0.004}, ("restart",)),  # within the kernel's tick
        ({"/etc/mail/sub/b.conf": BEGAN + 1}, ("restart",)),
        ({"/etc/other": BEGAN + 1}, ()),
        ({"/etc/mailx/a.conf": BEGAN + 1}, ()),
        ({"/etc/systemd/system/mail.service.d/limits.conf": BEGAN + 1}, ("restart",)),
    ],
)
def test_a_restart_is_owed_to_what_is_newer(ctimes, wanted):
    merged = FILES + Needs(files=(File("/etc/systemd/system/mail.service.d/limits.conf", b""),))
    assert verbs(READS, observation(**ctimes), merged) == wanted


def test_a_file_that_no_role_writes_counts_when_it_is_named():
    unit = Unit(NAME, reads=("/var/lib/made-here.pem",))
    assert verbs(unit, observation(**{"/var/lib/made-here.pem": BEGAN + 1})) == ("restart",)


def test_a_removed_file_counts_by_its_mark():
    merged = Needs(absent=(Absent("/etc/mail/default.conf"),))
    seen = observation(**{tombstone("/etc/mail/default.conf"): BEGAN + 1})
    assert verbs(READS, seen, merged) == ("restart",)


def test_what_will_change_is_foreseen_with_its_reason():
    plan = decide([READS], FILES, observation(), frozenset({"/etc/mail/a.conf"}))
    assert plan.lines == (f"{NAME}: restart (/etc/mail/a.conf will change)",)


class TestReload:
    unit = Unit(NAME, reads=("/etc/mail",), reload=True)

    def test_a_read_file_is_taken_by_reload(self):
        assert verbs(self.unit, observation(**{"/etc/mail/a.conf": BEGAN + 1}), FILES) == ("reload",)

    def test_a_reload_since_then_is_enough(self):
        seen = observation(changed(taken=BEGAN + 2), **{"/etc/mail/a.conf": BEGAN + 1})
        assert verbs(self.unit, seen, FILES) == ()

    def test_a_reload_before_then_is_not(self):
        seen = observation(changed(taken=BEGAN + 1), **{"/etc/mail/a.conf": BEGAN + 2})
        assert verbs(self.unit, seen, FILES) == ("reload",)

    def test_a_mark_of_before_the_last_start_is_no_reason_to_reload(self):
        seen = observation(changed(taken=BEGAN - 5), **{"/etc/mail/a.conf": BEGAN - 1})
        assert verbs(self.unit, seen, FILES) == ()

    def test_its_own_unit_file_is_taken_by_restart(self):
        path = f"/etc/systemd/system/{NAME}"
        merged = Needs(files=(File(path, b""),))
        assert verbs(self.unit, observation(**{path: BEGAN + 1}), merged) == ("restart",)


class TestOneshot:
    done = changed(type="oneshot", active="inactive", sub="dead", file_state="static")

    def test_one_that_ran_is_left_alone(self):
        assert verbs(READS, observation(self.done), FILES) == ()

    def test_one_that_never_ran_is_run(self):
        assert verbs(READS, observation(changed(**{**vars(self.done), "began": None})), FILES) == ("start",)

    def test_one_that_failed_is_run_again(self):
        state = changed(**{**vars(self.done), "active": "failed", "result": "exit-code"})
        assert verbs(READS, observation(state), FILES) == ("start",)

    def test_one_that_reads_something_newer_is_run_again(self):
        assert verbs(READS, observation(self.done, **{"/etc/mail/a.conf": BEGAN + 1}), FILES) == ("start",)

    def test_one_that_remains_is_restarted(self):
        state = changed(type="oneshot", remains=True, sub="exited")
        assert verbs(READS, observation(state, **{"/etc/mail/a.conf": BEGAN + 1}), FILES) == ("restart",)


def test_changed_unit_files_are_read_again_without_a_restart():
    plan = decide([Unit(NAME)], Needs(), observation(changed(stale=True)))
    assert (plan.steps, plan.reread) == ((), True)


def test_what_a_timer_starts_is_read_again_like_the_timer():
    stale = observation(changed(stale=True), name="work.service")
    timer = Unit("work.timer", running=False, enabled=False)
    needs = Needs(files=(File("/etc/systemd/system/work.service", b""),), units=(timer,))
    assert "work.service" in script(needs)
    assert decide([], needs, stale).reread
    assert not decide([], Needs(), stale).reread  # it is none of ours


def test_of_units_that_files_describe_only_those_that_systemd_can_know_are_asked_for():
    paths = ("a.service", "a.service.d/x.conf", "b@.service", "c.timer", "d.conf", "e.service.d/x.conf")
    needs = Needs(files=tuple(File(f"/etc/systemd/system/{p}", b"") for p in paths), units=(Unit("c.timer"),))
    assert described(needs) == ("a.service", "e.service")


def test_an_instance_has_the_files_of_its_template():
    assert set(unit_files("postfix@-.service")) == {
        "/etc/systemd/system/postfix@-.service",
        "/etc/systemd/system/postfix@-.service.d",
        "/etc/systemd/system/postfix@.service",
        "/etc/systemd/system/postfix@.service.d",
    }


def test_covering_is_by_whole_names():
    assert covers(["/etc/a"], "/etc/a")
    assert covers(["/etc/a"], "/etc/a/b")
    assert not covers(["/etc/a"], "/etc/ab")
    assert not covers(["/etc/a/b"], "/etc/a")


@pytest.fixture
def systemd(sandbox):
    """A pretend systemctl: units are active, unless a file of the sandbox says how they are."""
    sandbox.pretend(
        "systemctl",
        f"""case "$1 $4" in
"show ActiveState") cat {sandbox.root}/active 2>/dev/null || echo active ;;
"show Type") echo notify ;;
"show NRestarts") echo 0 ;;
"show SubState") echo running ;;
"show Result") echo success ;;
esac
[ ! -e {sandbox.root}/"$1" ] || exit 1""",
    )
    sandbox.pretend("journalctl", "echo 'fatal: no such table'")
    return sandbox


def do(host, *units, state=RUNNING, **ctimes):
    seen = observation(state, **{f"/etc/mail/{p}": t for p, t in ctimes.items()})
    return host.run(apply(decide(units, FILES, seen)))


def test_the_steps_are_done_in_order(systemd):
    assert do(systemd, Unit(NAME), state=changed(active="failed", file_state="disabled")).returncode == 0
    acts = [c.split()[1] for c in systemd.called() if c.split()[1] != "show"]
    assert acts == ["enable", "daemon-reload", "reset-failed", "start"]


def test_a_unit_that_does_not_come_up_is_shown_with_its_words(systemd):
    (systemd.root / "active").write_text("failed\n")
    done = do(systemd, READS, **{"a.conf": BEGAN + 1})
    assert done.returncode == 1
    assert "mail.service is failed" in done.stderr
    assert "fatal: no such table" in done.stderr


def test_a_start_that_fails_fails_the_operation(systemd):
    (systemd.root / "start").touch()
    assert do(systemd, READS, state=changed(active="inactive")).returncode == 1


class TestReloadMark:
    unit = Unit(NAME, reads=("/etc/mail",), reload=True)

    def mark(self, host):
        return host.root / taken(NAME).removeprefix("/")

    def test_a_success_leaves_the_time_before_it(self, systemd):
        assert do(systemd, self.unit, **{"a.conf": BEGAN + 1}).returncode == 0
        assert self.mark(systemd).stat().st_mtime <= systemd.calls.stat().st_mtime

    def test_a_failure_leaves_the_reload_owed(self, systemd):
        (systemd.root / "reload").touch()
        assert do(systemd, self.unit, **{"a.conf": BEGAN + 1}).returncode == 1
        assert not self.mark(systemd).exists()


def test_masking_stops_first(systemd):
    do(systemd, Unit(NAME, masked=True))
    assert [c.split()[1] for c in systemd.called()] == ["stop", "mask", "daemon-reload", "reset-failed"]


def test_unit_files_are_read_once_however_many_units_are_linked(systemd):
    units = [Unit(f"mail{number}.service") for number in range(3)]
    seen = replace(observation(), units={unit.name: changed(file_state="disabled") for unit in units})
    assert systemd.run(apply(decide(units, FILES, seen))).returncode == 0
    linked = [call for call in systemd.called() if call.split()[1] in ("enable", "daemon-reload")]
    assert linked == [
        "systemctl enable -q --no-reload -- mail0.service mail1.service mail2.service",
        "systemctl daemon-reload",
    ]

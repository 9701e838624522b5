"""What `plan` and `apply` make of a run and of the zones: order, consent, exit status."""

import json
from dataclasses import replace

import pytest

from mailwright.command import apply as apply_module
from mailwright.command import main
from mailwright.command import plan as plan_module
from mailwright.converge.events import Event
from mailwright.model.fleet import Fleet
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site

FLEET = {
    "owner": {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"},
    "machines": [
        {"name": "m1", "fqdn": "m1.brightpost.example", "ipv4": "203.0.113.11"},
        {"name": "m2", "fqdn": "m2.brightpost.example", "ipv4": "203.0.113.12"},
    ],
}
KNOT = {"knot": {"type": "rfc2136", "server": "203.0.113.53", "key_name": "k.", "key": "tsig/k"}}

CHANGE = Event("planned", "m1", "greeter: files", "+hello", changed=True)
SAME = (Event("planned", "m1", "greeter: units"), Event("planned", "m2", "greeter: units"))
DONE = Event("finished", "m1", "greeter: files", changed=True, seconds=1.5)


class FakeRun:
    """A run that says what it is given."""

    def __init__(self, log, plan, results=()):
        self.log, self.parts = log, [iter(plan), iter(results)]

    def events(self):
        return self.parts.pop(0)

    def go(self):
        self.log.append("machines")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.log.append("closed")


class FakePlans:
    """Zones with a plan of a kind."""

    zones = ()

    def __init__(self, *, changed=False, blocked=False):
        self.changed, self.blocked = changed, blocked


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Returns a function: a command line, the run's events and the zones' plan, to status and log."""
    (tmp_path / "prod.py").touch()
    monkeypatch.chdir(tmp_path)

    def call(*arguments, plan=SAME, results=(), zones=None, consent=None):
        log = []
        site = Site(Fleet.model_validate(FLEET | {"providers": KNOT if zones else {}}), (), GivenSecrets({}))

        def confirm(*_, **__):
            log.append("asked")
            if not consent:
                raise apply_module.typer.Abort

        for module in (plan_module, apply_module):
            monkeypatch.setattr(module, "Run", lambda *_, **__: FakeRun(log, plan, results))
            monkeypatch.setattr(module, "plan_site", lambda _: zones)
            monkeypatch.setattr(module, "open_site", lambda _: site)
            monkeypatch.setattr(module, "repository", lambda _: tmp_path)
        monkeypatch.setattr(plan_module, "show_plans", lambda _: log.append("zones shown"))
        monkeypatch.setattr(apply_module, "apply_plans", lambda *_, **__: log.append("zones"))
        monkeypatch.setattr(apply_module.typer, "confirm", confirm)
        return main.run([*arguments[:1], "prod.yaml", *arguments[1:]]), log

    return call


def test_plan_exits_by_what_there_is_to_do(command):
    assert command("plan") == (0, ["closed"])
    assert command("plan", plan=(CHANGE, *SAME))[0] == 2
    assert command("plan", zones=FakePlans(changed=True))[0] == 2
    assert command("plan", zones=FakePlans(blocked=True))[0] == 1
    assert command("plan", plan=(CHANGE, Event("unreachable", "m2", text="no route")))[0] == 1


def test_plan_prints_diffs_and_counts(command, capsys):
    command("plan", plan=(CHANGE, *SAME))
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "m1  1 to change, 1 unchanged",
        "  greeter: files",
        "    +hello",
        "m2  nothing to do, 1 unchanged",
    ]


def test_plan_as_json(command, capsys):
    command("plan", "--json", plan=(CHANGE, Event("refused", "m2", text="this is Debian 11")))
    data = json.loads(capsys.readouterr().out)
    assert data["machines"] == [
        {
            "machine": "m1",
            "problem": None,
            "changes": [{"operation": "greeter: files", "details": "+hello"}],
            "unchanged": 0,
        },
        {"machine": "m2", "problem": "this is Debian 11", "changes": [], "unchanged": 0},
    ]


def test_apply_without_changes_asks_nothing_and_does_nothing(command):
    assert command("apply", zones=FakePlans()) == (0, ["zones shown", "closed"])


def test_apply_publishes_before_it_changes_machines(command):
    plan, zones = (CHANGE, *SAME), FakePlans(changed=True)
    status, log = command("apply", plan=plan, results=(DONE,), zones=zones, consent=True)
    assert (status, log) == (0, ["zones shown", "asked", "zones", "machines", "closed"])


def test_apply_without_consent_changes_nothing(command):
    plan, zones = (CHANGE, *SAME), FakePlans(changed=True)
    status, log = command("apply", plan=plan, zones=zones, consent=False)
    assert (status, log) == (main.INTERRUPTED, ["zones shown", "asked", "closed"])


def test_apply_with_yes_does_not_ask(command):
    assert command("apply", "--yes", plan=(CHANGE, *SAME), results=(DONE,)) == (0, ["machines", "closed"])


def test_a_refused_zone_holds_everything_back(command):
    plan, zones = (CHANGE, *SAME), FakePlans(changed=True, blocked=True)
    assert command("apply", "--yes", plan=plan, zones=zones) == (1, ["zones shown", "closed"])


def test_no_dns_leaves_the_zones_alone(command):
    zones = FakePlans(changed=True, blocked=True)
    status, log = command("apply", "--yes", "--no-dns", plan=(CHANGE, *SAME), results=(DONE,), zones=zones)
    assert (status, log) == (0, ["machines", "closed"])


@pytest.mark.parametrize(
    ("plan", "results", "words"),
    [
        ((CHANGE, *SAME), (replace(DONE, kind="failed", text="disk full"),), "m1: greeter: files: disk full"),
        ((CHANGE, Event("unreachable", "m2", text="no route")), (DONE,), "m2: no route"),
    ],
)
def test_a_machine_that_fails_is_named(command, capsys, plan, results, words):
    assert command("apply", "--yes", plan=plan, results=results)[0] == 1
    assert capsys.readouterr().err.splitlines()[-1] == words


def test_nothing_is_published_for_a_fleet_that_nobody_can_reach(command):
    plan = tuple(Event("unreachable", name, text="no route") for name in ("m1", "m2"))
    zones = FakePlans(changed=True)
    assert command("apply", "--yes", plan=plan, zones=zones) == (1, ["zones shown", "closed"])


def test_apply_sums_up_by_machine(command, capsys):
    command("apply", "--yes", plan=(CHANGE, *SAME), results=(DONE, Event("finished", "m2", "greeter: units")))
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "m1  ok      1 changed, 0 unchanged  (1.5 s)",
        "m2  ok      0 changed, 1 unchanged  (0.0 s)",
    ]

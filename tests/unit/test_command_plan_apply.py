"""What `plan` and `apply` make of a run and of the zones: order, consent, exit status."""

import json
from dataclasses import replace

import pytest

from maildns.planning.guards import Refusal
from maildns.planning.plan import Conflict, ZonePlan
from maildns.policy.spf.flatten import Flattened
from maildns.provider import Change
from maildns.records import RRset
from maildns.rotation import Key, Ring, State
from mailwright.command import apply as apply_module
from mailwright.command import around, main
from mailwright.command import plan as plan_module
from mailwright.command.alone import alone
from mailwright.converge.events import Event
from mailwright.dnsplan import Unread
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import Keyring, write_keyring
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from mailwright.publish import Plans

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


def record(name, value="203.0.113.11"):
    return RRset(name, "A", 3600, frozenset({value}))


ADD = Change(None, record("m1.brightpost.example."), "its address", "add")
REMOVE = Change(record("old.brightpost.example."), None, "gone from the fleet", "remove")


def zones(*changes, blocked=False):
    conflicts = (Conflict(("m1.brightpost.example.", "A"), "is somebody else's"),) if blocked else ()
    plan = ZonePlan("brightpost.example.", "1", changes, conflicts)
    return Plans((plan,), (), {"brightpost.example.": "knot"})


def signs(plans):
    """`+m1 -old`: what a plan of zones does."""
    changes = [c for plan in plans.zones for c in plan.changes]
    return " ".join(("+" if c.new else "-") + c.key[0].partition(".")[0] for c in changes)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Returns a function: a command line, the run's events and the zones' plan, to status and log."""
    (tmp_path / "prod.py").touch()
    (tmp_path / "prod.yaml").touch()
    monkeypatch.chdir(tmp_path)

    def call(*arguments, plan=SAME, results=(), zones=(), consent=None, asked=None):
        log, answers = [], list(zones)
        site = Site(
            Fleet.model_validate(FLEET | {"providers": KNOT if answers else {}}), (), GivenSecrets({})
        )

        def confirm(*_, **__):
            log.append("asked")
            if not consent:
                raise apply_module.typer.Abort

        def plan_site(site):
            if asked is not None:
                asked.append(site)
            return answers.pop(0)

        for module in (plan_module, apply_module):
            monkeypatch.setattr(module, "Run", lambda *_, **__: FakeRun(log, plan, results))
            monkeypatch.setattr(module, "open_site", lambda _: site)
            monkeypatch.setattr(module, "repository", lambda _: tmp_path)
        monkeypatch.setattr(plan_module, "show_plans", lambda _: log.append("zones shown"))
        for module in (plan_module, apply_module, around):
            monkeypatch.setattr(module, "plan_site", plan_site)
        monkeypatch.setattr(around, "apply_plans", lambda _, plans, **__: log.append(signs(plans)))
        monkeypatch.setattr(apply_module.typer, "confirm", confirm)
        return main.run([*arguments[:1], "prod.yaml", *arguments[1:]]), log

    return call


def test_plan_exits_by_what_there_is_to_do(command):
    assert command("plan") == (0, ["closed"])
    assert command("plan", plan=(CHANGE, *SAME))[0] == 2
    assert command("plan", zones=[zones(ADD)])[0] == 2
    assert command("plan", zones=[zones(blocked=True)])[0] == 1
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


def test_plan_as_json_tells_what_stands_in_the_way_of_zones(command, capsys):
    refusal = Refusal("delete-many=all", "too many go")
    planned = replace(
        zones(ADD), unread=(Unread("parcelnote.example.", "nobody answers"),), refusals=(refusal,)
    )
    assert command("plan", "--json", zones=[planned])[0] == 1
    data = json.loads(capsys.readouterr().out)
    assert [(zone["zone"], zone["provider"]) for zone in data["zones"]] == [("brightpost.example.", "knot")]
    assert data["unread"] == [{"zone": "parcelnote.example.", "what": "nobody answers"}]
    assert data["refusals"] == [{"flag": "delete-many=all", "what": "too many go"}]


def test_a_saved_plan_is_applied_without_a_question(command):
    plan, planned = (CHANGE, *SAME), [zones(ADD), zones(ADD)]
    assert command("plan", "--out", "reports/plan.json", plan=plan, zones=planned[:1])[0] == 2
    status, log = command(
        "apply", "--plan", "reports/plan.json", plan=plan, results=(DONE,), zones=planned[1:], consent=False
    )
    assert (status, log) == (0, ["zones shown", "+m1", "machines", "closed"])


def test_what_has_been_done_since_a_plan_was_saved_is_no_hindrance(command):
    command("plan", "--out", "plan.json", plan=(CHANGE, replace(CHANGE, machine="m2")), zones=[zones(ADD)])
    record = replace(CHANGE, operation="machine: record of the run", text="by whom and when")
    later = (*SAME, replace(CHANGE, machine="m2"), record)
    assert command("apply", "--plan", "plan.json", plan=later, results=(DONE,), zones=[zones()])[0] == 0
    assert command("apply", "--plan", "plan.json", zones=[zones()])[0] == 0


@pytest.mark.parametrize(
    ("plan", "planned", "words"),
    [
        ((CHANGE, replace(CHANGE, machine="m2")), zones(ADD), "m2: greeter: files"),
        ((replace(CHANGE, text="+goodbye"),), zones(ADD), "m1: greeter: files"),
        ((CHANGE,), zones(REMOVE), "brightpost.example.: old.brightpost.example. A"),
        (
            (CHANGE,),
            zones(replace(ADD, new=record("m1.brightpost.example.", "203.0.113.99"))),
            "m1.brightpost",
        ),
        ((replace(CHANGE, text="+x"), replace(CHANGE, operation="greeter: units")), zones(ADD), "and 1 more"),
    ],
)
def test_what_a_saved_plan_does_not_say_is_refused(command, capsys, plan, planned, words):
    command("plan", "--out", "plan.json", plan=(CHANGE, *SAME), zones=[zones(ADD)])
    status, log = command("apply", "--plan", "plan.json", plan=plan, zones=[planned])
    assert (status, log) == (1, ["zones shown", "closed"])
    said = capsys.readouterr().err
    assert words in said
    assert "nothing was done, plan again" in said


@pytest.mark.parametrize("text", [None, "", "[]", '{"machines": [{}]}'])
def test_a_file_that_is_no_plan_is_refused(command, capsys, tmp_path, text):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    assert command("apply", "--plan", "plan.json", plan=(CHANGE,)) == (1, ["closed"])
    assert "plan.json: " in capsys.readouterr().err.splitlines()[-1]


def test_apply_without_changes_asks_nothing_and_does_nothing(command):
    assert command("apply", zones=[zones()]) == (0, ["zones shown", "closed"])


def test_apply_publishes_before_it_changes_machines(command):
    plan, planned = (CHANGE, *SAME), [zones(ADD)]
    status, log = command("apply", plan=plan, results=(DONE,), zones=planned, consent=True)
    assert (status, log) == (0, ["zones shown", "asked", "+m1", "machines", "closed"])


def test_what_goes_from_the_zones_goes_last(command):
    planned = [zones(ADD, REMOVE), zones(REMOVE)]
    status, log = command("apply", "--yes", plan=(CHANGE, *SAME), results=(DONE,), zones=planned)
    assert (status, log) == (0, ["zones shown", "+m1", "machines", "closed", "-old"])


@pytest.mark.parametrize(
    ("arguments", "results"),
    [(("--limit", "m1"), (DONE,)), ((), (replace(DONE, kind="failed", text="disk full"),))],
)
def test_nothing_goes_from_the_zones_while_a_machine_may_need_it(command, arguments, results):
    planned = [zones(ADD, REMOVE), zones(REMOVE)]
    _, log = command("apply", "--yes", *arguments, plan=(CHANGE, *SAME), results=results, zones=planned)
    assert log == ["zones shown", "+m1", "machines", "closed"]


def test_nobody_agreed_to_remove_what_came_up_meanwhile(command):
    other = Change(record("new.brightpost.example."), None, "gone from the fleet", "other")
    planned = [zones(REMOVE), zones(REMOVE, other)]
    status, log = command("apply", "--yes", zones=planned)
    assert (status, log) == (1, ["zones shown", "closed"])


def test_what_goes_last_is_planned_from_the_same_flattened_policies(command):
    """They may change at any time, and nobody would have agreed to what comes of that."""
    flat = {"_spf.partner.example.": Flattened()}
    planned, sites = [replace(zones(REMOVE), includes=flat), zones(REMOVE)], []
    status, _ = command("apply", "--yes", zones=planned, asked=sites)
    assert status == 0
    assert [dict(site.includes) for site in sites] == [{}, flat]


def test_apply_without_consent_changes_nothing(command):
    plan, planned = (CHANGE, *SAME), [zones(ADD)]
    status, log = command("apply", plan=plan, zones=planned, consent=False)
    assert (status, log) == (main.INTERRUPTED, ["zones shown", "asked", "closed"])


def test_apply_with_yes_does_not_ask(command):
    assert command("apply", "--yes", plan=(CHANGE, *SAME), results=(DONE,)) == (0, ["machines", "closed"])


def test_a_refused_zone_holds_everything_back(command):
    plan, planned = (CHANGE, *SAME), [zones(ADD, blocked=True)]
    assert command("apply", "--yes", plan=plan, zones=planned) == (1, ["zones shown", "closed"])


def test_no_dns_leaves_the_zones_alone(command):
    planned = [zones(ADD, blocked=True)]
    status, log = command("apply", "--yes", "--no-dns", plan=(CHANGE, *SAME), results=(DONE,), zones=planned)
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
    planned = [zones(ADD)]
    assert command("apply", "--yes", plan=plan, zones=planned) == (1, ["zones shown", "closed"])


def test_apply_sums_up_by_machine(command, capsys):
    command("apply", "--yes", plan=(CHANGE, *SAME), results=(DONE, Event("finished", "m2", "greeter: units")))
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "m1  ok      1 changed, 0 unchanged  (1.5 s)",
        "m2  ok      0 changed, 1 unchanged  (0.0 s)",
    ]


def test_apply_hands_no_host_a_key_that_a_rotation_has_moved_on_from(command, tmp_path, capsys):
    ring = Ring((Key("r2", "rsa", State.SIGNING, 0),))
    write_keyring(tmp_path / "prod.dkim.yaml", Keyring({"brightpost.example": ring}))
    assert command("apply", "--yes", plan=(CHANGE, *SAME), zones=[zones(ADD)]) == (
        1,
        ["zones shown", "closed"],
    )
    assert "a DKIM rotation went on since this was planned" in capsys.readouterr().err


def test_apply_and_a_rotation_take_turns(command, tmp_path, capsys):
    with alone(tmp_path / "prod.yaml"):
        assert command("apply", "--yes", plan=(CHANGE, *SAME)) == (1, ["closed"])
    assert "is at work on this fleet; run this again" in capsys.readouterr().err

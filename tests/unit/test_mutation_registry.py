"""Every check has a sabotage: of the fleets that are damaged, and of every place in a role that makes one."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import roles
from mailwright.command.inventory import open_site
from mailwright.dnscheck import KINDS
from mailwright.lab.lab import SILENT, Lab
from mailwright.model.errors import MailwrightError
from mailwright.model.role import Agreement, Check
from mailwright.model.visit import OutsideCheck
from tests.mutation.choosing import Choice, every, only, sample
from tests.mutation.report import Report
from tests.mutation.running import Runner, batches
from tests.mutation.sabotage import QUIET, Damage, Look, Sabotage, judged
from tests.mutation.subject import Subject
from tests.mutation.world import World

ROOT = Path(__file__).parents[2]
FLEETS = sorted((ROOT / "tests" / "mutation" / "fleets").glob("*.yaml"))
ROLES = Path(roles.__file__).parent
MAKES = ("Check", "Agreement", "OutsideCheck")


@pytest.fixture(scope="module")
def made_at():
    """Where the roles have made a Check or an Agreement, as (file, line), from now on."""
    places, originals = set(), {kind: kind.__init__ for kind in (Check, Agreement, OutsideCheck)}

    def noting(original):
        def init(self, *arguments, **options):
            frame = sys._getframe(1)
            places.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
            original(self, *arguments, **options)

        return init

    for kind, original in originals.items():
        kind.__init__ = noting(original)
    yield places
    for kind, original in originals.items():
        kind.__init__ = original


@pytest.fixture(scope="module")
def subjects(made_at, tmp_path_factory):  # noqa: ARG001 - to be noted
    """Every machine of every fleet that is sabotaged, by (fleet, machine); none of them runs."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        state = tmp_path_factory.mktemp("labs")
        patch.setattr("mailwright.lab.plan.lab_state", lambda _: state / file.stem)
        for file in FLEETS:
            text = file.read_text().replace("/var/lib/mailwright/lab/mutate", str(state / file.stem))
            copy = state / file.name
            copy.write_text(text)
            Lab.open(copy)._keys(SILENT)
            site = open_site(copy)
            for machine in site.fleet.machines:
                subject = Subject(site, site.plan(machine), None, {})
                assert subject.expected
                found[file.stem, machine.name] = subject
    return found


@pytest.fixture(scope="module")
def sabotages(subjects):
    return [sabotage for subject in subjects.values() for sabotage in every(subject)[0]]


def test_every_check_of_the_sabotaged_fleets_has_a_sabotage(subjects):
    missing = {name: every(subject)[2] for name, subject in subjects.items()}
    assert {name: names for name, names in missing.items() if names} == {}


@pytest.mark.usefixtures("subjects")
def test_every_place_in_a_role_that_makes_a_check_is_reached_by_these_fleets(made_at):
    def calls(file):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKES:
                yield file.name, node

    unreached = [
        f"{name}:{node.lineno}"
        for file in ROLES.rglob("*.py")
        for name, node in calls(file)
        if not any(name == n and node.lineno <= line <= node.end_lineno for n, line in made_at)
    ]
    assert unreached == []


def test_every_role_is_sabotaged_and_there_are_more_than_enough(sabotages):
    assert {role.name for role in roles.ROLES} <= {sabotage.role for sabotage in sabotages}
    assert len({(s.target, s.how.what) for s in sabotages}) >= 120


def test_every_kind_of_verdict_about_dns_has_a_sabotage(subjects):
    site = next(s.site for s in subjects.values() if s.site.fleet.dns.blocklists)
    found, _, missing = every(World(site, None))
    assert not missing
    assert {s.target for s in found} == {f"dns-{kind}" for kind in KINDS}


def test_a_check_without_a_sabotage_is_named():
    class Unheard:
        name, role = "check-base-the moon is up", "base"

    class Machine:
        name, expected = "m1", [Unheard]

    assert every(Machine)[2] == ["check-base-the moon is up"]


def sabotage(target, *also, together=""):
    return Sabotage("m1", "role", target, Damage("what", "", "", also, together=together))


def test_a_sabotage_is_killed_only_if_its_check_turns_red_and_no_other_does():
    one = sabotage("file-a", "unit-*")

    def outcome(red, dark=()):
        return [word for word, _ in judged([one], Look(dict.fromkeys(red, ""), dict.fromkeys(dark, "")))]

    assert outcome(["file-a"]) == ["killed"]
    assert outcome(["file-a", "unit-x"]) == outcome(["file-a"], ["unit-x"]) == ["killed"]
    assert outcome([]) == outcome(["unit-x"]) == outcome([], ["file-a"]) == ["survived"]
    assert outcome(["file-a", "file-b"]) == outcome(["file-a"], ["file-b"]) == ["collateral"]


def test_what_could_explain_each_other_is_never_done_at_once(sabotages):
    for batch in batches([s for s in sabotages if s.machine == "mail1"]):
        for one in batch:
            assert all(other is one or not other.allows(one.target) for other in batch)
            assert len(batch) == 1 or one.how.together


def test_quiet_sabotages_of_different_checks_share_a_look():
    assert len(batches([sabotage(f"file-{i}", together=QUIET) for i in range(10)])) == 1
    assert len(batches([sabotage("file-a", together=QUIET) for _ in range(3)])) == 3
    assert len(batches([sabotage(f"file-{i}") for i in range(3)])) == 3


def test_every_damage_is_done_once_a_release(subjects, sabotages):
    choice, report = Choice(), Report()
    chosen = [s for subject in subjects.values() for s in choice.of(subject, report)]
    release = {machine: subject.release for (_, machine), subject in subjects.items()}
    done = [(release[s.machine], s.target, s.how.what) for s in chosen]
    assert len(done) == len(set(done))
    assert set(done) == {(release[s.machine], s.target, s.how.what) for s in sabotages}


class Patient:
    """A machine of which files are red while they are damaged, and stay red where that is asked for."""

    name, others, mailing = "m1", {}, frozenset()

    def __init__(self, incurable=()):
        self.host, self.red, self.incurable = self, set(), set(incurable)

    def run(self, script, timeout=0):  # noqa: ARG002 - as a host's
        for word in script.split():
            if word.startswith("do:"):
                self.red.add(word[3:])
            if word.startswith("undo:"):
                self.red -= {word[5:]} - self.incurable
        return self

    def require(self, _=""):
        return self

    def look(self, _):
        return Look(dict.fromkeys(self.red, "damaged"), {})


def wound(target):
    return Sabotage("m1", "role", target, Damage("what", f"do:{target} ", f"undo:{target} ", patience=0))


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr("tests.mutation.running._PAUSE", 0)
    monkeypatch.setattr(Runner.green, "__defaults__", (frozenset(), 0))


@pytest.mark.usefixtures("hasty")
def test_a_damage_that_does_not_heal_is_no_end_if_the_machine_can_be_mended():
    patient, verdicts, reasons = Patient(["b"]), [], []

    def mend(reason):
        reasons.append(reason)
        patient.red.clear()

    Runner(patient, verdicts.append, mend).run([wound(name) for name in "abc"])
    assert {(v.sabotage.target, v.outcome) for v in verdicts} == {(name, "killed") for name in "abc"}
    assert reasons
    assert all("is not green" in reason and "b: damaged" in reason for reason in reasons)


@pytest.mark.usefixtures("hasty")
def test_a_damage_that_does_not_heal_is_the_end_otherwise():
    with pytest.raises(MailwrightError, match="not green"):
        Runner(Patient(["b"]), lambda _: None).run([wound(name) for name in "abc"])


@pytest.mark.usefixtures("hasty")
def test_of_a_batch_that_is_not_exact_only_what_is_wrong_is_told_as_such():
    together = [
        Sabotage("m1", "role", name, replace(wound(done).how, together=QUIET))
        for name, done in zip("abcdefgh", "abcdxfgh", strict=True)
    ]
    verdicts = []
    Runner(Patient(), verdicts.append).run(together)
    assert {v.sabotage.target: v.outcome for v in verdicts} == {
        **dict.fromkeys("abcdfgh", "killed"),
        "e": "survived",
    }


def test_a_word_chooses_a_role_a_machine_or_a_check(sabotages):
    assert {s.role for s in only(sabotages, ["postfix"])} == {"postfix"}
    both = only(sabotages, ["postfix", "587", "465"])
    assert {s.role for s in both} == {"postfix"}
    assert all("587" in s.target or "465" in s.target for s in both)
    assert only(sabotages, ["nowhere"]) == []
    assert {s.machine for s in only(sabotages, ["edge1"])} == {"edge1"}
    assert all("587" in s.target for s in only(sabotages, ["587"]))
    assert only(sabotages, []) == sabotages


def test_a_sample_is_the_same_for_one_seed_and_of_many_roles(sabotages, monkeypatch):
    monkeypatch.setenv("MAILWRIGHT_MUTATIONS", "10")
    ten = sample(sabotages)
    assert sample(sabotages) == ten
    assert len({s.role for s in ten}) > 5
    monkeypatch.setenv("MAILWRIGHT_SEED", "another")
    assert sample(sabotages) != ten

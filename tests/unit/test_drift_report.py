"""What is asked of a machine becomes a report, without secrets; and of the next report only what is new."""

import base64
import gzip
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from maildns.provider import Change
from maildns.records import RRset
from mailwright.command import drift as command
from mailwright.command.main import run as mailwright
from mailwright.dnsplan import Plans, Unread
from mailwright.drift import ask, zones
from mailwright.drift.ask import QUESTION, _outside
from mailwright.drift.finding import Finding
from mailwright.drift.machine import MachineDrift, drift_of
from mailwright.drift.record import Applied, wanted
from mailwright.drift.report import DNS, News, Report, news, recall, remember, state_file, status_of
from mailwright.drift.survey import FOOTER, HEADER
from mailwright.drift.units import units
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.needs import File, Needs
from mailwright.model.role import Result
from mailwright.model.site import MachinePlan
from mailwright.redact import Redactor

SECRET = "correct horse battery staple"
APPLIED = Applied("ann@desk", "2026-11-22T03:04:05Z", "abc1234def", dirty=True, fleet="f" * 64)
NEEDS = Needs(
    files=(
        File("/etc/app.conf", b"a = 1\nb = 2\n"),
        File("/etc/app.key", SECRET.encode(), mode=0o600, secret=True),
        File("/etc/app.private", b"c = 3\n", mode=0o640),
    )
)


class Named:
    name = "out1"


PLAN = MachinePlan(Named(), (), {}, {"app": NEEDS}, NEEDS)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def lines(files, modes=()):
    """A survey of files: path to text."""
    modes = {"/etc/app.key": "600", "/etc/app.private": "640"} | dict(modes)
    for path, text in files.items():
        yield f"path\t{path}\tf root root {modes.get(path, '644')} "
        yield f"content\t{path}\t{digest(text)}"


WAS = {f.path: f.content.decode() for f in NEEDS.files}


class Machine:
    """A machine that answers with two surveys, and with the text of its files."""

    def __init__(
        self, now=(), *, was=WAS, modes=(), more=(), record=APPLIED, uid=0, whole=True, off=0, said=()
    ):
        self.files = dict(was) | dict(now)
        self.surveys = {"baseline": [*lines(was)], "now": [*lines(self.files, modes), *more]}
        self.record, self.uid, self.whole, self.off, self.said = record, uid, whole, off, said
        self.fetched = 0

    def __call__(self, packed):
        text = gzip.decompress(base64.b64decode(packed.split()[3])).decode()
        if text == QUESTION:
            return Result(0, "\n".join(self._answer()), "")
        self.fetched += 1
        frames = []
        for i, path in enumerate(p for p in self.files if f"-- {p}" in text):
            content = base64.b64encode(self.files[path].encode()).decode()
            number = sum(f"-- {p}" in text for p in list(self.files)[: list(self.files).index(path)])
            assert number == i
            frames.append(f"mailwright-frame {i} 0 o{content} e .")
        return Result(0, "\n".join(frames), "")

    def _answer(self):
        yield from ("banner", "mailwright-drift 1", f"uid {self.uid}", f"clock {int(time.time()) + self.off}")
        yield f"wanted {base64.b64encode(wanted(PLAN.by_role).encode()).decode()}"
        if self.record:
            yield f"record {base64.b64encode(self.record.as_json().encode()).decode()}"
            for name, survey in self.surveys.items():
                text = "\n".join([HEADER, *survey, *([FOOTER] if self.whole else [])])
                yield f"{name} {base64.b64encode(gzip.compress(text.encode())).decode()}"
        yield from (*self.said, "mailwright-drift end")


def asked(**options):
    machine = Machine(**options)
    return drift_of(PLAN, machine, Redactor([SECRET])), machine


def test_a_machine_as_it_was_left_is_clean_and_costs_one_command():
    drift, machine = asked()
    assert (drift.state, drift.findings, drift.applied, machine.fetched) == ("clean", (), APPLIED, 0)
    assert (drift.pending, drift.unfinished) == (False, False)


def test_an_edit_is_a_unified_diff_against_what_was_applied():
    drift, _ = asked(now={"/etc/app.conf": "a = 1\nb = 3\n"})
    (finding,) = drift.findings
    assert (finding.kind, finding.subject, finding.role) == ("file edited", "/etc/app.conf", "app")
    assert finding.text[0] == "--- /etc/app.conf (as applied)"
    assert [line for line in finding.text if line[:1] in "+-"][2:] == ["-b = 2", "+b = 3"]


@pytest.mark.parametrize(
    ("now", "modes"),
    [
        ({"/etc/app.key": "another"}, {}),
        ({"/etc/app.private": "d"}, {"/etc/app.private": "600"}),
        ({"/etc/cron.d/x": "* * * * * root x"}, {"/etc/cron.d/x": "600"}),
    ],
)
def test_no_text_is_fetched_of_what_a_plan_would_not_show(now, modes):
    drift, machine = asked(now=now, modes=modes)
    assert drift.state == "drift"
    assert machine.fetched == 0


def test_a_secret_that_somebody_wrote_into_another_file_is_masked():
    drift, _ = asked(
        now={"/etc/app.conf": f"a = {SECRET}\n", "/etc/cron.d/x": f"# {SECRET}\n"},
        more=[f"postfix\tmyhostname\t{SECRET}"],
    )
    said = json.dumps(drift.as_data())
    assert SECRET not in said
    assert "+a = ***" in said
    assert "+# ***" in said
    assert len(drift.findings) == 3


def test_a_clock_that_is_off_is_drift():
    assert [f.kind for f in asked(off=3600)[0].findings] == ["clock fast"]
    assert [f.kind for f in asked(off=-3600)[0].findings] == ["clock slow"]


@pytest.mark.parametrize(("clock", "off"), [(1000, 0), (1599, 0), (1700, 100), (899, -100)])
def test_a_slow_answer_makes_no_clock_wrong(clock, off):
    assert _outside(clock, 1000.0, 1600.0) == off


def test_what_a_machine_could_not_say_makes_a_clean_one_unknown():
    drift, _ = asked(more=["failed\tunit\t"])
    assert (drift.state, drift.blind, drift.findings) == ("unknown", ("unit",), ())


def test_a_machine_whose_fleet_file_wants_something_else_is_not_drift():
    other = Needs(files=(*NEEDS.files, File("/etc/app.more", b"")))
    drift = drift_of(MachinePlan(Named(), (), {}, {"app": other}, other), Machine(), Redactor([]))
    assert (drift.state, drift.pending) == ("clean", True)


def test_what_is_unattended_is_told_and_no_drift():
    machine = Machine(said=("unattended x 2",), more=["package\tx\tii 2"])
    machine.surveys["baseline"].append("package\tx\tii 1")
    drift = drift_of(PLAN, machine, Redactor([]))
    assert (drift.state, [f.expected for f in drift.findings]) == ("clean", [True])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"record": None}, "no record of an apply"),
        ({"whole": False}, "no record of an apply"),
        ({"uid": 1000}, "as user 1000"),
        ({"said": ("mailwright-drift busy",)}, "another run"),
    ],
)
def test_what_nobody_can_know_is_unknown(options, why):
    drift, _ = asked(**options)
    assert (drift.state, why in drift.unknown) == ("unknown", True), drift


def test_a_machine_that_does_not_answer_is_unknown():
    def silent(_):
        raise UnknownError("no route to host")

    assert drift_of(PLAN, silent, Redactor([])).unknown == "no route to host"
    assert drift_of(PLAN, lambda _: Result(0, "Welcome!", ""), Redactor([])).state == "unknown"


@pytest.mark.parametrize(
    ("changes", "well"),
    [({"roles": None}, False), ({"by": 7}, True), ({"version": 2}, False), ({"dirty": "x"}, True)],
)
def test_a_record_that_somebody_edited_is_read_or_none(changes, well):
    text = json.dumps(json.loads(APPLIED.as_json()) | changes)
    read = Applied.read(text)
    assert (read is not None) is well
    assert str(read)


def test_an_answer_without_a_time_is_unknown():
    said = Result(0, "mailwright-drift 1\nuid 0\nmailwright-drift end", "")
    assert "time of day" in drift_of(PLAN, lambda _: said, Redactor([])).unknown


def test_an_answer_that_would_fill_the_memory_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(ask, "_SURVEYED", 10_000)
    drift, _ = asked(more=[f"rule\t{n}\t" for n in range(10_000)])
    assert drift.unknown == "it could not be surveyed"


FOUND = Finding("package held", "curl")
CLEAN, DRIFTED = MachineDrift("a", APPLIED), MachineDrift("a", APPLIED, (FOUND,))
SILENT = MachineDrift("b", unknown="no route")


def report(*parts):
    return Report("fleet.yaml", "2026-11-22T16:00:00Z", parts)


@pytest.mark.parametrize(
    ("parts", "status"),
    [((CLEAN,), 0), ((CLEAN, DRIFTED), 2), ((CLEAN, SILENT), 3), ((DRIFTED, SILENT), 2)],
)
def test_drift_comes_before_what_is_unknown(parts, status):
    assert report(*parts).status == status
    assert json.loads(report(*parts).as_json())["status"] == status


def test_the_zones_stand_apart_in_json():
    data = json.loads(report(CLEAN, MachineDrift(DNS, findings=(FOUND,))).as_json())
    assert [m["machine"] for m in data["machines"]] == ["a"]
    assert (data["dns"]["state"], len(data["dns"]["findings"])) == ("drift", 1)
    assert json.loads(report(CLEAN).as_json())["dns"] is None


def test_only_what_is_new_is_told_and_once(tmp_path):
    file = tmp_path / "folder" / "report.json"

    def told(*parts):
        before = recall(file)
        told = news(report(*parts), before)
        remember(file, report(*parts), before)
        return told

    assert told(CLEAN) == ()
    (first,) = told(DRIFTED)
    assert (first.part.findings, status_of((first,))) == ((FOUND,), 2)
    assert told(DRIFTED) == ()
    (silence,) = told(MachineDrift("a", unknown="no route"))
    assert (silence.silent, status_of((silence,))) == (True, 3)
    assert told(MachineDrift("a", unknown="no route")) == ()
    (back,) = told(DRIFTED)
    assert (back.back, back.part.findings, back.gone) == (True, (), ())
    (gone,) = told(CLEAN)
    assert (gone.gone, status_of((gone,))) == ((FOUND,), 2)
    assert file.stat().st_mode & 0o077 == 0
    assert status_of(()) == 0
    assert not News(CLEAN)


def test_a_report_of_some_machines_leaves_the_others_as_they_were(tmp_path):
    remember(tmp_path / "r", report(DRIFTED, SILENT), {})
    remember(tmp_path / "r", report(SILENT), recall(tmp_path / "r"))
    assert news(report(DRIFTED), recall(tmp_path / "r")) == ()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 1, "parts": {"a": {"findings": [{}]}}}']
)
def test_a_file_that_is_no_report_is_one_line(tmp_path, text):
    (tmp_path / "r").write_text(text)
    with pytest.raises(MailwrightError, match="not a report"):
        recall(tmp_path / "r")


def test_two_fleets_have_two_reports(tmp_path):
    assert state_file(tmp_path / "a" / "prod.yaml") != state_file(tmp_path / "b" / "prod.yaml")


def test_the_units_run_what_only_reports_changes(tmp_path):
    text = units(tmp_path / "prod.yaml", tmp_path, "/opt/bin/mailwright", "ann")
    assert f"ExecStart=/opt/bin/mailwright drift {tmp_path}/prod.yaml --changes-only --state" in text
    assert "OnCalendar=" in text


def test_units_take_a_path_as_it_is_whatever_is_in_it():
    folder = Path("/srv/my fleet 100%")
    text = units(folder / "prod.yaml", folder, "/opt/bin/mailwright", "ann")
    assert 'mailwright drift "/srv/my fleet 100%%/prod.yaml" --changes-only' in text
    assert "WorkingDirectory=/srv/my fleet 100%%\n" in text


FLEET = """\
owner: {name: Test, postmaster: postmaster@mailbox.example}
machines:
  - {name: out1, fqdn: out1.mailbox.example, debian: 12, ipv4: 203.0.113.1, roles: {}}
  - {name: out2, fqdn: out2.mailbox.example, debian: 12, ipv4: 203.0.113.2, roles: {}}
"""


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """A fleet file, and what each of its machines is found to be."""
    (tmp_path / "prod.yaml").write_text(FLEET)
    states = {name: replace(CLEAN, name=name) for name in ("out1", "out2")}
    monkeypatch.setattr(command.Redactor, "of", lambda *_: Redactor([]))
    monkeypatch.setattr(command, "drift_of", lambda plan, *_: states[plan.machine.name])
    return tmp_path / "prod.yaml", states


def test_a_clean_fleet_is_exit_0_and_says_who_applied_last(fleet, capsys):
    file, _ = fleet
    assert mailwright(["drift", str(file)]) == 0
    assert (
        "last applied 2026-11-22 03:04:05 UTC by ann@desk, commit abc1234 (dirty)" in capsys.readouterr().out
    )


def test_drift_is_exit_2_with_what_to_do(fleet, capsys):
    file, states = fleet
    states["out2"] = replace(DRIFTED, name="out2")
    assert mailwright(["drift", str(file)]) == 2
    out = capsys.readouterr().out
    assert "package held  curl" in out
    assert "1 clean, 1 drift" in out
    assert "--accept" in out


def test_changes_only_says_nothing_when_nothing_is_new(fleet, capsys, tmp_path):
    file, states = fleet
    words = ["drift", str(file), "--quiet", "--state", str(tmp_path / "report.json")]
    states["out1"] = replace(DRIFTED, name="out1")
    assert mailwright(words) == 2
    assert "package held" in capsys.readouterr().out
    assert mailwright(words) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_accepting_asks_only_machines_that_drifted(fleet, monkeypatch, capsys):
    file, states = fleet
    states["out2"] = replace(DRIFTED, name="out2")
    accepted = []
    monkeypatch.setattr(command, "accept", lambda _, name: accepted.append(name))
    assert mailwright(["drift", str(file), "--accept", "--yes"]) == 0
    assert accepted == ["out2"]
    capsys.readouterr()


def test_nothing_is_accepted_that_is_not_shown(fleet, capsys):
    file, _ = fleet
    assert mailwright(["drift", str(file), "--accept", "--yes", "--changes-only"]) == 1
    assert "take one of them" in capsys.readouterr().err


def test_a_machine_that_cannot_say_all_is_reported_once_and_is_no_all_clear(tmp_path):
    file, dim = tmp_path / "r", replace(DRIFTED, findings=(), blind=("unit",))
    remember(file, report(DRIFTED), {})
    (told,) = news(report(dim), recall(file))
    assert (told.blind, told.gone, status_of((told,))) == (True, (), 3)
    remember(file, report(dim), recall(file))
    assert news(report(dim), recall(file)) == ()
    (gone,) = news(report(CLEAN), recall(file))
    assert gone.gone == (FOUND,)


def test_what_a_machine_cannot_say_is_shown_among_the_news(fleet, capsys, tmp_path):
    file, states = fleet
    states["out1"] = replace(CLEAN, name="out1", blind=("unit",))
    assert mailwright(["drift", str(file), "--quiet", "--state", str(tmp_path / "r")]) == 3
    out = capsys.readouterr().out
    assert "out1  nothing changed, as far as is known" in out
    assert "could not say all of: unit" in out


def test_the_changes_of_one_zone_hide_no_zone_that_cannot_be_read(monkeypatch):
    change = Change(RRset("a.example.", "A", 60, frozenset({"192.0.2.1"})), None, "by hand")
    drifted = SimpleNamespace(zone="a.example.", changes=(change,), conflicts=())
    monkeypatch.setattr(
        zones, "plan_site", lambda _: Plans((drifted,), (), {}, unread=(Unread("b.example.", "no answer"),))
    )
    found = zones.drift_of_zones(None)
    assert (found.state, len(found.findings), found.blind) == ("drift", 1, ("zone b.example.",))
    assert json.loads(report(found).as_json())["dns"]["blind"] == ["zone b.example."]
    monkeypatch.setattr(
        zones, "plan_site", lambda _: Plans((), (), {}, unread=(Unread("b.example.", "no answer"),))
    )
    assert zones.drift_of_zones(None).unknown == "b.example. cannot be read: no answer"

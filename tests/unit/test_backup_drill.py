"""A drill, with everything pretended: its order, what fails it, and that the spare is always given back."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mailwright.backup import drill as drill_module
from mailwright.backup.copies import QUEUE, compare_copy, compare_queue
from mailwright.backup.drill import Drill, Suite
from mailwright.backup.manifest import Entry
from mailwright.backup.programs import Difference
from mailwright.backup.report import markdown
from mailwright.backup.snapshots import BackupError
from mailwright.backup.spares import HostSpare, wipe
from mailwright.backup.standin import stand_in
from mailwright.model.needs import BackupPath, Certificate, Directory, File, Needs, Package, Unit, User
from mailwright.model.role import Role, Settings
from mailwright.model.secrets import GivenSecrets
from mailwright.model.site import Site
from tests.unit.backup_world import KEYS, MAIL, NOW, ROLES, World

BEFORE = NOW.timestamp() - 86_400
FILE = Entry(f"{KEYS}/a|b`c", "file", "opendkim", "opendkim", "0600", 1024, "digest", {}, BEFORE, BEFORE)
FOLDER = Entry(MAIL, "directory", "vmail", "vmail", "0700", 0, "", {}, BEFORE, BEFORE)


class Spare:
    """A spare machine that notes what is done to it."""

    def __init__(self, machine, log):
        self.machine, self.log = machine, log

    def empty(self):
        self.log.append("empty")
        return "reset"

    def give_back(self):
        self.log.append("give back")
        return "reset"


class Desk:
    """A drill of out1 on spare1 in a pretended fleet."""

    def __init__(self):
        self.world = World()
        self.log = self.world.log
        self.there = {FILE.path: FILE, MAIL: FOLDER}
        self.brought_back = dict(self.there)
        self.suite = Suite(180)
        self.deploy_fails = ""

    def manifest(self, _run, _paths):
        self.log.append("manifest")
        return self.brought_back if "deploy" in self.log else self.there

    def deploy(self):
        self.log.append("deploy")
        if self.deploy_fails:
            raise BackupError(self.deploy_fails)
        return "9 changed"

    def hold(self, spare=None):
        fleet = self.world.site.fleet
        plan = self.world.site.plan(fleet.machine("out1"))
        spare = spare or Spare(fleet.machine("spare1"), self.log)
        return Drill(plan, plan, spare, self.deploy, lambda: self.suite).run()


@pytest.fixture
def desk(monkeypatch):
    made = Desk()
    monkeypatch.setattr(drill_module, "manifest", made.manifest)
    for module in ("mailwright.backup.drill", "mailwright.backup.programs"):
        monkeypatch.setattr(f"{module}.runner", made.world.runner)
    return made


def acts(log):
    return [" ".join(line.split()[:2]) for line in log]


def test_a_drill_that_finds_everything_well_passes_and_gives_the_spare_back(desk):
    report = desk.hold()
    assert report.passed, report.faults
    assert acts(desk.log) == [
        "manifest",
        "empty",
        "deploy",
        "out1 sh",
        "out1 stage",
        "out1 place",
        "out1 sh",
        "manifest",
        "deploy",
        "give back",
    ]
    assert report.counts == {
        "same": 2,
        "octets": 1024,
        "changed_later": 0,
        "only_on_spare": 0,
        "different": 0,
    }
    assert report.checks == 180


def test_a_path_that_did_not_come_back_fails_it(desk):
    del desk.brought_back[FILE.path]
    report = desk.hold()
    assert not report.passed
    assert report.faults == [f"{FILE.path}: missing"]
    assert desk.log[-1] == "give back"


def test_a_red_suite_fails_it(desk):
    desk.suite = Suite(179, ("out1: unit-opendkim.service: failed",))
    report = desk.hold()
    assert report.faults == ["out1: unit-opendkim.service: failed"]
    assert not report.passed


def test_a_step_that_fails_is_the_last_one_but_for_giving_the_spare_back(desk):
    desk.deploy_fails = "opendkim: units: failed"
    report = desk.hold()
    assert report.faults == ["deploy the roles of out1 on spare1, closed: opendkim: units: failed"]
    assert acts(desk.log) == ["manifest", "empty", "deploy", "give back"]
    assert report.ended is None


def test_an_original_that_does_not_answer_leaves_the_spare_alone(desk, monkeypatch):
    def silent(*_):
        raise BackupError("no route to host")

    monkeypatch.setattr(drill_module, "manifest", silent)
    report = desk.hold()
    assert not report.passed
    assert desk.log == []


def test_an_interrupt_gives_the_spare_back_and_is_passed_on(desk):
    def interrupt():
        raise KeyboardInterrupt

    desk.deploy = interrupt
    with pytest.raises(KeyboardInterrupt):
        desk.hold()
    assert desk.log[-1] == "give back"


def test_an_interrupt_while_the_spare_is_given_back_does_not_keep_it_from_that(desk):
    spare = Spare(desk.world.site.fleet.machine("spare1"), desk.log)
    once = iter([KeyboardInterrupt])

    def give_back():
        desk.log.append("give back")
        for error in once:
            raise error
        return "reset"

    spare.give_back = give_back
    with pytest.raises(KeyboardInterrupt):
        desk.hold(spare)
    assert desk.log[-2:] == ["give back", "give back"]


def test_a_class_without_a_snapshot_fails_it(desk):
    desk.world.snapshots["out1"] = [s for s in desk.world.snapshots["out1"] if s["class"] == "long"]
    assert desk.hold().faults == [f"compare with out1: {MAIL}: there is no snapshot of the class short"]


def test_what_only_an_older_snapshot_has_fails_it(desk):
    first, *_ = desk.world.snapshots["out1"]
    desk.world.older = [first | {"class": "long", "time": "2026-11-01T00:00:00Z", "paths": ["/etc/keys"]}]
    (fault,) = desk.hold().faults
    assert fault == "/etc/keys: not in the newest snapshot; it came back from that of 2026-11-01T00:00:00Z"


@pytest.mark.parametrize("path", ["/etc", "/etc/ssh", "/etc/ssh/ssh_host_ed25519_key"])
def test_a_spare_does_not_get_the_host_keys_of_another_machine(desk, path):
    role = Role(
        "signer", Settings, apply=lambda _: None, needs=lambda _: Needs(backups=(BackupPath(path, "x"),))
    )
    desk.world.site = Site(desk.world.site.fleet, (role, *ROLES[1:]), GivenSecrets({}))
    with pytest.raises(BackupError, match="has its SSH host keys"):
        desk.hold()
    assert desk.log == []


@pytest.mark.parametrize("path", ["/root", "/root/.ssh", "/home", "/home/ops"])
def test_a_spare_lets_in_whom_it_did(desk, path):
    users = (User("ops", home="/home/ops", system=False),)
    needs = Needs(backups=(BackupPath(path, "x"),), users=users)
    role = Role("signer", Settings, apply=lambda _: None, needs=lambda _: needs)
    desk.world.site = Site(desk.world.site.fleet, (role, *ROLES[1:]), GivenSecrets({}))
    with pytest.raises(BackupError, match="has who may log in"):
        desk.hold()
    assert desk.log == []


# --- mail, which is dumped

MAILDIRS = BackupPath("/srv/mail", "mail", dump="cp", restore="mv", at="/srv/mail/.backup")
SPOOL = BackupPath(QUEUE, "queue", "short", dump="cp", restore="mv", at=f"{QUEUE}/.backup")
LETTER = Entry("/srv/mail/ann/new/17.mx1", "file", "vmail", "vmail", "0600", 9, "digest", {}, BEFORE, BEFORE)


@pytest.fixture
def post(desk, monkeypatch):
    """A desk whose out1 has mail and a queue: messages by their ids at out1, then at the spare."""
    queues = [{"4bA": BEFORE}, {"4bA": BEFORE}]
    role = Role("signer", Settings, apply=lambda _: None, needs=lambda _: Needs(backups=(MAILDIRS, SPOOL)))
    desk.world.site = Site(desk.world.site.fleet, (role, *ROLES[1:]), GivenSecrets({}))
    desk.there = {LETTER.path: LETTER}
    desk.brought_back = dict(desk.there)
    answers = iter(queues)
    mta = SimpleNamespace(arrivals=lambda: next(answers))
    monkeypatch.setattr(drill_module, "Mta", SimpleNamespace(of=lambda *_: mta))
    return SimpleNamespace(desk=desk, queues=queues)


def test_mail_that_is_back_passes(post):
    report = post.desk.hold()
    assert report.passed, report.faults
    assert [each.path for each in report.compared] == ["/srv/mail", QUEUE, f"{QUEUE} (messages)"]


def test_a_message_that_did_not_come_back_fails_it(post):
    post.queues[1].clear()
    assert post.desk.hold().faults == ["message 4bA: missing"]


def test_a_letter_that_did_not_come_back_fails_it(post):
    post.desk.brought_back.clear()
    assert post.desk.hold().faults == [f"{LETTER.path}: missing"]


def test_a_file_of_the_queue_that_came_back_otherwise_fails_it(post):
    post.desk.world.differences = [
        {"path": f"{QUEUE}/hold/4bA", "what": "mode", "expected": "0700", "found": "0755", "newer": False}
    ]
    assert post.desk.hold().faults == [f"{QUEUE}/hold/4bA: other mode: 0755, and 0700 on the original"]


def test_maildirs_whose_snapshot_is_empty_are_missed_whatever_the_queue_has(post):
    queued = f"/var/lib/mailwright/restore/abcd{SPOOL.at}/hold/4bA"
    post.desk.brought_back = {queued: replace(LETTER, path=queued)}
    assert post.desk.hold().faults == [f"{LETTER.path}: missing"]


def test_what_has_a_dump_in_words_of_its_own_is_compared_by_its_dumps(post):
    table, dump = f"{MAILDIRS.path}/base/1", f"/var/lib/mailwright/restore/abcd{MAILDIRS.at}/all.sql"
    post.desk.there = {table: replace(LETTER, path=table)}
    post.desk.brought_back = {dump: replace(LETTER, path=dump)}
    assert post.desk.hold().faults == []


# --- the report


def test_the_report_says_what_was_compared_and_nothing_of_contents(desk, tmp_path):
    desk.brought_back[FILE.path] = replace(FILE, content="other", mode="0644")
    report = desk.hold()
    page = report.write(tmp_path / "drills")
    text = page.read_text()
    assert page.name == f"{report.stem}.md"
    assert "# Drill of out1 on spare1: failed" in text
    assert f"- {KEYS}/a|b`c: other mode: 0644, and 0600 on the original" in text
    assert f"| `{KEYS}` | 0 | 0 B | 2 | 0 | 0 |" in text
    assert "| long | 00000030 | 2026-11-22T11:30:00Z | 2.0 KiB |" in text
    assert "digest" not in text
    data = json.loads(page.with_suffix(".json").read_text())
    assert data["verdict"] == "failed"
    assert [f["what"] for c in data["compared"] for f in c["different"]] == ["mode", "content"]
    assert "digest" not in json.dumps(data)


def test_names_of_files_cannot_break_the_report(desk):
    desk.brought_back[f"{KEYS}/x\n# y`|"] = FILE
    lines = list(markdown(desk.hold()))
    assert f"- `{KEYS}/x?# y'\\|`" in lines


# --- what is restored by a way of its own


def differs(name, what, *, newer=False):
    return Difference(f"{QUEUE}/{name}", what, "a", "b", newer)


def test_a_message_that_moved_to_another_queue_is_there():
    found = compare_copy(QUEUE, [differs("active/4Tz", "missing"), differs("deferred/4Tz", "extra")])
    assert (found.findings, found.more) == ((), ())


def test_a_file_of_the_queue_that_did_not_come_back_is_missing():
    found = compare_copy(QUEUE, [differs("active/4Tz", "missing", newer=False), differs("hold/4Ty", "extra")])
    assert [f.what for f in found.findings] == ["missing"]
    assert found.more == (f"{QUEUE}/hold/4Ty",)


def test_what_postfix_has_written_to_since_is_its_business():
    found = compare_copy(
        QUEUE, [differs("active/4Tz", "content", newer=True), differs("active/4Ty", "owner")]
    )
    assert [(f.path, f.what) for f in found.findings] == [(f"{QUEUE}/active/4Ty", "owner")]
    assert found.later == (f"{QUEUE}/active/4Tz",)


def test_messages_are_compared_by_their_ids():
    original = {"old": 100, "lost": 100, "late": 300}
    restored = {"old": 100, "delivered-since": 90}
    found = compare_queue(original, restored, taken=200)
    assert found.same == 1
    assert [f.path for f in found.findings] == ["message lost"]
    assert set(found.later) == {"message late", "message delivered-since"}


# --- the spare


def test_the_machine_is_found_where_the_spare_is_and_closed():
    data = {
        "backup": {"spare": "spare1"},
        "machines": [
            {
                "name": "out1",
                "ipv4": "203.0.113.11",
                "ipv6": "2001:db8::11",
                "ssh": {"port": 2222},
                "debian": 12,
            },
            {"name": "spare1", "ipv4": "203.0.113.62"},
        ],
    }
    stand_in(data, "out1", World().site.fleet.machine("spare1"))
    assert data["machines"] == [{"name": "out1", "ipv4": "203.0.113.62", "debian": 13, "closed": True}]
    assert data["backup"] == {}


OWN = Needs(
    packages=(Package("nftables"),),
    directories=(Directory("/etc/mailwright"),),
    files=(File("/etc/mailwright/own.conf", b""), File("/etc/nftables.conf", b"")),
    units=(Unit("nftables.service"),),
)
OTHER = OWN + Needs(
    packages=(Package("postfix"),),
    directories=(Directory("/etc/opendkim"), Directory("/etc/opendkim/keys")),
    files=(File("/etc/mailwright/backup/password", b"x", secret=True), File("/etc/opendkim/conf", b"")),
    units=(Unit("postfix.service"), Unit("rpcbind.service", masked=True)),
    backups=(
        BackupPath(QUEUE, "mail", dump="cp", restore="mv", at="/var/lib/dump"),
        BackupPath("/etc", "all"),
    ),
    certificates=(Certificate("smtp", ("out1.example.",)),),
)


def test_what_the_spare_has_of_its_own_stays_and_all_else_goes():
    lines = wipe(OTHER, OWN).splitlines()
    removed = next(line for line in lines if line.startswith("rm -rf")).split()[3:]
    assert QUEUE in removed
    assert "/var/lib/dump" in removed
    assert "/etc/mailwright/certificates/smtp" in removed
    assert "/etc/mailwright/backup" in removed
    assert "/var/lib/mailwright/restore" in removed
    assert not {"/etc", "/etc/mailwright"} & set(removed)
    assert "rm -f -- /etc/mailwright/backup/password /etc/opendkim/conf" in lines
    assert any("disable --now" in line and "postfix.service" in line for line in lines)
    assert not any("nftables" in line or "rpcbind" in line for line in lines)
    assert any("/etc/opendkim/keys /etc/opendkim" in line for line in lines if line.startswith("rmdir"))


def test_data_that_stays_because_the_spare_has_files_of_its_own_there_is_named():
    machine = SimpleNamespace(name="spare1")
    own, other = (SimpleNamespace(machine=machine, merged=needs) for needs in (OWN, OTHER))
    done = SimpleNamespace(status=0, stdout="", stderr="")
    said = HostSpare(own, other, lambda _: done, lambda: "deployed").give_back()
    assert said.startswith("wiped, but for what was brought to /etc: it has files of its own there")
    assert HostSpare(own, own, lambda _: done, lambda: "deployed").give_back() == "wiped; deployed"


def test_a_machine_with_nothing_besides_has_nothing_taken_away():
    text = wipe(OWN, OWN)
    assert "rm -f" not in text
    assert "purge" not in text
    assert "systemctl disable" not in text


def test_a_host_that_cannot_be_wiped_says_why(desk):
    plan = desk.world.site.plan(desk.world.site.fleet.machine("spare1"))
    failing = SimpleNamespace(status=1, stdout="", stderr="rm: /srv: Read-only file system\n")
    with pytest.raises(BackupError, match="spare1 could not be wiped: rm: /srv: Read-only"):
        HostSpare(plan, plan, lambda _: failing, lambda: "").give_back()

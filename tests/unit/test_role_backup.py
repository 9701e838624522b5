"""Pins what a machine backs up and where to, and when its verification is red; the lab proves the rest."""

import json
import subprocess

import pytest
from pydantic import ValidationError

from mailwright.model.errors import UnknownError
from mailwright.model.needs import BackupPath, Needs
from mailwright.model.role import Result, Role, Settings
from roles import backup

STORE = {
    "name": "vault1",
    "fqdn": "vault1.brightpost.example",
    "debian": 13,
    "ipv4": "203.0.113.61",
    "roles": {"backup_store": {}},
}
QUEUE = BackupPath("/var/spool/x", "mail", "short", "copy", "bring back", "/var/spool/x/.copy")
SECRETS = {"backup/m1/password": "opens-m1", "backup/m1/rest": "enters-m1"}


@pytest.fixture
def plan(plan_of):
    """Returns a function: settings of the role to the plan of a machine that backs up to vault1."""

    def planned(settings=None, **machine):
        return plan_of(
            backup.ROLE,
            Role("backup_store", Settings, apply=lambda _: None),
            settings={"backup": settings or {}, "backup_store": {}},
            needs=Needs(backups=(QUEUE,)),
            secrets=SECRETS,
            machine={"roles": {"backup": settings or {}, "other": {}}, **machine},
            machines=(STORE,),
            backup={"store": {"type": "host", "machine": "vault1"}},
        )

    return planned


@pytest.fixture
def judge(plan):
    """Returns a function: what `status` says, the time and since when, to the judgement."""

    def judged(classes, now=100_000, since=0, held=None):
        check = next(c for _, c in plan().checks() if "fresh" in c.name)
        said = json.dumps(classes | {"held": held})
        return check.judge(Result(0, f"{now}\n{since}\n{said}", ""))

    return judged


def run(error=None, began="1970-01-01T00:00:01Z", succeeded=None):
    return {"ok": not error, "began": began, "error": error, "succeeded": succeeded}


def test_everything_that_the_roles_and_the_operator_name_is_backed_up(plan, content_of):
    more = {"path": "/srv/app", "reason": "the application"}
    sources = json.loads(content_of(plan({"paths": [more]}), backup.CONFIG))["sources"]
    assert {(s["path"], s["retention"], s["at"]) for s in sources} == {
        ("/var/spool/x", "short", "/var/spool/x/.copy"),
        ("/srv/app", "long", ""),
    }


def test_half_a_dump_of_the_operators_is_refused(plan):
    with pytest.raises(ValidationError, match="`dump` and `at` go together"):
        plan({"paths": [{"path": "/srv/app", "reason": "x", "dump": "true"}]})


@pytest.mark.parametrize("at", ["/srv/app", "/srv"])
def test_a_dump_that_would_wipe_what_it_is_a_copy_of_is_refused(plan, at):
    with pytest.raises(ValidationError, match="`at` is emptied"):
        plan({"paths": [{"path": "/srv/app", "reason": "x", "dump": "true", "at": at}]})


def test_a_machine_that_lost_its_note_of_when_backups_began_is_told_in_a_line(plan, tmp_path):
    check = next(c for _, c in plan().checks() if "fresh" in c.name)
    (tmp_path / "program").write_text("#!/bin/sh\necho '{\"held\": null}'\n")
    (tmp_path / "program").chmod(0o755)
    command = check.command.replace(backup.SINCE, str(tmp_path / "since"))
    command = command.replace(backup.PROGRAM, str(tmp_path / "program"))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "No such file" in check.judge(Result(done.returncode, done.stdout, done.stderr))


def test_what_opens_the_repository_is_roots_alone_and_in_no_file_that_others_read(plan):
    files = plan().merged.files
    telling = [f for f in files if any(value.encode() in f.content for value in SECRETS.values())]
    assert {f.path for f in telling} == {f"{backup.PRIVATE}/password", f"{backup.PRIVATE}/repository"}
    assert all((f.owner, f.group, f.mode, f.secret) == ("root", "root", 0o600, True) for f in telling)


def test_credentials_of_another_kind_of_store_go(plan):
    absent = {a.path for a in plan().merged.absent}
    assert f"{backup.PRIVATE}/s3" in absent
    assert f"{backup.PRIVATE}/password" not in absent


def test_a_machine_that_is_put_together_makes_no_backups_and_reaches_its_store(plan):
    closed = plan(closed=True)
    timer = next(u for u in closed.merged.units if u.name == f"{backup.UNIT}.timer")
    assert (timer.enabled, timer.running) == (False, False)
    assert any(r.number == 8000 for r in closed.merged.reaches)
    assert not [c for _, c in closed.checks() if "fresh" in c.name]


def test_the_timer_and_the_limits_are_the_operators(plan, content_of):
    made = plan({"schedule": "*-*-* 03:00", "limit_upload": 500, "on_failure": ["call.service"]})
    assert "OnCalendar=*-*-* 03:00\n" in content_of(made, "/etc/systemd/system/mailwright-backup.timer")
    service = content_of(made, "/etc/systemd/system/mailwright-backup.service")
    assert "OnFailure=mailwright-backup-failed.service call.service\n" in service
    assert json.loads(content_of(made, backup.CONFIG))["limit_upload"] == 500


def test_a_good_young_backup_is_well(judge):
    assert judge({"long": run(succeeded="1970-01-02T03:00:00Z")}) is None


def test_an_old_backup_is_told_with_its_time(judge):
    assert "1970-01-01T00:00:02Z" in judge({"long": run(succeeded="1970-01-01T00:00:02Z")})


def test_a_failed_one_is_told_though_the_one_before_is_young(judge):
    assert judge({"short": run("no route", succeeded="1970-01-02T03:00:00Z")}) == "short: no route"


def test_a_new_machine_has_time_for_its_first_backup_and_no_longer(judge):
    never = {"long": run("no backup yet", began=None)}
    assert judge(never, since=99_000) is None
    assert judge(never, since=10_000) == "long: no backup yet"


def test_backups_that_are_on_hold_are_told(judge):
    assert "on hold: rebuilding" in judge({"long": run(succeeded="1970-01-02T03:00:00Z")}, held="rebuilding")


@pytest.fixture
def store_answers(plan):
    """The judgement of the check that asks the store."""
    return next(c for _, c in plan().checks() if "store answers" in c.name).judge


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (Result(0, "", ""), None),
        (Result(3, "", "the store refuses this machine: 401\n"), "the store refuses this machine: 401"),
    ],
)
def test_a_store_that_refuses_is_told(store_answers, result, found):
    assert store_answers(result) == found


def test_a_store_that_does_not_answer_is_unknown_and_not_wrong(store_answers):
    with pytest.raises(UnknownError, match="nobody can tell: no route"):
        store_answers(Result(0, "", "nobody can tell: no route\n"))

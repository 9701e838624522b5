"""What `mailwright backup list | run | verify | restore` make of a fleet: words, consent, exit status."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest

from mailwright.backup import programs, restoring
from mailwright.backup.snapshots import Snapshot
from mailwright.command import backup, backup_restore, backup_verify, main
from mailwright.command.alone import alone
from mailwright.model.needs import BackupPath
from tests.unit.backup_world import KEYS, MAIL, NOW, World, snapshot

STAGE = "/var/lib/mailwright/restore/abcd"


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World()
    (tmp_path / "prod.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for module in (backup, backup_restore, backup_verify):
        monkeypatch.setattr(module, "open_site", lambda _: made.site)
    monkeypatch.setattr(programs, "runner", made.runner)
    for module in (backup, backup_verify):
        monkeypatch.setattr(module, "clock", lambda: NOW)
    monkeypatch.setattr(restoring.Restore, "_reload", lambda *_: ("opendkim.service: restart",))
    return made


def run(*arguments):
    return main.run(["backup", *arguments])


def rows(text):
    return [line.split() for line in text.splitlines()]


# --- list


def test_the_newest_snapshot_of_each_class_is_listed_with_its_age_and_size(world, capsys):
    assert run("list", "prod.yaml") == 0
    said = rows(capsys.readouterr().out)
    assert said[1] == ["out1", "long", "2026-11-22T11:30:00Z", "30", "min", "2.0", "KiB", "2"]
    assert said[2] == ["out1", "short", "2026-11-22T11:55:00Z", "5", "min", "2.0", "KiB", "1"]
    assert [row[0] for row in said] == ["MACHINE", "out1", "out1", "out2", "out2"]
    assert sorted(world.log) == ["vault1 snapshots out1", "vault1 snapshots out2"]


def test_all_snapshots_are_listed_newest_first(world, capsys):  # noqa: ARG001 - the fixture patches
    assert run("list", "prod.yaml", "--all", "--limit", "out1") == 0
    said = rows(capsys.readouterr().out)
    assert [row[2] for row in said[1:3]] == ["2026-11-22T11:30:00Z", "2026-11-22T11:00:00Z"]


def test_a_dead_machine_is_listed_like_any_other(world):
    world.silent = {"out1", "out2"}
    assert run("list", "prod.yaml") == 0


def test_a_machine_without_a_snapshot_is_marked(world, capsys):
    del world.snapshots["out2"]
    assert run("list", "prod.yaml") == 1
    said = capsys.readouterr().out
    assert "out2     long   -" in said
    assert said.count("there is no snapshot") == 2


def test_a_stale_machine_is_marked(world, capsys):
    world.snapshots["out2"] = [snapshot(60 * 24 * 9, "long", KEYS), snapshot(5, "short", MAIL)]
    assert run("list", "prod.yaml") == 1
    assert "the newest is 9 d old" in capsys.readouterr().out


def test_a_keeper_that_does_not_answer_is_not_a_missing_backup(world, capsys):
    world.silent = {"vault1"}
    assert run("list", "prod.yaml") == 3
    assert "vault1, which keeps the backups, does not answer: no route to host" in capsys.readouterr().err


def test_the_list_for_programs_has_every_snapshot(world, capsys):
    world.snapshots["out2"] = []
    assert run("list", "prod.yaml", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [(each["machine"], each["class"], len(each["snapshots"])) for each in found] == [
        ("out1", "long", 2),
        ("out1", "short", 1),
        ("out2", "long", 0),
        ("out2", "short", 0),
    ]
    assert found[0]["age"] == 1800
    assert found[2]["faults"] == ["there is no snapshot"]


def test_machines_that_make_no_backups_are_refused_by_name(world, capsys):  # noqa: ARG001
    assert run("list", "prod.yaml", "--limit", "util1") == 1
    assert "no backups are made of util1: the role backup is missing" in capsys.readouterr().err


def test_a_repository_that_cannot_be_read_is_a_fault_of_its_machine_alone(world, capsys):
    world.fail["vault1", "snapshots out2"] = "out2: config or key is damaged"
    assert run("list", "prod.yaml") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[3].endswith("vault1: out2: config or key is damaged")
    assert said[1].startswith("out1     long   2026")


# --- verify


def test_all_is_well_where_keeper_and_machines_say_so(world, capsys):
    assert run("verify", "prod.yaml") == 0
    said = rows(capsys.readouterr().out)
    assert said[1] == ["out1", "ok", "30", "min", "5", "min", "2026-11-22T04:00:00Z"]
    assert not any("check" in line for line in world.log)


def test_a_reading_is_asked_for_and_what_it_finds_is_told(world, capsys):
    world.fail["vault1", "check out1"] = "out1: pack 12ab is damaged"
    world.faults["read"].append("out1: check: pack 12ab is damaged")
    assert run("verify", "prod.yaml", "--read") == 1
    assert [line for line in world.log if "check" in line] == ["vault1 check out1", "vault1 check out2"]
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("out1     failed")
    assert said[1].endswith("check: pack 12ab is damaged")
    assert said[2].startswith("out2     ok")


def test_a_reading_that_did_not_take_place_is_told(world, capsys):
    world.fail["vault1", "check out1"] = "another run has been at work for 300 s"
    assert run("verify", "prod.yaml", "--read") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("out1     failed")
    assert said[1].endswith("vault1: another run has been at work for 300 s")
    assert said[2].startswith("out2     ok")


def test_a_declared_path_that_is_in_no_snapshot_is_told(world, capsys):
    world.snapshots["out2"] = [snapshot(5, "long", "/etc/opendkim.conf"), snapshot(5, "short", MAIL)]
    assert run("verify", "prod.yaml") == 1
    assert f"long: {KEYS} is not in it" in capsys.readouterr().out


def test_a_full_store_is_told_in_a_line_of_its_own(world, capsys):
    world.faults["room"].append("the disk is nearly full: 1.0 MiB are free beyond the reserve")
    assert run("verify", "prod.yaml") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1].split()[:2] == ["vault1", "failed"]


def test_a_last_run_that_failed_is_told_in_the_words_of_the_machine(world, capsys):
    world.runs["out1"]["short"] = {"ok": False, "error": "the run was cut short"}
    assert run("verify", "prod.yaml") == 1
    assert "short: the last run failed: the run was cut short" in capsys.readouterr().out


def test_backups_on_hold_are_told(world, capsys):
    world.runs["out1"]["held"] = "rebuild"
    assert run("verify", "prod.yaml") == 1
    assert "backups are on hold: rebuild" in capsys.readouterr().out


def test_a_dead_machine_leaves_something_unknown(world, capsys):
    world.silent = {"out1"}
    assert run("verify", "prod.yaml", "--json") == 3
    found = json.loads(capsys.readouterr().out)["machines"]
    assert [(each["machine"], each["verdict"]) for each in found] == [("out1", "unknown"), ("out2", "ok")]
    assert found[0]["unknown"] == "it does not answer: no route to host"


def test_a_dead_keeper_leaves_everything_unknown(world, capsys):
    world.silent = {"vault1"}
    assert run("verify", "prod.yaml", "--read") == 3
    assert "vault1, which keeps the backups, does not answer" in capsys.readouterr().err


# --- run


def test_all_machines_are_backed_up_now(world, capsys):
    assert run("run", "prod.yaml") == 0
    assert sorted(world.log) == ["out1 run", "out2 run"]
    assert [row[:2] for row in rows(capsys.readouterr().out)] == [["out1", "ok"], ["out2", "ok"]]


def test_one_that_fails_does_not_keep_the_others_from_it(world, capsys):
    world.fail["out1", "run"] = "another run is at work"
    assert run("run", "prod.yaml") == 1
    said = capsys.readouterr()
    assert "out1  failed  out1: another run is at work" in said.err
    assert said.out.startswith("out2  ok")


def test_one_that_does_not_answer_has_not_been_backed_up(world, capsys):
    world.silent = {"out2"}
    assert run("run", "prod.yaml") == 1
    assert "out2  failed  no route to host" in capsys.readouterr().err


# --- restore


def difference(path, what, expected="", found="", *, newer=False):
    return {"path": path, "what": what, "expected": expected, "found": found, "newer": newer}


def test_a_restore_stages_shows_and_puts_in_place(world, capsys):
    world.differences = [
        difference(f"{KEYS}/a", "missing", "file", "nothing"),
        difference(f"{KEYS}/b", "content", "12 bytes", "13 bytes", newer=True),
        difference(f"{KEYS}/b", "mode", "0600", "0644", newer=True),
        difference(f"{KEYS}/c", "extra", "nothing", "file"),
    ]
    assert run("restore", "prod.yaml", "out1", "--yes") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        f"+ {KEYS}/a  is not there now",
        f"~ {KEYS}/b  content, mode 0644 -> 0600; it changed here after the snapshot",
        f"  {KEYS}/c  is in no snapshot, and stays",
    ]
    assert "opendkim.service: restart" in said
    assert [line for line in world.log if " sh " not in line] == [
        f"out1 stage {STAGE}",
        f"out1 compare {STAGE}",
        f"out1 place {STAGE}",
    ]
    assert world.log[-1] == f"out1 sh rm -rf -- {STAGE}"


def test_what_is_restored_by_a_way_of_its_own_may_stay():
    mail = BackupPath(MAIL, "mail", dump="cp", restore="mv", at=f"{MAIL}/.backup")
    found = [
        programs.Difference(f"{MAIL}/ann/1", "mode", "0600", "0644"),
        programs.Difference(MAIL, "missing"),
    ]
    signs = [change.sign for change in restoring.changes(found, [mail])]
    assert signs == ["+", "?"]
    assert [change.sign for change in restoring.changes(found)] == ["+", "~"]


def test_nothing_is_put_in_place_without_a_yes(world, monkeypatch):
    world.differences = [difference(f"{KEYS}/a", "missing")]
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    assert run("restore", "prod.yaml", "out1") == main.INTERRUPTED
    assert not any("place" in line for line in world.log)
    assert world.log[-1] == f"out1 sh rm -rf -- {STAGE}"


def test_the_fleet_is_held_once_the_question_is_answered_and_not_before(world, monkeypatch, tmp_path, capsys):
    world.differences = [difference(f"{KEYS}/a", "missing")]
    fleet = tmp_path / "prod.yaml"

    def answers(*_, **__):
        with alone(fleet):
            return True  # nobody else has it

    monkeypatch.setattr("typer.confirm", answers)
    assert run("restore", "prod.yaml", "out1") == 0
    with alone(fleet):
        assert run("restore", "prod.yaml", "out1", "--yes") == 1
    assert "is at work on this fleet" in capsys.readouterr().err
    assert sum("place" in line for line in world.log) == 1


def test_what_is_of_an_older_snapshot_is_told(capsys):
    newest, older = (
        Snapshot(NOW - timedelta(hours=hours), f"0000000{hours}", "long", (path,))
        for hours, path in ((1, KEYS), (2, MAIL))
    )
    machine = SimpleNamespace(name="out1")
    backup_restore._said(machine, programs.Staged(STAGE, (older, newest), (KEYS, MAIL)))
    said = " ".join(capsys.readouterr().err.split())
    assert f"00000002 (long) of 2026-11-22T10:00:00Z, for {MAIL}" in said
    assert said.count(", for ") == 1


def test_nothing_is_asked_where_nothing_would_change(world, capsys):
    world.differences = [difference(f"{KEYS}/c", "extra")]
    assert run("restore", "prod.yaml", "out1") == 0
    assert "nothing to do" in capsys.readouterr().err
    assert not any("place" in line for line in world.log)


def test_a_restore_that_cannot_be_staged_changes_nothing_and_leaves_nothing(world, capsys):
    world.fail["out1", "stage"] = "the store does not answer"
    assert run("restore", "prod.yaml", "out1", "--yes") == 1
    assert capsys.readouterr().err.endswith("out1: the store does not answer\n")
    assert not any("place" in line for line in world.log)
    assert world.log[-1] == f"out1 sh rm -rf -- {STAGE}"


def test_paths_and_a_time_reach_the_machine(world):
    assert run("restore", "prod.yaml", "out1", "--at", "2026-11-20T14:00", "--path", KEYS, "--yes") == 0
    assert f"out1 stage {STAGE} --at 2026-11-20T14:00:00Z --path {KEYS}" in world.log
    assert f"out1 compare {STAGE} --path {KEYS}" in world.log


def test_a_time_may_name_its_zone(world):
    assert run("restore", "prod.yaml", "out1", "--at", "2026-11-20T14:00+01:00", "--yes") == 0
    assert any("--at 2026-11-20T13:00:00Z" in line for line in world.log)


def test_to_a_folder_nothing_is_put_in_place(world, capsys):
    assert run("restore", "prod.yaml", "out1", "--to", "/root/back") == 0
    assert world.log == ["out1 stage /root/back"]
    assert "out1: in /root/back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("out9",), "prod.yaml: the fleet has no machine out9"),
        (("util1",), "util1: it makes no backups, because it lacks the role backup"),
        (("out1", "--at", "yesterday"), "--at yesterday: not a time"),
        (("out1", "--path", "etc"), "etc: not a path from / on"),
        (("out1", "--to", "back"), "back: not a path from / on"),
    ],
)
def test_a_wrong_restore_is_refused_before_anybody_is_asked(world, capsys, arguments, said):
    assert run("restore", "prod.yaml", *arguments) == 1
    assert said in capsys.readouterr().err
    assert world.log == []

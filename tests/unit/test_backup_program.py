"""Pins what a machine's backup program does when the store is good to it, refuses it, hangs or is cut off.

restic here is a program of the test that copies trees, so that what is judged is ours.
"""

import grp
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "templates" / "backup"

RESTIC = f"""#!{sys.executable}
import json, os, pathlib, shutil, sys, time
here, words = pathlib.Path(os.environ["HERE"]), sys.argv[1:]
cache = words.index("--cache-dir")
command, words = words[cache + 2], words[cache + 3:]
with (here / "asked").open("a") as log:
    print(command, *words, file=log)
does = (here / "does").read_text().split("|")
if does[0] == command and not (command == "restore" and "--no-lock" in words):
    sys.stderr.write(does[2] + "\\n")
    if does[1] == "hang":
        (here / "hangs").touch()
        time.sleep(60)
    if does[1] != "3":
        if len(does) > 3:  # only once
            (here / "does").write_text("ok")
        sys.exit(int(does[1]))
store = here / "store"
if command == "backup":
    paths = words[words.index("--") + 1:]
    number = len(list(store.glob("*.json"))) + 1
    name = f"{{number:08x}}"
    for path in paths:
        target = store / name / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(path):
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target)
    made = {{"id": name + "f" * 56, "paths": paths, "tags": [words[words.index("--tag") + 1]]}}
    made["time"] = f"2026-11-{{number:02d}}T10:00:00.123456789+01:00"
    (store / (name + ".json")).write_text(json.dumps(made))
    print(json.dumps({{"message_type": "summary", "snapshot_id": name, "total_bytes_processed": 7,
                      "data_added": 3}}))
    sys.exit(int(does[1]) if does[0] == command else 0)
elif command == "snapshots":
    print(json.dumps([json.loads(f.read_text()) for f in sorted(store.glob("*.json"))]))
elif command == "restore":
    wished = [words[i + 1] for i, w in enumerate(words) if w == "--include"]
    target = pathlib.Path(words[words.index("--target") + 1])
    for path in json.loads((store / (words[0] + ".json")).read_text())["paths"]:
        for part in ([path] if not wished else [w for w in wished if w == path or w.startswith(path + "/")]):
            source, goal = store / words[0] / part.lstrip("/"), target / part.lstrip("/")
            goal.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, goal, symlinks=True, dirs_exist_ok=True)
            elif source.exists():
                shutil.copy2(source, goal)
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A machine in a folder."""
    return Desk(tmp_path, monkeypatch)


class Desk:
    def __init__(self, here, monkeypatch):
        self.here, self.home, self.live = here, here / "home", here / "live"
        for folder in ("bin", "store", "live/keys", "live/queue"):
            (here / folder).mkdir(parents=True)
        (here / "bin" / "restic").write_text(RESTIC)
        (here / "bin" / "restic").chmod(0o755)
        monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")
        self.does("ok")
        self.key = self.live / "keys" / "key"
        self.key.write_text("secret")
        self.key.chmod(0o640)
        (self.live / "queue" / "1").write_text("mail")
        at = self.live / ".copy"
        self.sources = [
            {"path": str(self.live / "keys"), "retention": "long", "dump": "", "restore": "", "at": ""},
            {
                "path": str(self.live / "queue"),
                "retention": "short",
                "dump": f"ln {self.live}/queue/* {at}/",
                "restore": f"mv {at}/* {self.live}/queue/",
                "at": str(at),
            },
        ]
        self.configure()

    def configure(self, repository="rclone:out1"):
        data = {
            "machine": "out1",
            "sources": self.sources,
            "options": [],
            "environment": {"HERE": str(self.here), "RESTIC_REPOSITORY": repository},
            "limit_upload": None,
            "patience": 600,
            "home": str(self.home),
            "cache": str(self.here / "cache"),
            "metrics": str(self.here / "metrics" / "backup.prom"),
        }
        (self.here / "backup.json").write_text(json.dumps(data))

    def does(self, what):
        (self.here / "does").write_text(what)

    @property
    def argv(self):
        return [sys.executable, "-m", "mailwright_backup", "--config", self.here / "backup.json"]

    @property
    def env(self):
        return os.environ | {"PYTHONPATH": str(PROGRAM)}

    def run(self, *arguments):
        argv = [*self.argv, *map(str, arguments)]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)

    def json(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def started(self):
        """A run that hangs in restic, once it does."""
        self.does("backup|hang|waiting")
        process = subprocess.Popen([*self.argv, "run"], env=self.env, stderr=subprocess.DEVNULL)
        ready = threading.Event()
        while not (self.here / "hangs").exists():
            ready.wait(0.05)
        return process

    def metric(self, name, retention="long"):
        text = (self.here / "metrics" / "backup.prom").read_text()
        return float(next(x for x in text.splitlines() if f'{name}{{class="{retention}"}}' in x).split()[1])

    @property
    def asked(self):
        return (self.here / "asked").read_text().splitlines()


def test_a_run_makes_one_snapshot_a_class_and_says_how_it_went(desk):
    assert desk.json("status")["long"]["error"] == "no backup yet"
    assert desk.run("run").returncode == 0
    assert [(s["class"], s["paths"]) for s in desk.json("snapshots")] == [
        ("long", [str(desk.live / "keys")]),
        ("short", [str(desk.live / "queue")]),
    ]
    status = desk.json("status")
    assert status["held"] is None
    assert all(status[c]["ok"] and status[c]["snapshot"] for c in ("long", "short"))
    assert desk.metric("success_seconds") > 0
    assert desk.metric("failed") == desk.metric("unfinished_seconds") == 0
    assert not (desk.live / ".copy").exists()


def test_a_first_run_that_goes_on_is_no_fault_until_it_is_killed(desk):
    process = desk.started()
    told = desk.json("status")["long"]
    assert (told["error"], told["succeeded"], told["ended"]) == (None, None, None)
    process.kill()
    process.wait()
    assert "cut short" in desk.json("status")["long"]["error"]


def test_what_a_run_that_failed_left_locked_is_unlocked_by_the_next_alone(desk):
    desk.does("backup|1|Fatal: unable to save: no space left on device|once")
    assert desk.run("run", "long").returncode == 1
    assert desk.run("run", "long").returncode == 0
    assert desk.run("run", "long").returncode == 0
    assert [words.split()[0] for words in desk.asked] == ["backup", "unlock", "backup", "backup"]


def test_times_are_told_in_utc(desk):
    desk.run("run", "long")
    assert desk.json("snapshots")[0]["time"] == "2026-11-01T09:00:00Z"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("backup|1|Fatal: unable to save: no space left on device", "no space left"),
        ("backup|1|Fatal: wrong password or no key found", "refuses this machine"),
        ("backup|3|error: cannot read /x: permission denied", "could not be read"),
    ],
)
def test_a_failure_is_in_the_status_the_metrics_and_the_exit_status_until_the_next_good_run(desk, does, says):
    desk.run("run")
    good = desk.metric("success_seconds")
    desk.does(does)
    done = desk.run("run")
    assert done.returncode == 1
    assert says in done.stderr
    assert says in desk.json("status")["long"]["error"]
    assert desk.metric("failed") == 1
    assert desk.metric("success_seconds") == good
    desk.does("ok")
    assert desk.run("run").returncode == 0
    assert desk.json("status")["long"]["error"] is None


def test_a_path_that_is_gone_is_told_and_the_others_are_backed_up(desk):
    desk.sources.insert(0, {**desk.sources[0], "path": str(desk.live / "gone")})
    desk.configure()
    done = desk.run("run", "long")
    assert done.returncode == 1
    assert "gone: there is nothing to back up" in done.stderr
    assert str(desk.live / "keys") in desk.json("snapshots")[0]["paths"]


def test_a_dump_that_fails_is_told_by_its_last_words_and_leaves_nothing(desk):
    desk.sources[1]["dump"] = "echo the disk is gone >&2; exit 4"
    desk.configure()
    assert "the disk is gone" in desk.run("run", "short").stderr
    assert not (desk.live / ".copy").exists()


def test_a_copy_that_cannot_be_made_keeps_nothing_else_from_being_backed_up(desk):
    queue = desk.sources[1]
    (desk.live / "lost").symlink_to("nowhere")
    desk.sources.insert(1, {**queue, "at": str(desk.live / "lost" / "copy")})
    desk.configure()
    done = desk.run("run", "short")
    assert done.returncode == 1
    assert "lost: File exists" in done.stderr
    assert desk.json("snapshots")[0]["paths"] == [queue["path"]]


def test_a_link_to_a_folder_is_told_and_not_taken_for_what_it_leads_to(desk):
    (desk.live / "link").symlink_to(desk.live / "keys")
    desk.sources.append({**desk.sources[0], "path": str(desk.live / "link")})
    desk.configure()
    done = desk.run("run", "long")
    assert done.returncode == 1
    assert f"link: it is a link, and would be backed up as one: name {desk.live}/keys" in done.stderr


def test_a_killed_run_is_seen_and_the_next_one_goes_on(desk):
    desk.run("run")
    process = desk.started()
    assert desk.metric("unfinished_seconds") > 0
    assert "another one is running" in desk.run("run").stderr
    assert desk.json("status")["long"]["ok"]  # it goes on: nothing is wrong yet
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "cut short" in desk.json("status")["long"]["error"]
    desk.does("ok")
    assert "cut short" in desk.run("settle").stdout
    assert desk.metric("failed") == 1
    assert desk.run("run").returncode == 0
    assert desk.json("status")["long"]["ok"]


def test_a_run_that_is_told_to_end_says_so(desk):
    process = desk.started()
    process.terminate()
    assert process.wait() == 1
    assert desk.json("status")["long"]["error"] == "the run was stopped"


def test_what_a_killed_run_left_of_a_copy_is_cleared_away(desk):
    (desk.live / ".copy").mkdir()
    (desk.live / ".copy" / "half").write_text("x")
    assert desk.run("settle").returncode == 0
    assert not (desk.live / ".copy").exists()


def test_no_progress_is_given_up_with_the_last_word(desk):
    desk.does("backup|hang|Save() returned error, retrying: no route to host")
    done = desk.run("run", "long", "--patience", "1")
    assert done.returncode == 1
    assert "no progress for 1 s" in done.stderr
    assert "no route to host" in done.stderr


def test_a_keeper_at_work_is_waited_for(desk, monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAM))
    from mailwright_backup.restic import Restic  # noqa: PLC0415 - found on the path of this test only
    from mailwright_backup.wanted import read  # noqa: PLC0415

    desk.does("snapshots|11|repository is already locked exclusively by PID 7 on vault1|once")
    answer = Restic(read(desk.here / "backup.json")).ask_when_free(
        "snapshots", longest_wait=60, pause=lambda _: None
    )
    assert answer.status == 0
    assert desk.asked == ["snapshots", "unlock", "snapshots"]


def test_backups_on_hold_stay_so_until_they_are_released(desk):
    desk.run("hold", "it is being  rebuilt")
    assert desk.json("status")["held"] == "it is being rebuilt"
    done = desk.run("run")
    assert (done.returncode, "on hold: it is being rebuilt" in done.stderr) == (1, True)
    assert "mailwright_backup_held 1" in (desk.here / "metrics" / "backup.prom").read_text()
    desk.run("release")
    assert desk.run("run").returncode == 0


@pytest.mark.parametrize(
    ("does", "status", "says"),
    [
        ("ok", 0, ""),
        ("cat|12|Fatal: wrong password or no key found", 3, "refuses this machine"),
        (
            "cat|1|Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized",
            3,
            "401",
        ),
        ("cat|1|subprocess ssh: backup-out1@backup-store: Permission denied (publickey).", 3, "publickey"),
        (
            'cat|1|Load key "/etc/mailwright/backup/ssh": bad permissions; Permission denied (publickey).',
            0,
            "nobody can tell",
        ),
        ("cat|1|Fatal: dial tcp: connection refused", 0, "nobody can tell"),
        ("cat|10|Fatal: repository does not exist: unable to open config file", 0, "nobody can tell"),
    ],
)
def test_only_a_store_that_refuses_says_that_a_machine_is_replaced(desk, does, status, says):
    desk.does(does)
    done = desk.run("fence")
    assert done.returncode == status
    assert says in done.stderr


@pytest.mark.parametrize(
    ("repository", "says"),
    [
        ("s3:https://s3.example.com/backups/out1", "Stat: Access Denied. AccessDenied"),
        ("s3:https://s3.example.com/backups/out1", "unexpected HTTP response (403): 403 Forbidden"),
        ("sftp:out1@backup-store:out1", "subprocess ssh: out1@backup-store: Permission denied (publickey)."),
    ],
)
def test_somebody_elses_storage_that_lets_nobody_in_replaces_no_machine(desk, repository, says):
    desk.configure(repository)
    desk.does(f"cat|1|{says}")
    done = desk.run("fence")
    assert (done.returncode, "nobody can tell" in done.stderr) == (0, True)
    desk.does("cat|12|Fatal: wrong password or no key found")
    assert desk.run("fence").returncode == 3


def test_what_was_brought_back_is_what_was_there(desk):
    desk.run("run")
    brought = desk.json("stage", desk.here / "back")
    assert brought["paths"] == [str(desk.live / "keys"), str(desk.live / "queue")]
    assert desk.json("compare", desk.here / "back") == []


def test_each_kind_of_difference_is_told(desk):
    (desk.live / "keys" / "link").symlink_to("key")
    (desk.live / "queue" / "2").write_text("more mail")
    desk.run("run")
    desk.json("stage", desk.here / "back")
    desk.key.chmod(0o644)
    (desk.live / "keys" / "link").unlink()
    (desk.live / "keys" / "link").symlink_to("other")
    (desk.live / "keys" / "more").write_text("new")
    (desk.live / "queue" / "1").unlink()
    found = {
        (d["path"], d["what"], d["expected"], d["found"]) for d in desk.json("compare", desk.here / "back")
    }
    assert found == {
        (str(desk.key), "mode", "0640", "0644"),
        (str(desk.live / "keys" / "link"), "content", "key", "other"),
        (str(desk.live / "keys" / "more"), "extra", "nothing", "file"),
        (str(desk.live / "queue" / "1"), "missing", "file", "nothing"),
    }


def test_placing_brings_all_of_it_back_and_leaves_the_folders_above_alone(desk):
    desk.run("run")
    desk.json("stage", desk.here / "back")
    desk.live.chmod(0o751)
    desk.key.write_text("changed")
    (desk.live / "queue" / "1").unlink()
    assert desk.json("place", desk.here / "back")["paths"] == [str(desk.live / n) for n in ("keys", "queue")]
    assert (desk.key.read_text(), desk.key.stat().st_mode & 0o777) == ("secret", 0o640)
    assert (desk.live / "queue" / "1").read_text() == "mail"
    assert desk.live.stat().st_mode & 0o777 == 0o751
    assert desk.json("compare", desk.here / "back") == []


def test_one_path_comes_back_alone_also_from_inside_a_copy(desk):
    (desk.live / "queue" / "2").write_text("more mail")
    desk.run("run")
    one = desk.live / "queue" / "2"
    assert desk.json("stage", desk.here / "back", "--path", one)["paths"] == [str(one)]
    for path in (desk.key, one, desk.live / "queue" / "1"):
        path.unlink()
    assert desk.json("place", desk.here / "back", "--path", one)["paths"] == [str(one)]
    assert (one.exists(), desk.key.exists(), (desk.live / "queue" / "1").exists()) == (True, False, False)


def test_the_newest_of_each_class_by_then_comes_back(desk):
    desk.run("run", "long")
    desk.key.write_text("later")
    desk.run("run", "long")
    desk.json("stage", desk.here / "back", "--at", "2026-11-01T12:00:00Z")
    assert (desk.here / "back" / str(desk.key).lstrip("/")).read_text() == "secret"
    assert "has no snapshot of" in desk.run("stage", desk.here / "old", "--at", "2026-10-01").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("stage", "{live}"), "is not empty"),
        (("stage", "{here}/back", "--at", "yesterday"), "not a time"),
        (("stage", "{here}/back", "--path", "/nowhere"), "no snapshot has /nowhere"),
        (("compare", "{live}"), "nothing was staged"),
        (("place", "{live}"), "nothing was staged"),
        (("run", "weekly"), "no class weekly; there is long, short"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(desk, arguments, says):
    desk.run("run")
    done = desk.run(*(a.format(live=desk.live, here=desk.here) for a in arguments))
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_come_back_by_name_and_what_nobody_knows_is_roots(desk):
    os.chown(desk.key, pwd.getpwnam("man").pw_uid, grp.getgrnam("mail").gr_gid)
    other = desk.live / "keys" / "other"
    other.write_text("x")
    desk.run("run", "long")
    names = next((desk.here / "store").rglob("accounts/long.json"))
    # The machine that was backed up gave these numbers to others: its man had 7001, its mail 7002.
    known = json.loads(names.read_text())
    known["users"] |= {"man": 7001, "app": 7003}
    known["groups"] |= {"mail": 7002}
    names.write_text(json.dumps(known))
    kept = desk.here / "store" / "00000001" / str(desk.live).lstrip("/") / "keys"
    os.chown(kept / "key", 7001, 7002)
    os.chown(kept / "other", 7003, 0)
    (desk.here / "bin" / "restic").write_text(
        RESTIC.replace("shutil.copytree(source", "copytree(source").replace(
            "import json,",
            "from subprocess import run\ndef copytree(a, b, **_): run(['cp', '-a', a, b])\nimport json,",
            1,
        )
    )
    assert desk.json("stage", desk.here / "back")["strangers"] == ["app"]
    back = desk.here / "back" / str(desk.live).lstrip("/") / "keys"
    assert ((back / "key").owner(), (back / "key").group()) == ("man", "mail")
    assert (back / "key").stat().st_mode & 0o777 == 0o640
    assert (back / "other").owner() == "root"


NO_LOCK = "unable to create lock in backend: unexpected HTTP response (507): 507 Insufficient Storage"


@pytest.mark.parametrize("says", [f"Fatal: {NO_LOCK}", f"{NO_LOCK}\ngithub.com/restic/restic/internal.go:7"])
def test_a_store_that_is_too_full_for_a_lock_still_gives_back(desk, says):
    desk.run("run")
    desk.does(f"restore|1|{says}")
    done = desk.run("stage", desk.here / "back")
    assert done.returncode == 0, done.stderr
    assert "the store takes no lock; restoring without one: unable to create lock" in done.stderr
    assert desk.json("compare", desk.here / "back") == []


def test_a_restore_that_fails_otherwise_is_not_tried_without_a_lock(desk):
    desk.run("run")
    desk.does("restore|1|Fatal: write: no space left on device")
    assert desk.run("stage", desk.here / "back").returncode == 1
    assert not [line for line in desk.asked if line.startswith("restore") and "--no-lock" in line]


def test_what_a_failed_dump_left_out_comes_from_the_newest_snapshot_that_has_it(desk):
    other = desk.live / "other"
    other.mkdir()
    (other / "x").write_text("x")
    queue = desk.sources[1]
    desk.sources.append({**queue, "path": str(other), "dump": "", "restore": "", "at": ""})
    desk.configure()
    desk.run("run", "short")  # 1
    (desk.live / "queue" / "2").write_text("more mail")
    desk.run("run", "short")  # 2
    dump, queue["dump"] = queue["dump"], "exit 4"
    (other / "x").write_text("later")
    desk.configure()
    assert desk.run("run", "short").returncode == 1  # 3
    queue["dump"] = dump
    desk.configure()
    done = desk.run("stage", desk.here / "back")
    assert f"{desk.live}/queue: not in the newest snapshot; this is of 2026-11-02T09:00:00Z" in done.stderr
    told = json.loads(done.stdout)
    assert [(s["id"], s["paths"]) for s in told["snapshots"]] == [
        ("00000003", [str(other)]),
        ("00000002", [str(desk.live / "queue")]),
    ]
    assert told["paths"] == [str(other), str(desk.live / "queue")]
    assert desk.json("compare", desk.here / "back") == []
    for path in (desk.live / "queue").iterdir():
        path.unlink()
    desk.json("place", desk.here / "back")
    assert sorted(p.name for p in (desk.live / "queue").iterdir()) == ["1", "2"]
    assert (other / "x").read_text() == "later"
    first = desk.json("stage", desk.here / "first", "--at", "2026-11-01T12:00:00Z")
    assert [s["id"] for s in first["snapshots"]] == ["00000001"]
    only = desk.json("stage", desk.here / "only", "--path", desk.live / "queue")
    assert (only["paths"], [s["id"] for s in only["snapshots"]]) == ([str(desk.live / "queue")], ["00000002"])

"""Pins what the keeper of backups decides: which snapshots go, whose keys stay, and what is a fault.

restic here is a program of the test that keeps keys and snapshots in files, so that what is judged is ours.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).parents[2] / "templates" / "backup_store"
sys.path.insert(0, str(PROGRAM))

from mailwright_backup_keeper import __main__ as program  # noqa: E402
from mailwright_backup_keeper import doors, looking, room  # noqa: E402
from mailwright_backup_keeper.memory import Snapshot, missed, recall, recorded, replace  # noqa: E402
from mailwright_backup_keeper.retention import gone  # noqa: E402
from mailwright_backup_keeper.wanted import Failed, Rules  # noqa: E402

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ONLY = Rules()

RESTIC = """#!/usr/bin/python3
# Keys are files named after what they open with; snapshots are files of the folder `snapshots`.
import hashlib, json, os, pathlib, sys
words = [w for w in sys.argv[1:] if w not in ("--no-cache", "--no-lock", "--json")]
here = pathlib.Path(os.environ["RESTIC_REPOSITORY"])
mine = pathlib.Path(os.environ["RESTIC_PASSWORD_FILE"]).read_text().strip()
def name(password): return hashlib.sha256(password.encode()).hexdigest()
def fail(line): print(line, file=sys.stderr); sys.exit(1)
with (here.parent / "asked").open("a") as log: print(*words, file=log)
if words[0] == "init":
    for kind in ("keys", "snapshots", "locks"): (here / kind).mkdir(parents=True)
    (here / "keys" / name(mine)).touch(); sys.exit(0)
if not (here / "keys").is_dir(): fail("Fatal: x\\nIs there a repository at the following location?")
keys = sorted(p.name for p in (here / "keys").iterdir())
if name(mine) not in keys: fail("Fatal: wrong password or no key found")
if words[:2] == ["key", "list"]: print(json.dumps([{"id": k, "current": k == name(mine)} for k in keys]))
elif words[:2] == ["key", "add"]:
    (here / "keys" / name(pathlib.Path(words[3]).read_text().strip())).touch()
elif words[:2] == ["key", "remove"]: (here / "keys" / words[2]).unlink()
elif words[0] == "snapshots":
    print(json.dumps([{"id": p.name, **json.loads(p.read_text())} for p in (here / "snapshots").iterdir()]))
elif words[0] == "forget":
    for one in words[1:]: (here / "snapshots" / one).unlink()
elif words[0] == "check" and (here.parent / "broken").exists(): fail("Fatal: repository contains errors")
elif words[0] == "check" and (here.parent / "rotten").exists(): fail("pack " + 64 * "a" + " is damaged")
elif words[0] == "check" and (here.parent / "says").exists(): fail((here.parent / "says").read_text())
elif words[:2] == ["repair", "packs"]: open("pack-" + words[2], "x").close()
"""


def snapshot(age, kind="long", said=None):
    """A snapshot that arrived `age` ago and says that it was made at `said`."""
    arrived = NOW - age
    return Snapshot((said or arrived).isoformat(), arrived.timestamp(), kind)


def left(snapshots, **rules):
    """The names that stay."""
    removed = gone(snapshots, {"long": ONLY, "short": ONLY} | rules, NOW.timestamp())
    return set(snapshots) - removed


def test_the_newest_of_each_class_stays_however_old_it_is():
    found = {
        "a": snapshot(timedelta(days=900)),
        "b": snapshot(timedelta(days=901)),
        "c": snapshot(timedelta(days=950), "short"),
    }
    assert left(found) == {"a", "c"}


def test_within_keeps_what_arrived_since():
    found = {str(hours): snapshot(timedelta(hours=hours)) for hours in (1, 30, 47, 49, 80)}
    assert left(found, long=Rules(within=2 * 86400)) == {"1", "30", "47"}


def test_days_weeks_and_months_keep_the_last_of_each():
    found = {str(hours): snapshot(timedelta(hours=hours)) for hours in range(1, 24 * 100, 6)}
    assert left(found, long=Rules(daily=3)) == {"1", "13", "37"}
    assert len(left(found, long=Rules(weekly=8))) == 8
    assert len(left(found, long=Rules(monthly=12))) == 4


def test_what_a_machine_says_about_time_keeps_and_removes_nothing():
    good = {f"good{n}": snapshot(timedelta(days=n)) for n in range(1, 6)}
    forged = {f"bad{n}": snapshot(timedelta(minutes=n), said=NOW - timedelta(days=n)) for n in range(20)}
    forged |= {f"worse{n}": snapshot(timedelta(minutes=30), said=NOW + timedelta(days=n)) for n in range(20)}
    assert set(good) <= left(good | forged, long=Rules(daily=6))


@pytest.fixture
def keeper(tmp_path):
    """Returns a function: arguments to what the program says and its status."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "restic").write_text(RESTIC)
    (tmp_path / "bin" / "restic").chmod(0o755)
    (tmp_path / "keeper").write_text("keepers\n")
    (tmp_path / "own").write_text("machines\n")
    environment = {
        "RESTIC_REPOSITORY": str(tmp_path / "out1"),
        "RESTIC_PASSWORD_FILE": str(tmp_path / "keeper"),
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
    }
    machine = {"name": "out1", "account": "root", "options": [], "environment": environment}
    machine |= {"password": str(tmp_path / "own"), "folder": str(tmp_path / "out1")}
    wanted = {name: str(tmp_path / name) for name in ("home", "run")}
    wanted |= {"metrics": str(tmp_path / "metrics.prom"), "password": str(tmp_path / "keeper")}
    wanted |= {"group": "root", "fresh": 3600, "parts": 7, "salvage": True, "reserve": None}
    wanted |= {"units": "mailwright-test-of-no-unit-", "rules": {"long": {"daily": 1}, "short": {}}}
    wanted["machines"] = [machine | {"quota": 1000, "unit": None}]
    (tmp_path / "home").mkdir()
    (tmp_path / "config").write_text(json.dumps(wanted))
    code = "import sys; from mailwright_backup_keeper.__main__ import main; sys.exit(main())"

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, "--config", str(tmp_path / "config"), *arguments],
            env={"PYTHONPATH": str(PROGRAM), "MAILWRIGHT_PATIENCE": "0", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def opened_by(folder, *passwords):
    """Whether a repository opens with these and nothing else."""
    names = {hashlib.sha256(password.encode()).hexdigest() for password in passwords}
    return {path.name for path in (folder / "keys").iterdir()} == names


def add(folder, name, age=0.0, kind="long"):
    file = folder / "snapshots" / (name * 64)
    file.write_text(json.dumps({"time": "2026-11-22T12:00:00Z", "tags": [kind], "paths": ["/x"]}))
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_a_repository_is_made_once_and_opens_for_keeper_and_machine_alone(keeper, tmp_path):
    assert keeper("keys", "--settled").returncode == 1
    assert keeper("keys").returncode == 0
    assert opened_by(tmp_path / "out1", "keepers", "machines")
    assert keeper("keys", "--settled").returncode == 0
    before = (tmp_path / "asked").read_text()
    assert keeper("keys").returncode == 0
    assert (tmp_path / "asked").read_text() == before, "nothing was to do, and restic was asked"


@pytest.mark.parametrize("changed", [("own",), ("keeper",), ("own", "keeper")])
def test_exchanged_secrets_are_the_only_ones_that_open_after_one_run(changed, keeper, tmp_path):
    keeper("keys")
    passwords = {"keeper": "keepers", "own": "machines"}
    for name in changed:
        (tmp_path / name).write_text(f"new-{name}\n")
        passwords[name] = f"new-{name}"
    assert keeper("keys", "--settled").returncode == 1
    assert keeper("keys").returncode == 0
    assert opened_by(tmp_path / "out1", *passwords.values())


def test_a_key_that_somebody_slipped_in_is_removed(keeper, tmp_path):
    keeper("keys")
    (tmp_path / "out1" / "keys" / ("f" * 64)).touch()
    assert keeper("keys", "--settled").returncode == 1
    assert keeper("keys").returncode == 0
    assert opened_by(tmp_path / "out1", "keepers", "machines")


def test_a_repository_that_nothing_opens_is_left_alone_and_named(keeper, tmp_path):
    keeper("keys")
    for name in ("keeper", "own"):
        (tmp_path / name).write_text(f"new-{name}\n")
    (tmp_path / "home" / "password").unlink()
    done = keeper("keys")
    assert done.returncode == 1
    assert "out1: no password that is known here opens the repository" in done.stderr
    assert opened_by(tmp_path / "out1", "keepers", "machines")


def test_a_stale_snapshot_a_full_quota_and_a_failed_check_are_faults(keeper, tmp_path):
    keeper("keys")
    add(tmp_path / "out1", "a", age=7200)
    (tmp_path / "out1" / "large").write_bytes(b"x" * 2000)
    (tmp_path / "broken").touch()
    assert keeper("check").returncode == 1
    faults = json.loads(keeper("status").stdout)["faults"]
    assert "out1: the newest long backup is of" in faults["fresh"][0]
    assert "repository contains errors" in faults["read"][0]
    assert "are taken" in faults["room"][0]
    assert 'mailwright_backup_check_failed{machine="out1"} 1' in (tmp_path / "metrics.prom").read_text()
    (tmp_path / "broken").unlink()
    assert keeper("check").returncode == 0
    assert not json.loads(keeper("status").stdout)["faults"]["read"]


def test_a_check_reads_its_turn_and_after_a_failure_everything(keeper, tmp_path):
    keeper("keys")
    keeper("check")
    keeper("check")
    (tmp_path / "broken").touch()
    keeper("check")
    (tmp_path / "broken").unlink()
    keeper("check")
    keeper("check")
    keeper("check", "--all")
    parts = [
        line.partition("=")[2] for line in (tmp_path / "asked").read_text().splitlines() if "subset" in line
    ]
    assert parts == ["1/1", "2/7", "3/7", "1/1", "1/1", "5/7", "1/1"]


def test_a_prune_names_what_goes_by_when_it_arrived(keeper, tmp_path):
    keeper("keys")
    old, new = add(tmp_path / "out1", "a", age=200_000), add(tmp_path / "out1", "b", age=10)
    assert keeper("prune").returncode == 0
    assert (old.exists(), new.exists()) == (False, True)
    assert f"forget {old.name}" in (tmp_path / "asked").read_text()


def test_the_arrival_that_was_once_seen_cannot_be_changed_later(keeper, tmp_path):
    keeper("keys")
    file = add(tmp_path / "out1", "a", age=50_000)
    keeper("look")
    os.utime(file)
    add(tmp_path / "out1", "b")
    ages = {one["id"][:1]: time.time() - one["seen"] for one in json.loads(keeper("snapshots").stdout)}
    assert ages["a"] > 40_000 > ages["b"]


def test_the_lock_of_a_dead_client_goes_and_that_of_a_living_one_stays(keeper, tmp_path):
    keeper("keys")
    dead, alive = (tmp_path / "out1" / "locks" / name for name in ("dead", "alive"))
    dead.touch()
    alive.touch()
    os.utime(dead, (time.time() - 3600,) * 2)
    assert keeper("check").returncode == 0
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_machine_that_is_not_kept_is_one_line(keeper):
    done = keeper("check", "mx9")
    assert (done.returncode, done.stderr) == (1, "no backups of mx9 are kept here; there are those of out1\n")


def test_an_administrators_drop_in_of_a_server_is_no_server_that_was_left(tmp_path, monkeypatch):
    monkeypatch.setattr(doors, "SYSTEM", tmp_path)
    for unit in ("out1", "gone1"):
        (tmp_path / f"repository-{unit}.socket").touch()
        (tmp_path / f"repository-{unit}.service").touch()
    (tmp_path / "repository-out1.service.d").mkdir()
    wanted = SimpleNamespace(units="repository-", machines=(SimpleNamespace(unit="repository-out1"),))
    assert doors.left(wanted) == ["repository-gone1"]


def test_a_file_that_goes_while_it_is_counted_counts_for_nothing(tmp_path, monkeypatch):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / ("a" * 64)).write_bytes(b"12345")
    walk, glob = os.walk, Path.glob
    gone = "b" * 64
    monkeypatch.setattr(room.os, "walk", lambda top: [(b, d, [*f, gone]) for b, d, f in walk(top)])
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [*glob(path, pattern), path / gone])
    assert room.filled(tmp_path) == 5
    assert list(looking._arrived(tmp_path)) == ["a" * 64]


def stored_elsewhere(tmp_path):
    config = json.loads((tmp_path / "config").read_text())
    config["machines"][0]["folder"] = None
    (tmp_path / "config").write_text(json.dumps(config))


def add_of(folder, name, days):
    made = datetime.now(UTC) - timedelta(days=days)
    file = folder / "snapshots" / (name * 64)
    text = f"{made:%Y-%m-%dT%H:%M:%S}.123456789Z"
    file.write_text(json.dumps({"time": text, "tags": ["long"], "paths": ["/x"]}))


def test_a_keeper_that_remembers_nothing_of_a_store_elsewhere_prunes_no_history(keeper, tmp_path):
    keeper("keys")
    stored_elsewhere(tmp_path)
    for name, days in (("a", 20), ("b", 10), ("c", 5)):
        add_of(tmp_path / "out1", name, days)
    seen = json.loads(keeper("snapshots").stdout)
    assert [one["id"][0] for one in seen] == ["a", "b", "c"]
    assert [round((time.time() - one["seen"]) / 86400) for one in seen] == [20, 10, 5]


def test_those_who_remember_at_the_same_time_do_not_take_each_other_s_file_away(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # it takes its time, and is not the question

    def write(number):
        for turn in range(50):
            replace(tmp_path / "seen.json", json.dumps([number] * 1000 * (turn % 3)), 0o600)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert set(json.loads((tmp_path / "seen.json").read_text())) < {0, 1, 2, 3}
    assert [file.name for file in tmp_path.iterdir()] == ["seen.json"]


def test_once_something_is_remembered_what_is_new_elsewhere_arrives_when_it_is_seen(keeper, tmp_path):
    keeper("keys")
    stored_elsewhere(tmp_path)
    add_of(tmp_path / "out1", "a", 20)
    keeper("look")
    add_of(tmp_path / "out1", "f", 400)
    ages = {one["id"][0]: time.time() - one["seen"] for one in json.loads(keeper("snapshots").stdout)}
    assert ages["f"] < 60


@pytest.mark.parametrize("said", ["2999-01-01T00:00:00Z", "no time"])
def test_no_machine_dates_its_first_snapshot_into_the_future(said, keeper, tmp_path):
    keeper("keys")
    stored_elsewhere(tmp_path)
    add_of(tmp_path / "out1", "a", 1)
    file = tmp_path / "out1" / "snapshots" / ("a" * 64)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"time": said}))
    (one,) = json.loads(keeper("snapshots").stdout)
    assert abs(time.time() - one["seen"]) < 60


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_damaged_pack_is_taken_out_again_after_a_run_that_was_killed(elsewhere, keeper, tmp_path):
    keeper("keys")
    if elsewhere:
        stored_elsewhere(tmp_path)
    (tmp_path / "rotten").touch()
    for _ in range(2):
        assert "damaged packs were taken out" in keeper("check").stderr
    kept = tmp_path / "home" / "damaged-out1" if elsewhere else tmp_path / ".damaged-out1"
    assert len(list(kept.rglob("pack-*"))) == 2
    assert not list((tmp_path / "run").glob("*pack*")), "it is gone at the next boot"


@pytest.mark.parametrize("error", [Failed("out1: no"), OSError(5, "Input/output error", "/srv/x")])
def test_what_is_wrong_with_one_repository_keeps_nobody_from_the_others(error, tmp_path, monkeypatch, capsys):
    machines = tuple(SimpleNamespace(name=name) for name in ("out1", "out2"))
    wanted = SimpleNamespace(machines=machines, named=lambda _: machines, run=tmp_path)
    done = []

    def work(_, machine):
        done.append(machine.name)
        if machine.name == "out1":
            raise error

    monkeypatch.setattr(program.looking, "look", lambda restic: work(None, restic.machine))
    monkeypatch.setattr(program, "measure", lambda _: done.append("measured"))
    assert program._round(wanted, None, "prune", work) == 1
    assert done == ["out1", "measured", "out2", "measured"]
    done.clear()
    assert program._look(wanted, None) == 1
    assert done == ["out1", "out2", "measured"]
    assert capsys.readouterr().err.count("out1: ") == 2


def test_a_file_that_cannot_be_read_is_the_reason_of_a_round(tmp_path):
    wanted = SimpleNamespace(home=tmp_path)
    with pytest.raises(OSError, match="error"), recorded(wanted, "out1", "prune"):
        raise OSError(5, "Input/output error", "/srv/x")
    assert recall(wanted, "out1").prune.error == "out1: /srv/x: Input/output error"


def add_machine(tmp_path, name):
    config = json.loads((tmp_path / "config").read_text())
    (one, *_) = config["machines"]
    environment = one["environment"] | {"RESTIC_REPOSITORY": str(tmp_path / "disk" / name)}
    config["machines"].append(
        one | {"name": name, "environment": environment, "folder": str(tmp_path / "disk" / name)}
    )
    (tmp_path / "config").write_text(json.dumps(config))


@pytest.fixture
def two(keeper, tmp_path):
    """A store with the repositories of two machines on a disk, `tmp_path/disk`."""
    for name in ("mx1", "mx2"):
        add_machine(tmp_path, name)
    config = json.loads((tmp_path / "config").read_text())
    config["machines"] = config["machines"][1:]
    (tmp_path / "config").write_text(json.dumps(config))
    (tmp_path / "disk").mkdir()
    assert keeper("keys").returncode == 0
    return keeper


def test_a_disk_that_is_not_mounted_is_not_taken_for_a_new_store(two, tmp_path):
    (tmp_path / "disk").rename(tmp_path / "away")
    for name in ("mx1", "mx2", "mx3"):
        (tmp_path / "disk" / name).mkdir(parents=True)
    add_machine(tmp_path, "mx3")
    done = two("keys")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "are gone, all of them: mount their disk" in done.stderr
    assert two("keys", "--settled").returncode == 1
    assert not list((tmp_path / "disk").glob("*/keys"))
    for name in ("mx1", "mx2", "mx3"):
        (tmp_path / "disk" / name).rmdir()
    (tmp_path / "disk").rmdir()
    (tmp_path / "away").rename(tmp_path / "disk")
    assert two("keys").returncode == 0
    assert len(list((tmp_path / "disk").glob("*/keys"))) == 3


def test_a_repository_that_is_gone_is_made_again_by_hand_alone(two, tmp_path):
    (tmp_path / "disk" / "mx1").rename(tmp_path / "away")
    add_machine(tmp_path, "mx3")
    done = two("keys")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "`mailwright-backup-keeper keys --anew mx1`" in done.stderr
    assert (tmp_path / "disk" / "mx3" / "keys").exists()
    assert two("keys", "--anew", "mx2").returncode == 1
    assert not (tmp_path / "disk" / "mx1").exists()
    assert two("keys", "--anew", "mx1").returncode == 0
    assert (tmp_path / "disk" / "mx1" / "keys").exists()
    assert two("keys", "--settled").returncode == 0


def test_a_store_that_is_lost_for_good_is_made_anew_by_hand(two, tmp_path):
    (tmp_path / "disk").rename(tmp_path / "away")
    (tmp_path / "disk").mkdir()
    assert two("keys", "--anew").returncode == 0
    assert len(list((tmp_path / "disk").glob("*/keys"))) == 2


LOCK = "Fatal: unable to create lock in backend: repository is already locked by PID 7"
CUT = "error loading index 12345678: Get https://s3.example/x: dial tcp: connect: connection refused"


@pytest.mark.parametrize(("elsewhere", "says"), [(False, LOCK), (True, LOCK), (True, CUT)])
def test_a_repository_that_cannot_be_reached_is_an_error_and_no_damage(elsewhere, says, keeper, tmp_path):
    keeper("keys")
    if elsewhere:
        stored_elsewhere(tmp_path)
    (tmp_path / "says").write_text(says)
    assert "out1: could not be checked: " in keeper("check").stderr
    status = json.loads(keeper("status").stdout)
    assert status["machines"]["out1"]["damaged"] == []
    assert "out1: check: could not be checked: " in status["faults"]["read"][0]
    assert "rebuild-index" not in (tmp_path / "asked").read_text()
    assert "repair" not in (tmp_path / "asked").read_text()


def test_an_index_that_is_damaged_here_is_still_made_anew(keeper, tmp_path):
    keeper("keys")
    (tmp_path / "says").write_text("error loading index 12345678: invalid data returned")
    assert "has been made anew" in keeper("check").stderr


def test_a_round_that_waits_in_vain_tries_every_machine_and_records_each(tmp_path, monkeypatch, capsys):
    machines = tuple(SimpleNamespace(name=name) for name in ("out1", "out2", "out3"))
    wanted = SimpleNamespace(machines=machines, named=lambda _: machines, run=tmp_path, home=tmp_path)
    monkeypatch.setattr(program, "_WAIT", 0.0)
    monkeypatch.setattr(program, "measure", lambda _: None)
    done = []
    handle = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert program._round(wanted, None, "check", lambda *_: done.append(1)) == 1
    finally:
        os.close(handle)
    assert not done
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["out1", "out2", "out3"]
    assert all("not done" in recall(wanted, m.name).check.error for m in machines)
    assert recall(wanted, "out1").prune.error == ""
    with recorded(wanted, "out1", "check"):
        pass
    assert [bool(recall(wanted, name).check.error) for name in ("out1", "out2")] == [False, True]


def test_a_missed_check_hides_no_fault_and_reads_no_more_than_its_turn(keeper, tmp_path):
    keeper("keys")
    keeper("check")
    wanted = SimpleNamespace(home=tmp_path / "home")
    missed(wanted, "out1", "check")
    assert "check: not done" in json.loads(keeper("status").stdout)["faults"]["read"][0]
    assert keeper("check").returncode == 0
    assert "subset=2/7" in (tmp_path / "asked").read_text()
    assert not json.loads(keeper("status").stdout)["faults"]["read"]
    (tmp_path / "broken").touch()
    keeper("check")
    missed(wanted, "out1", "check")
    assert "contains errors" in json.loads(keeper("status").stdout)["faults"]["read"][0]

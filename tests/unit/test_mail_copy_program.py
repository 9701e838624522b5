"""Pins that mail which moves while it is copied is in the copy once, and comes back once.

The mover of these tests moves messages each time that a folder is about to be read: the worst moment.
"""

import importlib.util
import os
import random
import shutil
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "templates" / "postfix" / "mail-copy.py"
QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")
OLD, NEW = 1_600_000_000, 4_000_000_000
"""When messages came: long before the copy is made, or after it was begun."""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The program, with a queue and Maildirs in a folder, and no systemd."""
    spec = importlib.util.spec_from_file_location("mail_copy", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "QUEUE", tmp_path / "queue")
    for name in (*QUEUES, "defer", "bounce", "trace"):
        (tmp_path / "queue" / name).mkdir(parents=True)
    calls = []
    monkeypatch.setattr(module, "systemctl", lambda *words: calls.append(words) or 0)
    module.calls = calls
    return module


@pytest.fixture
def mover(monkeypatch):
    """Returns a function: what is done each time before a folder is read, as long as it says so."""

    def moved(act):
        real, state = os.scandir, {"going": True}

        def scandir(path):
            if state["going"]:
                state["going"] = act() is not False
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return moved


def queue_id(seconds, number):
    digits = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
    made = ""
    for _ in range(6):
        seconds, digit = divmod(seconds, 52)
        made = digits[digit] + made
    return f"{made}{number:04d}z{number:x}"


def message(program, queue, name, mode=0o700):
    folder = program.QUEUE / queue / (name[-1] if queue == "deferred" else "")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"mail {name}")
    (folder / name).chmod(mode)
    return folder / name


def mails(folder):
    """Names of all messages below a folder, sorted; logs are none."""
    beside = {"defer", "bounce", "trace", ".copy"}
    found = (p for p in folder.rglob("*") if p.is_file())
    return sorted(p.name for p in found if not beside.intersection(p.relative_to(folder).parts))


def dumped(program):
    copy = program.QUEUE / ".copy"
    copy.mkdir()
    program.queue_dump(copy)
    return copy


def test_the_time_in_a_long_queue_id_is_read(program):
    assert program.born(queue_id(OLD, 1)) == OLD
    assert program.born("0A1B2C3D4E") == 0


@pytest.mark.parametrize("seed", range(20))
def test_mail_that_moves_while_it_is_copied_is_in_the_copy_once(program, mover, seed):
    choose = random.Random(seed)  # noqa: S311 - to be repeated
    names = [queue_id(OLD, n) for n in range(30)]
    where = {
        name: message(program, choose.choice(("incoming", "active", "deferred")), name) for name in names
    }
    turned = set()

    def move():
        for name in choose.sample(names, 6):
            queue = where[name].relative_to(program.QUEUE).parts[0]
            # once back from deferred, it is tried again no sooner than minutes later
            goal = {"incoming": "active", "active": "deferred"}.get(queue)
            if queue == "deferred" and name not in turned:
                turned.add(name)
                goal = "active"
            if goal:
                target = program.QUEUE / goal / (name[-1] if goal == "deferred" else "") / name
                target.parent.mkdir(exist_ok=True)
                where[name] = where[name].rename(target)

    mover(move)
    assert mails(dumped(program)) == sorted(names)


def test_mail_of_the_machine_itself_that_is_picked_up_meanwhile_is_in_the_copy_once(program, mover):
    names = [queue_id(OLD, n) for n in range(5)]
    waiting = [message(program, "maildrop", name) for name in names]

    def pick_up():
        if not waiting:
            return False
        path = waiting.pop()
        message(program, "incoming", queue_id(NEW, 100 + len(waiting)))
        path.unlink()
        return True

    mover(pick_up)
    assert len(mails(dumped(program))) == len(names)


def test_a_stream_of_new_mail_does_not_keep_the_copy_from_coming_to_an_end(program, mover):
    old = message(program, "incoming", queue_id(OLD, 1)).name
    numbers = iter(range(2, 10_000))
    mover(lambda: message(program, "incoming", queue_id(NEW, next(numbers))))
    assert old in mails(dumped(program))


def test_what_is_still_being_written_is_no_mail(program):
    message(program, "incoming", queue_id(OLD, 1), mode=0o600)
    assert mails(dumped(program)) == []


def test_the_queue_comes_back_where_the_queue_manager_looks_with_its_logs_and_next_try(program):
    active, held = message(program, "active", queue_id(OLD, 1)), message(program, "hold", queue_id(OLD, 2))
    late = message(program, "deferred", queue_id(OLD, 3))
    os.utime(late, (OLD, NEW))
    log = program.QUEUE / "defer" / late.name[-1] / late.name
    log.parent.mkdir()
    log.write_text("not yet")
    copy = dumped(program)
    for path in (active, held, late, log):
        path.unlink()
    program.queue_restore(copy, "postfix.service")
    assert (program.QUEUE / "incoming" / active.name).stat().st_mode & 0o777 == 0o700
    assert held.exists()
    assert late.stat().st_mtime == NEW
    assert log.read_text() == "not yet"
    assert program.calls[1:] == [("stop", "postfix.service"), ("start", "postfix.service")]


def test_mail_that_is_in_the_queue_already_is_not_put_back_a_second_time(program):
    path = message(program, "active", queue_id(OLD, 1))
    copy = dumped(program)
    path.rename(program.QUEUE / "hold" / path.name)
    program.queue_restore(copy, "postfix.service")
    left = program.QUEUE / "hold" / path.name
    assert [p for p in program.QUEUE.rglob(path.name) if ".copy" not in p.parts] == [left]


def test_postfix_runs_again_after_a_restore_that_failed(program, monkeypatch):
    message(program, "active", queue_id(OLD, 1))
    copy = dumped(program)
    monkeypatch.setattr(program, "folders", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    (program.QUEUE / "active" / queue_id(OLD, 1)).unlink()
    with pytest.raises(OSError, match="full"):
        program.queue_restore(copy, "postfix.service")
    assert program.calls[-1] == ("start", "postfix.service")


@pytest.fixture
def mailbox(tmp_path):
    """A mailbox named tmp, which is no folder of unfinished deliveries."""
    made = tmp_path / "mail" / "brightpost.example" / "tmp"
    for part in ("tmp", "new", "cur"):
        (made / part).mkdir(parents=True)
    return made


def maildirs_dumped(program, mailbox):
    top = mailbox.parents[1]
    (top / ".copy").mkdir()
    program.maildirs_dump(top, top / ".copy")
    return top / ".copy"


def test_a_message_that_is_read_while_it_is_copied_is_in_the_copy_once(program, mailbox, mover):
    for n in range(20):
        (mailbox / "new" / f"{n}.host").write_text("mail")

    def read():
        for name in sorted(os.listdir(mailbox / "new"))[:2]:  # noqa: PTH208 - scandir is what is being replaced
            (mailbox / "new" / name).rename(mailbox / "cur" / f"{name}:2,S")

    mover(read)
    (mailbox / "tmp" / "half").write_text("unfinished")
    copy = maildirs_dumped(program, mailbox)
    names = [p.name.partition(":")[0] for p in copy.rglob("*") if p.is_file()]
    assert sorted(names) == sorted(f"{n}.host" for n in range(20))


def test_a_message_that_was_read_since_does_not_come_back_as_new(program, mailbox):
    (mailbox / "new" / "1.host").write_text("mail")
    (mailbox / "new" / "2.host").write_text("gone")
    copy = maildirs_dumped(program, mailbox)
    (mailbox / "new" / "1.host").rename(mailbox / "cur" / "1.host:2,S")
    (mailbox / "new" / "2.host").unlink()
    program.maildirs_restore(mailbox.parents[1], copy)
    assert sorted(p.name for p in mailbox.rglob("*.host*")) == ["1.host:2,S", "2.host"]


def test_an_empty_mailbox_comes_back_with_its_folders(program, mailbox):
    copy = maildirs_dumped(program, mailbox)
    for part in ("tmp", "new", "cur"):
        (mailbox / part).rmdir()
    mailbox.rmdir()
    program.maildirs_restore(mailbox.parents[1], copy)
    assert sorted(p.name for p in mailbox.iterdir()) == ["cur", "new", "tmp"]


def test_the_program_says_what_it_is_for(program, capsys):
    assert program.main([]) == program.main(["queue-dump"]) == 1
    assert "queue-restore DIR UNIT" in capsys.readouterr().err


def test_a_copy_is_of_the_same_moment_as_its_times_say(program):
    message(program, "deferred", queue_id(OLD, 3))
    os.utime(program.QUEUE / "deferred", (OLD, OLD))
    assert (dumped(program) / "deferred").stat().st_mtime == OLD


def test_new_mail_of_the_machine_that_is_picked_up_as_it_is_copied_is_never_in_the_copy_twice(program, mover):
    name, other = queue_id(NEW, 1), queue_id(NEW, 2)
    real, passes = program.queue_pass, []

    def queue_pass(*arguments):
        passes.append(None)
        if len(passes) == program.LEAST_PASSES:
            message(program, "maildrop", name)
        return real(*arguments)

    def pick_up():
        path = program.QUEUE / "maildrop" / name
        if path.exists() and (program.QUEUE / ".copy" / "maildrop" / name).exists():
            message(program, "incoming", other)
            path.unlink()

    program.queue_pass = queue_pass
    mover(pick_up)
    assert name not in mails(dumped(program))


def test_a_stream_of_the_machines_own_mail_does_not_keep_the_copy_from_coming_to_an_end(program):
    old = message(program, "incoming", queue_id(OLD, 1)).name
    numbers, real = iter(range(2, 2_000)), program.queue_pass
    waiting = [message(program, "maildrop", queue_id(NEW, next(numbers))) for _ in range(3)]

    def queue_pass(*arguments):
        found = real(*arguments)
        waiting.pop(0).unlink()
        waiting.append(message(program, "maildrop", queue_id(NEW, next(numbers))))
        return found

    program.queue_pass = queue_pass
    assert old in mails(dumped(program))


def test_a_stream_of_new_mail_does_not_keep_maildirs_from_being_copied(program, mailbox, mover):
    (mailbox / "new" / f"{OLD}.host").write_text("mail")
    numbers = iter(range(2_000))
    mover(lambda: (mailbox / "new" / f"{NEW}.M{next(numbers)}.host").write_text("mail") and None)
    copy = maildirs_dumped(program, mailbox)
    assert f"{OLD}.host" in [p.name for p in copy.rglob("*")]


def test_a_mailbox_that_is_removed_while_it_is_copied_is_no_failure(program, mailbox):
    (mailbox / "new" / "1.host").write_text("mail")
    other = mailbox.parent / "gone"
    for part in ("tmp", "new", "cur"):
        (other / part).mkdir(parents=True)
    real = program.maildirs_pass

    def maildirs_pass(*arguments):
        found = real(*arguments)
        shutil.rmtree(other, ignore_errors=True)
        return found

    program.maildirs_pass = maildirs_pass
    copy = maildirs_dumped(program, mailbox)
    assert [p.name for p in copy.rglob("*") if p.is_file()] == ["1.host"]


def test_folders_that_the_queue_lacks_are_dated_by_nothing(program):
    path = message(program, "active", queue_id(OLD, 1))
    (program.QUEUE / "active" / "A").mkdir()
    path.rename(program.QUEUE / "active" / "A" / path.name)
    assert mails(dumped(program)) == [path.name]

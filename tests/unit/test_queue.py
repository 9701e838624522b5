"""A queue is read as it is, waited for with an end, and main.cf comes back octet for octet."""

import json
import os
import subprocess

import pytest

from mailwright import queue
from mailwright.model.fleet import Machine
from mailwright.model.needs import Unit
from mailwright.model.role import Result
from mailwright.queue import Mta, QueueError, read

MACHINE = Machine(name="out1", fqdn="out1.brightpost.example", ipv4="192.0.2.11")
PEER = Machine(name="out2", fqdn="out2.brightpost.example", ipv4="192.0.2.12")
UNIT = Unit("postfix.service", reads=("/etc/postfix",), reload=True)


def message(age, name="deferred", **more):
    """What postqueue(1) says of one, in the order in which it says it."""
    said = {"queue_name": name, "queue_id": "4cZ0xyz", "arrival_time": 2_000_000_000 - age, **more}
    return json.dumps(said)


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Returns a function: lines of postqueue to the queue that the real script makes of them."""

    def run(*lines, status=0):
        program = tmp_path / "postqueue"
        (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines))
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/lines\nexit {status}\n")
        date = tmp_path / "date"
        date.write_text("#!/bin/sh\necho 2000000000\n")
        for file in (program, date):
            file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

        def here(command):
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            return Result(done.returncode, done.stdout, done.stderr)

        return Mta(MACHINE, here, UNIT).look()

    return run


def test_messages_are_counted_by_queue_and_age(look):
    seen = look(message(10, "active"), message(4000), message(5000, "hold"), message(90_000))
    assert seen.by_queue == {"active": 1, "deferred": 2, "hold": 1}
    assert seen.by_age == {"under 5 min": 1, "under 1 h": 0, "under 1 d": 2, "older": 1}
    assert str(seen) == "4 messages in the queue (1 under 5 min, 2 under 1 d, 1 older, 1 on hold)"
    assert (seen.messages, seen.moving) == (4, 3)


def test_an_empty_queue_is_empty(look):
    assert (look().messages, str(look())) == (0, "the queue is empty")


def test_the_reason_of_a_delay_is_kept(look):
    reason = {"recipients": [{"address": "a@mailbox.example", "delay_reason": "connection refused"}]}
    assert look(message(10, sender='"x"@y', **reason)).why == "connection refused"


def test_a_sender_cannot_be_taken_for_a_field(look):
    seen = look(message(10, "active", sender='{"queue_name": "hold", "queue_id": "A", "arrival_time": 1'))
    assert seen.by_queue == {"active": 1}


def test_what_is_no_answer_is_no_empty_queue(look):
    with pytest.raises(QueueError, match="out1: its queue cannot be read"):
        look("postqueue: fatal: Queue report unavailable - mail system is down")
    with pytest.raises(QueueError, match="cannot be read: sh: 1: postqueue: not found"):
        read(Result(127, "", "sh: 1: postqueue: not found"))


# --- waiting


class Postfix:
    """A machine whose queue shrinks by one look at a time; it remembers what it was told."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.told = []
        self.now = 0.0

    def __call__(self, command):
        if "postqueue -j" in command:
            return Result(0, self.answers.pop(0) if self.answers[1:] else self.answers[0], "")
        self.told.append(command)
        return Result(0, "220 out2 ESMTP\n" if "/dev/tcp" in command else "", "")

    def mta(self):
        return Mta(MACHINE, self, UNIT, clock=lambda: self.now, pause=self.pause)

    def pause(self, seconds):
        self.now += seconds


TWO, NONE = "mail deferred 300 2\nwhy connection refused\nwhole\n", "whole\n"
HELD = "mail hold 300 1\nwhole\n"


def test_a_queue_is_flushed_and_waited_for_and_each_change_is_told():
    postfix, told = Postfix(TWO, TWO, NONE), []
    postfix.mta().wait_until_empty(60, told.append)
    assert told == ["2 messages in the queue (2 under 5 min)", "the queue is empty"]
    assert postfix.told == ["postqueue -f"]


def test_a_queue_that_stays_ends_with_the_reason_of_one():
    postfix = Postfix(TWO)
    with pytest.raises(QueueError, match=r"out1: after 60 s 2 messages .* it is said: connection refused"):
        postfix.mta().wait_until_empty(60)
    assert postfix.told == ["postqueue -f"] * 4  # every 15 s


def test_what_is_on_hold_does_not_go_by_itself():
    with pytest.raises(QueueError, match=r"1 on hold.*postsuper -H ALL"):
        Postfix(HELD).mta().wait_until_empty(60)


# --- handing over


def test_a_queue_is_handed_over_and_the_configuration_comes_back_even_if_it_is_not_taken():
    postfix = Postfix(TWO)
    with pytest.raises(QueueError, match="after 5 s"):
        postfix.mta().hand_over(PEER, 5)
    changes = [command for command in postfix.told if "main.cf" in command]
    assert ["[out2.brightpost.example]:10026" in command for command in changes] == [True, False]
    assert ["soft_bounce = yes" in command for command in changes] == [True, False]
    # What is as old as the queue allows would go back to its sender if the other one refused it.
    assert ["maximal_queue_lifetime = 100d" in command for command in changes] == [True, False]
    assert ["bounce_queue_lifetime = 100d" in command for command in changes] == [True, False]


def test_a_machine_without_ports_for_clients_has_no_session_of_any():
    postfix = Postfix(NONE)
    assert postfix.mta().sessions(()) == 0
    assert postfix.told == []


def test_how_to_start_again_what_was_stopped_for_good_is_said():
    # unmask has no --now: systemctl(1).
    instance = Unit("postfix@-.service", reads=("/etc/postfix",), reload=True)
    names = "postfix@-.service postfix.service"
    assert Mta(MACHINE, Postfix(NONE), instance).revival == (
        f"systemctl unmask {names} && systemctl start {names}"
    )


def test_nothing_is_changed_where_nobody_answers():
    postfix = Postfix(TWO)
    deaf = lambda command: Result(1, "", "connect: refused") if "/dev/tcp" in command else postfix(command)  # noqa: E731
    with pytest.raises(QueueError, match="out2 takes no queue from out1 on port 10026: connect: refused"):
        Mta(MACHINE, deaf, UNIT).hand_over(PEER, 5)
    assert postfix.told == []


@pytest.fixture
def main_cf(tmp_path, monkeypatch):
    """Returns a function that edits a main.cf as a host would, and its path."""
    file = tmp_path / "main.cf"
    monkeypatch.setattr(queue, "MAIN_CF", str(file))

    def edit(tag, settings):
        subprocess.run(["sh", "-euc", queue.edit(tag, settings)], check=True)
        return file.read_text()

    return edit, file


ORIGINAL = "myhostname = a\nrelayhost =\n# relayhost = old\nrelayhosts = b\n"


def test_settings_for_the_time_being_are_taken_back_octet_for_octet(main_cf):
    edit, file = main_cf
    file.write_text(ORIGINAL)
    file.chmod(0o640)
    closed = edit("closed", {"master_service_disable": "inet"})
    relaying = edit("hand-over", {"relayhost": "[out2.example]:10026", "soft_bounce": "yes"})
    assert [line for line in relaying.splitlines() if line and line[0] != "#"] == [
        "myhostname = a",
        "relayhosts = b",
        "master_service_disable = inet",
        "relayhost = [out2.example]:10026",
        "soft_bounce = yes",
    ]
    assert (
        edit("hand-over", {"relayhost": "[out3.example]:10026"}).count("[out2.example]") == 0
    )  # twice is once
    assert edit("hand-over", {}) == closed
    assert edit("closed", {}) == ORIGINAL
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.glob(".*")) == []


def test_what_was_not_changed_is_not_touched(main_cf):
    edit, file = main_cf
    file.write_text(ORIGINAL)
    assert edit("hand-over", {}) == ORIGINAL

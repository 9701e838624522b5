"""The program that asks whether a machine has been replaced, with a store and a systemd that only pretend."""

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "templates" / "fence" / "mailwright-fence"
KNOWN = (0, "")
SILENT = (0, "no answer from the store")
REFUSED = (3, "wrong password or no key found")


class Machine:
    """What the program sees of a machine, below a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.credentials, self.bin = folder / "credentials", folder / "bin"
        for each in (self.credentials, self.bin):
            each.mkdir()
        text = PROGRAM.read_text()
        for place, own in (
            ("/var/lib/mailwright/fence", folder / "state"),
            ("/etc/mailwright/backup", self.credentials),
            ("/run/motd.d", folder / "motd.d"),
        ):
            assert place in text
            text = text.replace(place, str(own))
        text = text.replace("patience=60 ", "patience=1 ").replace("sleep 3", "sleep 0.05")
        self.program = folder / "program"
        self.program.write_text(text)
        self.credentials.joinpath("password").write_text("first")
        self.runs(active=True)

    def store(self, status, says, meanwhile=":"):
        body = f'[ "$1" = fence ] && echo "{says}" | grep . >&2; {meanwhile}; exit {status}'
        self._fake("mailwright-backup", body)

    def runs(self, *, active):
        state = "active" if active else "inactive"
        log = self.folder / "log"
        self._fake("systemctl", f'[ "$1" = is-active ] && echo {state} || echo "$@" >>{log}')

    def _fake(self, name, body):
        self.bin.joinpath(name).write_text(f"#!/bin/sh\n{body}\n")
        self.bin.joinpath(name).chmod(0o755)

    def __call__(self, *arguments):
        path = f"{self.bin}:/usr/bin:/bin"
        return subprocess.run(
            ["sh", self.program, *arguments], env={"PATH": path}, capture_output=True, text=True, check=False
        )

    def watch(self):
        self.folder.joinpath("log").unlink(missing_ok=True)
        assert self("watch", "postfix.service").returncode == 0
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def replaced(self):
        return (self.folder / "state" / "replaced").exists()


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    made.store(*KNOWN)
    return made


def test_the_one_that_the_store_knows_starts(machine):
    machine.watch()
    done = machine("boot")
    assert (done.returncode, done.stderr) == (0, "")


def test_who_is_refused_stays_down_also_where_that_cannot_be_written_down(machine):
    machine.watch()
    machine.store(*REFUSED)
    (machine.folder / "state" / "replaced.new").mkdir()  # as a full disk does, nothing can be written there
    done = machine("boot")
    assert done.returncode == 1
    assert "wrong password" in done.stderr
    assert machine.watch() == ["stop postfix.service mailwright-fence.service"]


def test_one_that_is_refused_after_it_was_known_does_not_start_and_says_why(machine):
    machine.watch()
    machine.store(*REFUSED)
    done = machine("boot")
    assert done.returncode == 1
    assert "has been replaced" in done.stderr
    assert REFUSED[1] in done.stderr
    assert "HAS BEEN REPLACED" in (machine.folder / "motd.d" / "mailwright-fence").read_text()


def test_one_that_was_never_known_with_these_credentials_is_new_and_starts(machine):
    machine.watch()
    machine.credentials.joinpath("password").write_text("exchanged")
    machine.store(*REFUSED)
    done = machine("boot")
    assert done.returncode == 0
    assert "does not know this machine's credentials yet" in done.stderr


def test_an_answer_about_credentials_that_a_deploy_exchanged_meanwhile_says_nothing_of_the_new_ones(machine):
    exchange = f"echo {{}} >{machine.credentials}/password"
    machine.watch()
    machine.store(*KNOWN, meanwhile=exchange.format("second"))
    machine.watch()
    machine.store(*REFUSED)  # the store has not been told of them yet
    assert machine("boot").returncode == 0
    machine.store(*KNOWN)
    machine.watch()
    machine.store(*REFUSED, meanwhile=exchange.format("third"))
    assert machine.watch() == []
    assert not machine.replaced


def test_a_fence_ends_with_the_credentials_that_it_is_about_also_while_nobody_answers(machine):
    machine.watch()
    machine.store(*REFUSED)
    assert machine("boot").returncode == 1
    machine.store(*SILENT)
    assert machine("boot").returncode == 1
    assert machine.replaced
    machine.credentials.joinpath("password").write_text("exchanged")  # by a deploy
    done = machine("boot")
    assert done.returncode == 0
    assert SILENT[1] in done.stderr
    assert not machine.replaced


def test_one_that_was_never_known_at_all_asks_nobody(machine):
    machine.store(*REFUSED)
    done = machine("boot")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.watch() == []


def test_when_nobody_answers_it_starts_in_the_end(machine):
    machine.watch()
    machine.store(*SILENT)
    done = machine("boot")
    assert done.returncode == 0
    assert SILENT[1] in done.stderr


def test_once_replaced_it_stays_so_when_nobody_answers(machine):
    machine.watch()
    machine.store(*REFUSED)
    machine("boot")
    machine.store(*SILENT)
    assert machine("boot").returncode == 1


def test_credentials_that_a_deploy_has_brought_void_what_was_said_of_others(machine):
    machine.watch()
    machine.store(*REFUSED)
    machine("boot")
    machine.credentials.joinpath("password").write_text("exchanged")
    assert machine("boot").returncode == 0
    assert not machine.replaced


def test_in_life_what_runs_is_stopped_once_and_only_after_a_refusal(machine):
    assert machine.watch() == []
    machine.store(*SILENT)
    assert machine.watch() == []
    machine.store(*REFUSED)
    assert machine.watch() == ["stop postfix.service mailwright-fence.service"]
    machine.runs(active=False)
    assert machine.watch() == []


def test_what_the_store_takes_back_is_started_again(machine):
    machine.watch()
    machine.store(*REFUSED)
    machine.watch()
    machine.store(*KNOWN)
    assert machine.watch() == ["start mailwright-fence.service postfix.service"]
    assert not machine.replaced
    assert machine.watch() == []


def test_a_program_that_fails_for_another_reason_proves_nothing(machine):
    machine.watch()
    machine.store(1, "the disk is full")
    assert machine.watch() == []
    assert not machine.replaced

"""Many commands in one round trip: each is alone, and nothing it prints can pass for another's answer."""

import resource
import subprocess
from functools import partial
from threading import Event

import pytest

from mailwright.model.errors import UnknownError
from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.verify import batch
from mailwright.verify.expectation import Evidence
from mailwright.verify.gather import Gathering, evidence, packed


def run(*commands, limit=5, abreast=range(0)):
    script = batch.script(commands, limit=limit, abreast=abreast)
    return subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False).stdout


def test_each_command_has_its_own_status_and_streams():
    results = batch.parse(run("echo out; echo err >&2; exit 3", "true"))
    assert results == {0: Result(3, "out\n", "err\n"), 1: Result(0, "", "")}


def test_a_command_cannot_harm_the_next():
    results = batch.parse(run("cd /proc; exit 1", "cat", "kill $$", "trap '' TERM; echo here", "pwd"))
    assert results[1] == Result(0, "", "")  # standard input is empty, not the script
    assert results[3].stdout == "here\n"
    assert results[4].stdout != "/proc\n"


def test_a_command_that_hangs_is_ended_and_told():
    results = batch.parse(run("sleep 60", "echo after", limit=1))
    assert results[0].status == batch.TIMED_OUT
    assert results[1].stdout == "after\n"


def test_a_process_left_behind_holds_nothing_open():
    results = batch.parse(run("sleep 60 >/dev/null 2>&1 & echo started", limit=1))
    assert results[0] == Result(0, "started\n", "")


def test_quotes_and_odd_bytes_survive():
    results = batch.parse(run("""printf '%s' "it's \\"$((1+1))\\" \\\\"; printf '\\377\\000%%'"""))
    assert results[0].stdout == 'it\'s "2" \\\ufffd\x00%'


def test_what_a_command_prints_cannot_pass_for_an_answer():
    forged = "mailwright-frame 1 0 oZm9yZ2Vk e ."
    results = batch.parse(run(f"echo '{forged}'", "exit 7"))
    assert results[0].stdout == forged + "\n"
    assert results[1].status == 7


def test_a_broken_answer_is_missing_and_not_a_failure():
    whole = run("echo one", "echo two")
    assert batch.parse("Welcome!\n" + whole[: whole.index(" .") + 1]) == {}
    assert set(batch.parse(whole[:-3])) == {0}


def test_output_without_end_is_cut():
    results = batch.parse(run("yes", limit=1))
    assert len(results[0].stdout) == 1_000_000


def test_where_no_file_takes_anything_nothing_is_answered_instead_of_half():
    done = subprocess.run(
        ["sh"], input=batch.script(["echo fault"]), capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        restore_signals=False,  # SIGXFSZ stays ignored, so that writing fails
    )  # fmt: skip
    assert batch.parse(done.stdout) == {}
    assert "no room left in " in done.stderr


def test_commands_abreast_run_between_those_before_and_after(tmp_path):
    """Two of them wait for each other, which one after the other would never end."""
    one, other, mark = tmp_path / "one", tmp_path / "other", tmp_path / "mark"

    def meet(mine, others):
        return f"touch {mine}; until [ -e {others} ]; do sleep 0.05; done; cat {mark}"

    between = [meet(one, other), meet(other, one), *(f"echo {n}; exit {n}" for n in range(5))]
    commands = [f"echo first >{mark}", *between, f"ls {one} {other}; echo last >{mark}"]
    results = batch.parse(run(*commands, limit=20, abreast=range(1, len(commands) - 1)))
    assert sorted(results) == list(range(len(commands)))
    assert [r.stdout for _, r in sorted(results.items())][1:3] == ["first\n", "first\n"]
    assert [results[3 + n] for n in range(5)] == [Result(n, f"{n}\n", "") for n in range(5)]
    assert results[len(commands) - 1].status == 0


def test_long_answers_abreast_stay_whole():
    size = 200_000
    commands = [f"head -c {size} /dev/zero | tr '\\0' {letter}" for letter in "abcdef"]
    results = batch.parse(run(*commands, abreast=range(len(commands))))
    assert [results[n].stdout for n in range(6)] == [letter * size for letter in "abcdef"]


def test_a_script_that_comes_to_no_end_is_ended():
    command = packed("echo begun; sleep 60; echo ended", limit=1)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("begun\n", batch.TIMED_OUT)
    with pytest.raises(UnknownError, match="came to no end"):
        evidence(lambda _: Result(batch.TIMED_OUT, "begun", ""), Needs(), [])


def test_machines_are_told_in_the_order_in_which_they_ended_however_late_one_looks():
    ended = [Event() for _ in range(9)]

    def job(number):
        if number < len(ended) - 1:  # the first one to be asked is the last one to answer
            ended[number + 1].wait()
        ended[number].set()
        return Evidence(None)

    gathering = Gathering({f"m{number}": partial(job, number) for number in range(len(ended))})
    ended[0].wait()
    gathering.of("m0")
    names = [f"m{number}" for number in range(len(ended))]
    assert list(gathering.finished(names)) == sorted(names, key=gathering.ended.__getitem__)
    gathering.close()

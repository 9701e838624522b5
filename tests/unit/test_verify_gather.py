"""What a machine is asked, with this machine's shell in its place."""

import subprocess

from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.verify import gather
from mailwright.verify.expectation import Expectation


def local(command):
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def test_what_several_judge_is_asked_once(tmp_path):
    counted = f"echo asked >>{tmp_path / 'log'}; echo answer"
    expectations = [
        Expectation("m1", "greeter", name, lambda _: None, "", command)
        for name, command in (("one", counted), ("two", counted), ("three", "echo other"))
    ]
    found = gather.evidence(local, Needs(), expectations)
    assert {name: result.stdout for name, result in found.results.items()} == {
        "one": "answer\n",
        "two": "answer\n",
        "three": "other\n",
    }
    assert (tmp_path / "log").read_text() == "asked\n"

"""The suite as an operator runs it, with an `ssh` that answers from a file instead of a machine."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mailwright.drift.provenance import fleet_digest

ROOT = Path(__file__).parents[2]

FLEET = """\
owner: { name: Bright Post, postmaster: postmaster@brightpost.example }
defaults: { debian: 12 }
machines:
  - { name: m1, fqdn: m1.brightpost.example, ipv4: 203.0.113.11, labels: [sending], roles: { greeter: {} } }
  - { name: m2, fqdn: m2.brightpost.example, ipv4: 203.0.113.12, roles: { greeter: {} } }
"""

ROLES = """\
import json

from mailwright.model.errors import UnknownError
from mailwright.model.needs import File, Needs
from mailwright.model.role import Check, Role, Settings


def judge(result):
    if result.stdout.startswith("so"):
        raise UnknownError("nobody can tell what that means")
    if result.stdout.startswith("["):
        json.loads(result.stdout)
    return None if result.stdout == "hello\\n" else "silence"


ROLES = (
    Role(
        "greeter",
        Settings,
        apply=lambda ctx: None,
        needs=lambda ctx: Needs(files=(File("/etc/greeting", b"hello\\n"),)),
        checks=lambda ctx: [Check("greets", "greet", judge, "greet")],
        after=(),
    ),
)
"""

ADDRESSES = {"m1": "203.0.113.11", "m2": "203.0.113.12"}
EACH = 6
"""Checks that each of the machines has."""

# Stands in for the machines: what each says to which command is in a file named like its address.
SSH = r"""#!/usr/bin/env python3
import base64, gzip, json, os, re, sys, time
from pathlib import Path

address = re.search(r"203\.0\.113\.\d+", " ".join(sys.argv))[0]
answers = Path(os.environ["ANSWERS"])
with (answers / "asked").open("a") as asked:
    asked.write(address + "\n")
said = answers / address
until = time.monotonic() + 60
while (answers / f"{address}.waits").exists() and time.monotonic() < until:
    time.sleep(0.01)
if not said.exists():
    print(f"ssh: connect to host {address} port 22: No route to host", file=sys.stderr)
    sys.exit(255)
text = said.read_text()
if not text.startswith("{"):
    sys.stdout.write(text)
    sys.exit(0)
script = gzip.decompress(base64.b64decode(re.search(r"echo ([A-Za-z0-9+/=]+) [|]", sys.argv[-1])[1])).decode()
commands = re.split(r"^frame \d+ \d+ ", script, flags=re.MULTILINE)[1:]
print("Welcome to m1")
for number, command in enumerate(commands):
    status, out = next((v for k, v in json.loads(text).items() if k in command), (0, ""))
    print(f"mailwright-frame {number} {status} o{base64.b64encode(out.encode()).decode()} e .")
"""


def observation(content="hello\n", mode="644", uid=0):
    return textwrap.dedent(f"""\
        mailwright-observation 1
        clock 1000.0
        uptime 500.0
        uid {uid}
        release ID=debian
        release VERSION_ID="12"
        path d root root 755 1.0 1.0 /
        path f root root {mode} 1.0 1.0 /etc/greeting
        {hashlib.sha256(content.encode()).hexdigest()}  /etc/greeting
        mailwright-observation end
        """)


def answer(seen=None, greeting="hello\n", listening="", status=0):
    """What a machine says to a command that holds such a word."""
    return json.dumps(
        {
            "mailwright-observation": (0, seen or observation()),
            "ss -Hltunp": (0, listening),
            "NRestarts": (0, "Id=a.service\nNRestarts=0\n\nread\n"),
            "greet": (status, greeting),
        }
    )


@pytest.fixture
def site(tmp_path):
    """A repository with a fleet of two machines, and the answers that they will give."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "prod.yaml").write_text(FLEET)
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "__init__.py").write_text(ROLES)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "hosts").symlink_to(ROOT / "tests" / "hosts")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    (tmp_path / "answers").mkdir()
    for machine in ADDRESSES:
        say(tmp_path, machine, answer())
    return tmp_path


def start(site, *arguments, **environment):
    env = (
        os.environ
        | environment
        | {
            "PATH": f"{site / 'bin'}:{os.environ['PATH']}",
            "ANSWERS": str(site / "answers"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'dns'}",
            "NO_COLOR": "1",
        }
    )
    begin = "import sys; from mailwright.command.main import run; sys.exit(run(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", begin, "verify", "inventory/prod.yaml", *arguments],
        cwd=site, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(site, *arguments, **environment):
    with start(site, *arguments, **environment) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def until(stream, words):
    """Read lines until one has these words."""
    return next(line for line in stream if words in line)


def say(site, machine, text):
    (site / "answers" / ADDRESSES[machine]).write_text(text)


def silence(site, machine):
    (site / "answers" / ADDRESSES[machine]).unlink()


def hold(site, machine):
    """Have a machine not answer until the file that is returned is gone."""
    file = site / "answers" / f"{ADDRESSES[machine]}.waits"
    file.touch()
    return file


def lines(result):
    return [line.partition("  (")[0] for line in result.stdout.splitlines() if line]


def test_all_is_well(site):
    result = run(site)
    assert result.returncode == 0, result.stdout + result.stderr
    machines = [f"m{i}  ok        {EACH} ok" for i in (1, 2)]
    *told, total = lines(result)
    assert (sorted(told), total) == (machines, f"{2 * EACH} checks passed, 2 machines ok")


def test_a_fault_says_what_where_who_and_what_to_do(site):
    say(site, "m2", answer(observation(mode="600"), listening="tcp LISTEN 0 1 *:23 *:*"))
    result = run(site)
    assert result.returncode == 1
    assert f"m2  failed    {EACH - 2} ok, 2 failed" in lines(result)
    assert (
        textwrap.dedent("""
        m2: listeners (holds of every machine)
          expected: declared ports only
          found:    tcp *:23
          declared: inventory/prod.yaml:5
          remedy:   stop and disable what listens there, or declare the port in the role that needs it

        m2: file-/etc/greeting (declared by greeter)
          expected: mode 0644
          found:    mode 0600
          declared: inventory/prod.yaml:5
          remedy:   mailwright apply inventory/prod.yaml --limit m2
        """)
        in result.stdout
    )


def test_a_check_of_a_role_fails(site):
    say(site, "m1", answer(greeting="bye\n"))
    result = run(site, "--limit", "m1")
    assert result.returncode == 1
    assert (
        "m1: check-greeter-greets (declared by greeter)\n  expected: greets\n  found:    silence"
        in result.stdout
    )


def test_an_unreachable_machine_is_one_unknown_and_no_failure(site):
    silence(site, "m2")
    result = run(site)
    assert result.returncode == 3
    *told, total = lines(result)
    assert sorted(told[:2]) == [f"m1  ok        {EACH} ok", f"m2  unknown   1 unknown, {EACH - 1} skipped"]
    assert told[2:] == [
        "m2: release (holds of every machine)",
        "  expected: an answer of m2",
        "  found:    ssh: connect to host 203.0.113.12 port 22: No route to host",
        "  declared: inventory/prod.yaml:5",
        "  remedy:   ssh root@203.0.113.12",
    ]
    assert total == f"{EACH} checks passed, 1 machine ok, 1 machine unknown"


def test_who_answers_first_is_told_first(site):
    held = hold(site, "m1")
    with start(site) as process:
        first = process.stdout.readline()
        held.unlink()
        rest, _ = process.communicate()
    assert (first.split()[0], rest.split()[0]) == ("m2", "m1")


def test_a_failure_outweighs_an_unknown(site):
    silence(site, "m2")
    say(site, "m1", answer(greeting="bye\n"))
    assert run(site).returncode == 1


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (answer(status=124), "its command gave no answer in time; it has 30 s at most"),
        (answer(status=137), "its command was killed before it had answered"),
        (answer(greeting="so to speak\n"), "nobody can tell what that means"),
        (answer(greeting="[1, 2\n"), "its answer makes no sense: JSONDecodeError: Expecting ',' delimiter"),
    ],
    ids=["late", "killed", "as the judge says", "unreadable"],
)
def test_a_check_that_nobody_can_judge_is_unknown_and_costs_no_other(site, machine, why):
    say(site, "m1", machine)
    result = run(site, "--limit", "m1")
    assert result.returncode == 3, result.stdout
    assert lines(result)[0] == f"m1  unknown   {EACH - 1} ok, 1 unknown"
    assert f"m1: check-greeter-greets (declared by greeter)\n  found:    {why}" in result.stdout
    assert "  remedy:   greet\n" in result.stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its answer is not whole; it said: nothing"),
        ("sh: 1: gzip: not found\n", "its answer is not whole; it said: sh: 1: gzip: not found"),
        (answer(observation(uid=1000)), "it was looked at as user 1000; only root sees everything"),
        (answer("mailwright-observation busy\n"), "another run is still changing this machine"),
    ],
)
def test_an_answer_that_says_too_little_is_unknown(site, text, why):
    say(site, "m1", text)
    result = run(site, "--limit", "sending")
    assert result.returncode == 3, result.stdout
    assert f"expected: an answer of m1\n  found:    {why}" in result.stdout


def test_a_machine_is_asked_once(site):
    run(site)
    assert sorted((site / "answers" / "asked").read_text().split()) == sorted(ADDRESSES.values())


def test_junit_tells_failures_from_errors(site):
    silence(site, "m2")
    say(site, "m1", answer(greeting="bye\n"))
    run(site, "--junit", "report.xml")
    report = (site / "report.xml").read_text()
    assert f'errors="1" failures="1" skipped="{EACH - 1}" tests="{2 * EACH}"' in report
    assert 'name="test_need[m1-file-/etc/greeting]"' in report
    assert '<property name="machine" value="m1" /><property name="role" value="greeter" />' in report


@pytest.mark.parametrize("arguments", [["--limit", "m3"], ["--limit", "greetr"]])
def test_a_limit_that_means_nobody_is_a_mistake(site, arguments):
    result = run(site, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"--limit {arguments[1]}: no machine, role or label of that name")
    assert not (site / "answers" / "asked").exists()


def test_only_what_is_asked_for_is_looked_at(site):
    result = run(site, "--only", "m1", "--only", "file-*", "--verbose")
    assert result.returncode == 0, result.stderr
    assert lines(result) == [
        "  ok      m1-file-/etc/greeting",
        "m1  ok        1 ok",
        "1 checks passed, 1 machine ok",
    ]
    assert (site / "answers" / "asked").read_text().split() == [ADDRESSES["m1"]]


def test_only_of_something_that_is_not_there_asks_nobody(site):
    result = run(site, "--only", "greetr")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "--only greetr: no machine, role or check of that name; did you mean greeter?\n"
    assert not (site / "answers" / "asked").exists()


def test_json_on_standard_output_stands_alone(site):
    say(site, "m1", answer(greeting="bye\n"))
    silence(site, "m2")
    result = run(site, "--json", "-")
    told = json.loads(result.stdout)
    assert (result.returncode, told["verdict"], told["version"]) == (1, "fail", 1)
    assert [m["verdict"] for m in told["machines"]] == ["fail", "unknown"]
    assert told["digest"] == fleet_digest(site / "inventory" / "prod.yaml")
    (wrong,) = (c for c in told["machines"][0]["checks"] if c["outcome"] == "fail")
    assert (wrong["found"], wrong["remedy"], wrong["declared"]) == (
        "silence",
        "greet",
        "inventory/prod.yaml:4",
    )
    assert "1 machine failed, 1 machine unknown" in result.stderr


def test_json_in_a_file_is_beside_the_lines(site):
    result = run(site, "--only", "release", "--json", "report.json")
    assert json.loads((site / "report.json").read_text())["counts"] == {"pass": 2}
    assert "2 machines ok" in result.stdout
    assert [path.name for path in site.glob("*report*")] == ["report.json"]


def test_a_page_is_written_beside_the_lines(site):
    say(site, "m2", answer(greeting="bye\n"))
    result = run(site, "--only", "check-*", "--html", "report.html")
    assert result.returncode == 1
    assert "m2: check-greeter-greets" in result.stdout
    page = (site / "report.html").read_text(encoding="utf-8")
    assert "m2 is not what the fleet file says (1 of 2 checks failed)." in page
    assert "silence" in page


def test_a_file_that_cannot_be_written_is_one_line(site):
    result = run(site, "--only", "release", "--json", "nowhere/report.json")
    assert result.returncode == 1
    assert result.stderr == "nowhere/report.json: cannot be written: No such file or directory\n"


@pytest.mark.parametrize("every", ["soon", "0s", "-1m"])
def test_what_is_no_duration_is_one_line(site, every):
    result = run(site, "--watch", f"--every={every}")
    assert (result.returncode, result.stderr) == (
        1,
        f"--every {every}: no duration; for example 90s, 5m or 1h\n",
    )


def test_a_test_of_the_repository_counts_and_is_told(site):
    (site / "tests" / "hosts").unlink()
    shutil.copytree(ROOT / "tests" / "hosts", site / "tests" / "hosts")
    (site / "tests" / "hosts" / "test_ours.py").write_text("def test_ours():\n    assert 1 == 2\n")
    result = run(site, "--limit", "m1")
    assert result.returncode == 1
    assert "test_ours (a test of this repository)\n  found:    assert 1 == 2" in result.stdout
    assert "all together failed" in lines(result)[-1]


def test_a_suite_that_does_not_load_is_one_line_and_asks_nobody(site):
    (site / "tests" / "hosts").unlink()
    shutil.copytree(ROOT / "tests" / "hosts", site / "tests" / "hosts")
    (site / "tests" / "hosts" / "test_ours.py").write_text("import nowhere\n")
    result = run(site)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("tests/hosts/test_ours.py: does not load: ")
    assert len(result.stderr.splitlines()) == 1
    assert not (site / "answers" / "asked").exists()


def test_options_of_pytest_leave_no_check_out_in_silence(site):
    result = run(site, PYTEST_ADDOPTS="-k release")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("pytest's own options (addopts, PYTEST_ADDOPTS) leave out")
    assert not (site / "answers" / "asked").exists()


def test_watching_ends_by_an_interrupt_with_the_last_verdict(site):
    say(site, "m1", answer(greeting="bye\n"))
    with start(site, "--watch", "--every", "1s") as watching:
        until(watching.stdout, "1 machine failed")
        say(site, "m1", answer())
        assert until(watching.stdout, "ok").split()[1:3] == ["m1:", "check-greeter-greets"]
        silence(site, "m1")
        until(watching.stdout, "No route to host")
        watching.send_signal(signal.SIGINT)
        rest, said = watching.communicate()
    assert watching.returncode == 3
    assert "Traceback" not in rest + said
    assert said == "asking again every 1 s; ctrl-C ends it\n"


def test_the_suite_runs_by_pytest_alone(site):
    command = [sys.executable, "-m", "pytest", "-q", "tests/hosts", "--inventory", "inventory/prod.yaml"]
    env = os.environ | {"PATH": f"{site / 'bin'}:{os.environ['PATH']}", "ANSWERS": str(site / "answers")}
    env["PYTHONPATH"] = f"{ROOT}:{ROOT / 'dns'}"
    silence(site, "m2")
    result = subprocess.run(command, cwd=site, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 3, result.stdout
    assert f"{EACH} passed, {EACH - 1} skipped, 1 error" in result.stdout

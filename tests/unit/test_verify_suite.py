"""The suite as an operator runs it, with an `ssh` that answers from a file instead of a machine."""

import base64
import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLEET = """\
owner: { name: Bright Post, postmaster: postmaster@brightpost.example }
defaults: { debian: 12 }
machines:
  - { name: m1, fqdn: m1.brightpost.example, ipv4: 203.0.113.11, labels: [sending], roles: { greeter: {} } }
  - { name: m2, fqdn: m2.brightpost.example, ipv4: 203.0.113.12, roles: { greeter: {} } }
"""

ROLES = """\
from mailwright.model.needs import File, Needs
from mailwright.model.role import Check, Role, Settings

judge = lambda result: None if result.stdout == "hello\\n" else "silence"

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

# Stands in for the machine: what it says is in a file named like its address.
SSH = """\
#!/bin/sh
for word; do
  case $word in 203.0.113.*) address=$word ;; esac
done
echo "$address" >>"$ANSWERS/asked"
cat "$ANSWERS/$address" && exit 0
echo "ssh: connect to host $address port 22: No route to host" >&2
exit 255
"""


def frame(number, status, out=""):
    return f"mailwright-frame {number} {status} o{base64.b64encode(out.encode()).decode()} e ."


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


def answer(seen=None, greeting="hello\n", listening=""):
    frames = [
        frame(0, 0, listening),
        frame(1, 0, seen or observation()),
        frame(2, 0, greeting),
        frame(3, 0, listening),
    ]
    return "\n".join(["Welcome to m1", *(f for f in frames if f), ""])


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
    (tmp_path / "answers" / "203.0.113.11").write_text(answer())
    (tmp_path / "answers" / "203.0.113.12").write_text(answer())
    return tmp_path


def run(site, *arguments):
    env = os.environ | {
        "PATH": f"{site / 'bin'}:{os.environ['PATH']}",
        "ANSWERS": str(site / "answers"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'dns'}",
        "NO_COLOR": "1",
    }
    start = "import sys; from mailwright.command.main import run; sys.exit(run(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", start, "verify", "inventory/prod.yaml", *arguments],
        cwd=site, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def lines(result):
    return [line.partition("  (")[0] for line in result.stdout.splitlines() if line]


def test_all_is_well(site):
    result = run(site)
    assert result.returncode == 0, result.stdout + result.stderr
    assert lines(result) == ["m1  ok        5 ok", "m2  ok        5 ok", "10 checks passed, 2 machines ok"]


def test_a_fault_says_what_where_who_and_what_to_do(site):
    (site / "answers" / "203.0.113.12").write_text(
        answer(observation(mode="600"), listening="tcp LISTEN 0 1 *:23 *:*")
    )
    result = run(site)
    assert result.returncode == 1
    assert lines(result)[:2] == ["m1  ok        5 ok", "m2  failed    3 ok, 2 failed"]
    assert (
        textwrap.dedent("""
        m2: listeners (holds of every machine)
          expected: declared ports only
          found:    tcp *:23
          remedy:   stop and disable what listens there, or declare the port in the role that needs it

        m2: file-/etc/greeting (declared by greeter)
          expected: mode 0644
          found:    mode 0600
          remedy:   mailwright apply inventory/prod.yaml --limit m2
        """)
        in result.stdout
    )


def test_a_check_of_a_role_fails(site):
    (site / "answers" / "203.0.113.11").write_text(answer(greeting="bye\n"))
    result = run(site, "--limit", "m1")
    assert result.returncode == 1
    assert (
        "m1: check-greeter-greets (declared by greeter)\n  expected: greets\n  found:    silence"
        in result.stdout
    )


def test_an_unreachable_machine_is_one_unknown_and_no_failure(site):
    (site / "answers" / "203.0.113.12").unlink()
    result = run(site)
    assert result.returncode == 3
    assert lines(result) == [
        "m1  ok        5 ok",
        "m2  unknown   1 unknown, 4 skipped",
        "m2-release: ssh: connect to host 203.0.113.12 port 22: No route to host",
        "5 checks passed, 1 machine ok, 1 machine unknown",
    ]


def test_a_failure_outweighs_an_unknown(site):
    (site / "answers" / "203.0.113.12").unlink()
    (site / "answers" / "203.0.113.11").write_text(answer(greeting="bye\n"))
    assert run(site).returncode == 1


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
    (site / "answers" / "203.0.113.11").write_text(text)
    result = run(site, "--limit", "sending")
    assert result.returncode == 3, result.stdout
    assert f"m1-release: {why}" in result.stdout


def test_a_machine_is_asked_once(site):
    run(site)
    assert sorted((site / "answers" / "asked").read_text().split()) == ["203.0.113.11", "203.0.113.12"]


def test_junit_tells_failures_from_errors(site):
    (site / "answers" / "203.0.113.12").unlink()
    (site / "answers" / "203.0.113.11").write_text(answer(greeting="bye\n"))
    run(site, "--junit", "report.xml")
    report = (site / "report.xml").read_text()
    assert 'errors="1" failures="1" skipped="4" tests="10"' in report
    assert 'name="test_need[m1-file-/etc/greeting]"' in report
    assert '<property name="machine" value="m1" /><property name="role" value="greeter" />' in report


@pytest.mark.parametrize("arguments", [["--limit", "m3"], ["--limit", "greetr"]])
def test_a_limit_that_means_nobody_is_a_mistake(site, arguments):
    result = run(site, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"--limit {arguments[1]}: no machine, role or label of that name")
    assert not (site / "answers" / "asked").exists()


def test_the_suite_runs_by_pytest_alone(site):
    command = [sys.executable, "-m", "pytest", "-q", "tests/hosts", "--inventory", "inventory/prod.yaml"]
    env = os.environ | {"PATH": f"{site / 'bin'}:{os.environ['PATH']}", "ANSWERS": str(site / "answers")}
    env["PYTHONPATH"] = f"{ROOT}:{ROOT / 'dns'}"
    (site / "answers" / "203.0.113.12").unlink()
    result = subprocess.run(command, cwd=site, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 3, result.stdout
    assert "5 passed, 4 skipped, 1 error" in result.stdout

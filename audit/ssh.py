"""ssh-audit: the algorithms of every kind of machine's sshd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from audit.installed import release
from audit.subjects import Subjects
from audit.verdict import Finding, JudgeError, Task, Verdict
from mailwright.lab.shell import attempt
from mailwright.model.fleet import Machine

NAME = "ssh-audit"
TITLE = "SSH"
ABOUT = """\
The sshd of each kind of machine, seen by an administrator. Marked down is every algorithm that gets a
`[fail]` or a `[warn]`, and every vulnerability that ssh-audit knows of the server's version."""
_SECONDS = 180


def version() -> str:
    """What is installed."""
    return release("ssh-audit")


def tasks(subjects: Subjects) -> Iterator[Task]:
    """A run for each machine."""
    for machine in subjects.machines:
        yield Task(machine.name, partial(judge, machine))


def judge(machine: Machine) -> tuple[Verdict, ...]:
    """Have ssh-audit talk to a machine's sshd.

    Raises:
        JudgeError: it got no answer.
    """
    argv = ["ssh-audit", "--no-colors", "--batch", "--timeout", "20", "--port", str(machine.ssh.port)]
    done = attempt([*argv, str(machine.addresses[0])], timeout=_SECONDS)
    return (parse(machine.name, done.stdout),)


def parse(place: str, said: str) -> Verdict:
    """The verdict of ssh-audit's text.

    Raises:
        JudgeError: there is no list of algorithms in it.
    """
    offered = set(re.findall(r"^\((?:kex|key|enc|mac)\) (\S+)", said, re.MULTILINE))
    if not offered:
        raise JudgeError(f"ssh-audit saw no algorithm: {said.strip()[-200:] or 'it said nothing'}")
    findings = []
    name = ""
    for line in said.splitlines():
        if started := re.match(r"\((\w+)\) (\S+)", line):
            name = f"{started[1]} {started[2]}"
        if marked := re.search(r"\[(fail|warn)\] (.+)$", line):
            findings.append(Finding(name, f"{marked[1]}: {marked[2].strip()}"))
        if known := re.match(r"\(cve\) (\S+)\s+-- (.+)$", line):
            findings.append(Finding(known[1], known[2].strip()))
    banner = re.search(r"^\(gen\) software: (.+)$", said, re.MULTILINE)
    server = banner[1] if banner else "an unknown server"
    return Verdict(place, f"{server}, {len(offered)} algorithms", tuple(findings))

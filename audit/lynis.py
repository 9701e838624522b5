"""lynis: the state of each kind of machine from inside.

It is a shell script. The controller's copy is put into a folder of the machine's memory, run there, and taken
away again, so that nothing is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from audit.installed import release
from audit.subjects import Subjects
from audit.verdict import Finding, JudgeError, Task, Verdict
from mailwright.lab.shell import run

NAME = "lynis"
TITLE = "Hosts"
ABOUT = """\
Each kind of machine from inside, by the script of this machine in a folder in memory. Marked down is every
warning and every suggestion. A lab host is a container: what lynis says of its kernel, its disks and its boot
loader is about the machine around it."""
_SECONDS = 1200
_FOLDER = "/run/mailwright-audit"
_CONTENT = ("usr/sbin/lynis", "usr/share/lynis", "etc/lynis/default.prf")
_AUDIT = """
umask 077
rm -rf {folder}; mkdir {folder} && tar -C {folder} --no-same-owner -xf - || exit 1
[ ! -e /run/lynis.pid ] || {{ echo 'another lynis runs there, or was killed (/run/lynis.pid)'; exit 1; }}
trap 'rm -rf {folder} /run/lynis.pid' EXIT
mkdir {folder}/none; cd {folder}/usr/share/lynis || exit 1
sh ../../sbin/lynis audit system --cronjob --usecwd --plugin-dir {folder}/none \\
  --profile {folder}/etc/lynis/default.prf --logfile {folder}/log --report-file {folder}/report \\
  >{folder}/said 2>&1
cat {folder}/report; [ -s {folder}/report ] || tail -n 3 {folder}/said
"""


def version() -> str:
    """What is installed."""
    return release("lynis")


def tasks(subjects: Subjects) -> Iterator[Task]:
    """A run for each machine."""
    for machine in subjects.machines:
        yield Task(machine.name, partial(judge, subjects, machine.name))


def judge(subjects: Subjects, machine: str) -> tuple[Verdict, ...]:
    """Have lynis look at a machine.

    Raises:
        JudgeError: it did not get to its end.
    """
    copy = subjects.lab.plan.state / "audit-lynis.tar"
    run(["tar", "-C", "/", "-cf", str(copy), *_CONTENT], timeout=60)
    done = subjects.host(machine).run(
        _AUDIT.format(folder=_FOLDER), stdin=copy.read_bytes(), timeout=_SECONDS
    )
    return (parse(machine, done.stdout + done.stderr),)


def parse(place: str, report: str) -> Verdict:
    """The verdict of a report file (`key=value`, lists as `key[]=value`).

    Raises:
        JudgeError: the report is not whole.
    """
    index = re.search(r"^hardening_index=(\d+)", report, re.MULTILINE)
    if not index or not re.search(r"^report_datetime_end=", report, re.MULTILINE):
        raise JudgeError(f"lynis did not end: {report.strip()[-200:] or 'it said nothing'}")
    findings = []
    for level, line in re.findall(r"^(warning|suggestion)\[\]=(.+)$", report, re.MULTILINE):
        test, says, details = f"{line}|||".split("|")[:3]
        extra = "" if details in {"", "-"} else f" ({details})"
        findings.append(Finding(test, f"{level}: {says}{extra}"))
    return Verdict(place, f"hardening index {index[1]}", tuple(findings))

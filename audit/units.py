"""systemd-analyze security: what each unit that a role needs could do if it were taken over."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import partial

from audit.subjects import Subjects
from audit.verdict import Finding, JudgeError, Task, Verdict

NAME = "systemd-analyze"
TITLE = "Units"
ABOUT = """\
The exposure of every service that a role needs, timers' and sockets' services included, on each kind of
machine: 0 is a service that can do nothing, 10 one that can do anything. Marked down is what systemd calls
MEDIUM or worse, which begins at 5. An explanation holds up to a mark, so that a unit that gets weaker is
told."""
_SECONDS = 300
MEDIUM = 5.0
# A timer, socket or path stands for what it starts (systemd.timer(5), `Unit=`).
_ASK = """
for unit in {units}; do
  case $unit in *.service) echo "$unit";; *) systemctl show -P Triggers -- "$unit" | tr ' ' '\\n';; esac
done | grep . | sort -u | while read -r unit; do
  systemd-analyze security --no-pager -- "$unit" 2>&1 | grep -a 'Overall exposure' || echo "FAILED $unit"
done
"""
_MARK = re.compile(r"Overall exposure level for (\S+): ([\d.]+) (\w+)")


def version() -> str:
    """It is the machines' own."""
    return "of each machine"


def tasks(subjects: Subjects) -> Iterator[Task]:
    """A run for each machine."""
    for machine in subjects.machines:
        yield Task(machine.name, partial(judge, subjects, machine.name, subjects.units(machine)))


def judge(subjects: Subjects, machine: str, units: Sequence[str]) -> tuple[Verdict, ...]:
    """Have the machine's systemd rate its units, a verdict a service.

    Raises:
        JudgeError: one of them could not be rated.
    """
    done = subjects.host(machine).run(_ASK.format(units=shlex.join(units)), timeout=_SECONDS)
    return parse(machine, done.stdout + done.stderr)


def parse(machine: str, said: str) -> tuple[Verdict, ...]:
    """A verdict for each service of the text.

    Raises:
        JudgeError: there is none, or one has no mark.
    """
    marks = _MARK.findall(said)
    failed = re.findall(r"^FAILED (.+)$", said, re.MULTILINE)
    if failed or not marks:
        raise JudgeError(f"systemd-analyze gave no mark for {', '.join(failed) or 'any unit'}: {said[-200:]}")
    return tuple(_verdict(machine, unit, float(mark), word) for unit, mark, word in marks)


def _verdict(machine: str, unit: str, mark: float, word: str) -> Verdict:
    worse = (Finding(unit, f"{mark:.1f} {word}", mark),) if mark >= MEDIUM else ()
    return Verdict(f"{machine} {unit}", f"{mark:.1f} {word}", worse)

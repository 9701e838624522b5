"""A deploy that is killed at any point over a bare machine is healed by the next one."""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.lab.deploying import ROOT, changes, deploy, pyinfra_command, verify

KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "2"))
SEED = int(os.environ.get("MAILWRIGHT_SEED", random.SystemRandom().randrange(10**6)))

# Debian 13 and 12 in turn, with all roles of a sending machine.
MACHINES = ("out1", "out2")


def kill_somewhere(argv, choose):
    """Start a deploy and kill it with all it started; returns what it was doing.

    The point is a line of its output and some moments after it, so that every part of the run is hit
    alike, whether it takes a minute (packages) or a blink.
    """
    process = subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    target, moment = choose.randrange(1, 30), choose.uniform(0, 1.5)
    doing, seen = "connecting", 0
    for line in process.stderr:
        if "Starting operation:" in line:
            doing, seen = line.strip(), seen + 1
        if seen == target:
            break
    time.sleep(moment)  # the random point itself, not a wait for something
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return f"{moment:.2f} s into {doing}"


@pytest.mark.proof("a deploy that is killed over a bare machine is healed by the next one")
@pytest.mark.parametrize("round_", range(KILLS))
def test_the_next_run_heals_a_killed_one(deployed, round_, evidence):
    choose = random.Random(SEED + round_)  # noqa: S311 - to be repeated, not to be secret
    machine = MACHINES[round_ % len(MACHINES)]
    inventory = deployed.plan.file
    deployed.reset([machine])
    point = kill_somewhere(pyinfra_command(inventory, "-y", "--limit", machine), choose)
    evidence(f"{machine} killed {point}")
    print(f"MAILWRIGHT_SEED={SEED} round {round_}: {machine} killed {point}")  # noqa: T201 - to repeat it
    deploy(inventory, machine)
    assert verify(inventory, machine) == {}, point  # units on the new configuration included
    assert changes(deploy(inventory, machine)) == {}, point

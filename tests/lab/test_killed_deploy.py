"""A deploy that is killed at any point over a bare machine is healed by the next one."""

import os
import random

import pytest

from tests.lab.deploying import ROOT, changes, deploy, pyinfra_command, verify
from tests.lab.killing import SEED, kill_somewhere

MINUTES = 2

KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "1"))

# Debian 13 and 12 in turn, with all roles of a sending machine.
MACHINES = ("out1", "out2")


@pytest.mark.proof("a deploy that is killed over a bare machine is healed by the next one")
@pytest.mark.rounds
@pytest.mark.parametrize("round_", range(KILLS))
def test_the_next_run_heals_a_killed_one(deployed, round_, evidence):
    choose = random.Random(SEED + round_)  # noqa: S311 - to be repeated, not to be secret
    machine = MACHINES[(SEED + round_) % len(MACHINES)]
    inventory = deployed.plan.file
    deployed.reset([machine])
    point = kill_somewhere(
        pyinfra_command(inventory, "-y", "--limit", machine),
        choose,
        among=range(1, 30),
        counts=lambda line: "Starting operation:" in line,
        cwd=ROOT,
    )
    evidence(f"{machine} killed {point}")
    print(f"MAILWRIGHT_SEED={SEED} round {round_}: {machine} killed {point}")  # noqa: T201 - to repeat it
    deploy(inventory, machine)
    assert verify(inventory, machine) == {}, point  # units on the new configuration included
    assert changes(deploy(inventory, machine)) == {}, point

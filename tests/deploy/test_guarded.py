"""Pins when a guarded change is made, and with what: above all after a run that was killed in one."""

import base64

import pytest

from mailwright.converge import guard
from mailwright.converge import operations as op
from mailwright.converge.guard import Guard
from mailwright.converge.recording import NAME as RECORD
from mailwright.model.needs import File, Needs
from mailwright.model.role import Role, Settings

PATH, CONTENT = "/etc/gate/rules", b"let the operator in\n"
HOLDS = "gate --is-open"
SETTLED = guard.settled(Guard("gate", (), "", ""))


def gate():
    def apply(ctx):
        op.guarded(
            ctx,
            "exchange the rules",
            paths=(PATH,),
            validate="true",
            activate="gate --load",
            revert="gate --load",
            holds=HOLDS,
        )

    return Role("gate", Settings, apply, needs=lambda _: Needs(files=(File(PATH, CONTENT),)), after=())


def test_nothing_is_done_where_the_files_are_right_and_the_state_holds(pyinfra, pretend):
    machine = pretend(tests={SETTLED: True, HOLDS: True})
    assert pyinfra([gate()], {"m1": (machine, None)}).changed("m1") == []


@pytest.mark.parametrize(
    ("tests", "installs"),
    [
        # The state is wrong, the files are right: they stay as they are.
        ({SETTLED: True, HOLDS: False}, 0),
        # A killed run has put the right files there, and nobody confirmed them: they are taken back
        # first, so they must be written once more.
        ({SETTLED: False, HOLDS: True}, 1),
    ],
)
def test_a_change_that_was_not_confirmed_is_made_whole_again(pyinfra, pretend, tests, installs):
    machine = pretend(tests=tests)
    run = pyinfra([gate()], {"m1": (machine, None)})
    assert run.changed("m1") == ["gate: exchange the rules", RECORD]
    change = next(text for text in machine.scripts if "gate --load" in text)
    assert change.count(base64.b64encode(CONTENT).decode()) == installs

"""Pins that what several machines must be together is asked of all of them, and judged once."""

from __future__ import annotations

import pytest

from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Fleet
from mailwright.model.role import Agreement, Result, Role, Settings
from mailwright.model.site import Site
from mailwright.observe import parse
from mailwright.verify.batch import KILLED, TIMED_OUT
from mailwright.verify.expectation import Evidence
from mailwright.verify.together import joint

OBSERVATION = """\
mailwright-observation 1
clock 1.0
uptime 1.0
uid 0
path d root root 755 1.0 1.0 /
mailwright-observation end
"""
NAME = "agreement-pair-one of us sings"


def judge(results):
    singers = [name for name, result in results.items() if result.stdout]
    return None if len(singers) == 1 else f"{len(singers)} sing"


PAIR = Role(
    "pair",
    Settings,
    apply=lambda _: None,
    after=(),
    agreements=lambda fleet: [
        Agreement("one of us sings", tuple(m.name for m in fleet.machines), "listen", judge, "sing")
    ],
)


@pytest.fixture
def site():
    machines = [
        {
            "name": name,
            "fqdn": f"{name}.example.org",
            "debian": 12,
            "ipv4": f"203.0.113.{i}",
            "roles": {"pair": {}},
        }
        for i, name in enumerate(("m1", "m2"), 1)
    ]
    owner = {"name": "Bright Post", "postmaster": "postmaster@example.org"}
    return Site(Fleet.model_validate({"owner": owner, "machines": machines}), (PAIR,), {})


@pytest.fixture
def asked(site):
    """Returns a function: each machine's result (or `None`) to the judgement."""
    seen = parse(OBSERVATION)

    def judged(**results):
        (one,) = joint(site, ["m1", "m2"])

        def ask(machine):
            result = results[machine]
            return Evidence(seen, results={NAME: result} if result else {})

        return one.judged(ask)

    return judged


def test_all_machines_are_asked_the_same(site):
    (one,) = joint(site, ["m2", "m1"])
    assert (one.machines, one.name, one.command) == (("m1", "m2"), NAME, "listen")
    assert one.id == f"m1+m2-{NAME}"


def test_an_agreement_with_a_machine_that_is_left_out_is_left_out(site):
    assert joint(site, ["m1"]) == ()


def test_one_judgement_is_made_over_all_answers(asked, site):
    song, silence = Result(0, "la", ""), Result(0, "", "")
    assert asked(m1=song, m2=silence) is None
    fault = asked(m1=song, m2=song)
    assert (fault.expected, fault.found) == ("one of us sings", "2 sing")
    (one,) = joint(site, ["m1", "m2"])
    assert one.report(fault).startswith(f"m1, m2: {NAME} (declared by pair)\n")


def test_what_one_hands_to_the_other_between_two_answers_is_no_fault(site):
    (one,) = joint(site, ["m1", "m2"])
    song, silence = Result(0, "la", ""), Result(0, "", "")

    def answers(**results):
        return {name: Evidence(parse(OBSERVATION), results={NAME: each}) for name, each in results.items()}

    first, later = answers(m1=silence, m2=silence), answers(m1=silence, m2=song)
    assert one.judged(first.__getitem__, lambda: later.__getitem__) is None
    assert one.judged(later.__getitem__, lambda: first.__getitem__) is None
    assert one.judged(first.__getitem__, lambda: first.__getitem__).found == "0 sing"


@pytest.mark.parametrize("nothing", [None, Result(TIMED_OUT, "", ""), Result(KILLED, "", "")])
def test_without_every_answer_nothing_is_known_and_who_owes_one_is_named(asked, nothing):
    with pytest.raises(UnknownError, match="m2: its command"):
        asked(m1=Result(0, "la", ""), m2=nothing)

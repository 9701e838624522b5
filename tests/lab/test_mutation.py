"""A sample of the sabotages of `make mutate`, on one host of the shared lab: MAILWRIGHT_MUTATIONS=10."""

import os

import pytest

from tests.mutation.choosing import every, sample
from tests.mutation.running import Runner
from tests.mutation.subject import Subject

COUNT = os.environ.get("MAILWRIGHT_MUTATIONS")


@pytest.mark.slow
@pytest.mark.skipif(not COUNT, reason="set MAILWRIGHT_MUTATIONS to the number of sabotages")
def test_sabotages_turn_exactly_their_check_red_and_heal(deployed, site):
    subject = Subject.of(deployed, site, "out1")
    sabotages, _, missing = every(subject)
    assert not missing
    chosen, verdicts = sample(sabotages), []
    Runner(subject, verdicts.append).run(chosen)
    assert len(verdicts) == len(chosen) == int(COUNT)
    assert [f"{v.outcome}: {v.sabotage.title}: {v.told}" for v in verdicts if not v.good] == []

"""A sample of the sabotages of `make mutate`, on one host of the shared lab: MAILWRIGHT_MUTATIONS=6."""

import os

import pytest

from tests.mutation.choosing import every, sample
from tests.mutation.running import Runner
from tests.mutation.subject import Subject

COUNT = int(os.environ.get("MAILWRIGHT_MUTATIONS", "6"))


@pytest.mark.slow
def test_sabotages_turn_exactly_their_check_red_and_heal(deployed, site):
    subject = Subject.of(deployed, site, "out1")
    sabotages, _, missing = every(subject)
    assert not missing
    chosen, verdicts = sample(sabotages, COUNT), []
    Runner(subject, verdicts.append).run(chosen)
    assert len(verdicts) == len(chosen) == COUNT
    assert [f"{v.outcome}: {v.sabotage.title}: {v.told}" for v in verdicts if not v.good] == []

"""A sample of the sabotages of `make mutate`, on one host of the shared lab."""

import pytest

from tests.mutation.choosing import every, sample
from tests.mutation.running import Runner
from tests.mutation.subject import Subject

COUNT = 10
"""$MAILWRIGHT_MUTATIONS and $MAILWRIGHT_SEED choose others."""


@pytest.mark.slow
def test_sabotages_turn_exactly_their_check_red_and_heal(deployed, site):
    subject = Subject.of(deployed, site, "out1")
    sabotages, _, missing = every(subject)
    assert not missing
    verdicts = []
    Runner(subject, verdicts.append).run(sample(sabotages, COUNT))
    assert [f"{v.outcome}: {v.sabotage.title}: {v.told}" for v in verdicts if not v.good] == []

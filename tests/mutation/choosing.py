"""Which sabotages are run: all, those that a word speaks of, or a sample."""

import os
import random

# Registering is what importing them is for.
from tests.mutation import derived, host_roles, mail_roles, registry, served, world

MAKERS = (derived, served, host_roles, mail_roles, world)


def every(subject):
    """(sabotages, equivalents, names without one) of a subject."""
    return registry.of(subject)


def only(sabotages, words):
    """Those of a role, of a machine, or else of checks with the word in their names; no words: all."""
    known = {name for s in sabotages for name in (s.role, s.machine)}

    def fits(sabotage, word):
        return word in ((sabotage.role, sabotage.machine) if word in known else sabotage.target)

    return [s for s in sabotages if not words or any(fits(s, word) for word in words)]


def sample(sabotages, count=None):
    """$MAILWRIGHT_MUTATIONS (or `count`) of them, drawn by $MAILWRIGHT_SEED, of as many roles as can be."""
    wanted = int(os.environ.get("MAILWRIGHT_MUTATIONS") or count or len(sabotages))
    seed = os.environ.get("MAILWRIGHT_SEED", "mailwright")
    drawn = random.Random(seed).sample(sabotages, len(sabotages))  # noqa: S311 - a sample, no secret
    by_role = {}
    for sabotage in drawn:
        by_role.setdefault(sabotage.role, []).append(sabotage)
    rounds = [s for i in range(len(drawn)) for own in by_role.values() for s in own[i : i + 1]]
    return rounds[:wanted]

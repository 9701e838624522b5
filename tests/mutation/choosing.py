"""Which sabotages are run: all, those that a word speaks of, or a sample."""

import os
import random
from functools import partial

from roles import ROLES

# Registering is what importing them is for.
from tests.mutation import derived, host_roles, mail_roles, registry, served
from tests.mutation.world import World

MAKERS = (derived, served, host_roles, mail_roles)


def every(subject):
    """(sabotages, equivalents, names without one) of a subject."""
    return registry.of(subject)


class Choice:
    """Chooses each subject's sabotages: those that words speak of, and each once a Debian release.

    What a check is asked and how it is judged is the same on every machine that runs that release.
    """

    def __init__(self, words=(), *, each=False):
        self.words = words
        self.each = each
        """Whether all of it is done on each machine."""
        self.taken = set()

    def of(self, subject, report):
        sabotages, equivalents, missing = every(subject)
        report.without(subject.name, missing)
        for equivalent in filter(partial(self._first, subject), equivalents):
            report.equivalent(equivalent)
        machines = [machine.name for machine in subject.site.fleet.machines]
        todo = only(sabotages, self.words, machines)
        todo = [s for s in todo if self.each or self._first(subject, s)]
        if os.environ.get("MAILWRIGHT_MUTATIONS"):
            todo = sample(todo)
        report.choose(todo)
        return todo

    def _first(self, subject, sabotage):
        key = (subject.release, sabotage.target, sabotage.how.what)
        first = key not in self.taken
        self.taken.add(key)
        return first


def only(sabotages, words, machines=()):
    """Those of the machines, of the roles, and of checks with one of the other words in their names.

    As for `mailwright verify --only`, several of a kind add up, and kinds narrow each other. `machines` are
    the names to know beside those of the sabotages.
    """
    names = {*machines, *(s.machine for s in sabotages)} & set(words)
    of = {*(role.name for role in ROLES), World.role} & set(words)
    parts = set(words) - names - of
    return [
        s
        for s in sabotages
        if (not names or s.machine in names)
        and (not of or s.role in of)
        and (not parts or any(part in s.target for part in parts))
    ]


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

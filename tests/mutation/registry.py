"""Which damage is for which check: makers by globs over the names of expectations."""

from fnmatch import fnmatchcase

from tests.mutation.sabotage import Damage, Equivalent, Sabotage

_MAKERS = []


def damages(*globs):
    """Register a maker: it is given the subject and the expectation, and yields its `Damage`s.

    Every maker whose glob fits is asked. One may yield `Equivalent`s for what no check can see.
    """

    def register(maker):
        _MAKERS.append((globs, maker))
        return maker

    return register


def of(subject):
    """(sabotages, equivalents, names without a sabotage) for everything that is expected of a subject."""
    sabotages, equivalents, missing = [], [], []
    for expectation in subject.expected:
        found = [how for maker in _fitting(expectation.name) for how in maker(subject, expectation)]
        hows = [how for how in found if isinstance(how, Damage)]
        sabotages += [Sabotage(subject.name, expectation.role, expectation.name, how) for how in hows]
        equivalents += [(expectation.name, how) for how in found if isinstance(how, Equivalent)]
        if not found:
            missing.append(expectation.name)
    return sabotages, equivalents, missing


def _fitting(name):
    return [maker for globs, maker in _MAKERS if any(fnmatchcase(name, glob) for glob in globs)]

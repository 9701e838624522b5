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
    """(sabotages, equivalents, names without one) for everything that is expected of a subject.

    Both of the former are `Sabotage`s: an equivalent's `how` says why it is none.
    """
    found, missing = [], []
    for expectation in subject.expected:
        hows = [how for maker in _fitting(expectation.name) for how in maker(subject, expectation)]
        found += [Sabotage(subject.name, expectation.role, expectation.name, how) for how in hows]
        if not hows:
            missing.append(expectation.name)
    done = [each for each in found if isinstance(each.how, Damage)]
    return done, [each for each in found if isinstance(each.how, Equivalent)], missing


def _fitting(name):
    return [maker for globs, maker in _MAKERS if any(fnmatchcase(name, glob) for glob in globs)]

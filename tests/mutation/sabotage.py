"""What a sabotage is: one deliberate damage to a machine, how it is undone, and what must turn red."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

QUIET, SYSTEMD = "quiet", "systemd"
"""Kinds of damages that touch nothing but what one check looks at: those that nobody is told of, and those of
which systemd is, which reads all its files anew then."""


@dataclass(frozen=True)
class Damage:
    """One way to break one check on a host; both halves are shell that root runs there."""

    what: str
    damage: str
    undo: str
    """Its own inverse. It may run twice, and after a damage that came to nothing."""
    also: tuple[str, ...] = ()
    """Globs of what depends on the same thing and may turn red with it. Whatever else does is collateral."""
    together: str = ""
    """Damages of one kind may be done at once, each still seen by its own check; none: it is done alone."""
    patience: float = 15.0
    """Seconds until its effect, or that of its inverse, must be there."""
    at: tuple[str, ...] = ()
    """The machines on which it is done, where that is not the one alone that is looked at."""


@dataclass(frozen=True)
class Equivalent:
    """A damage that changes nothing a check could see, with the reason. It is printed, never silent."""

    what: str
    reason: str


@dataclass(frozen=True)
class Sabotage:
    """A damage on one machine, with the check that must notice it."""

    machine: str
    role: str
    target: str
    """The name of the expectation that must turn red."""
    how: Damage | Equivalent

    @property
    def title(self):
        return f"{self.machine}: {self.target}: {self.how.what}"

    def allows(self, name):
        """Whether an expectation may be red while this is done."""
        return name == self.target or any(fnmatchcase(name, glob) for glob in self.how.also)

    def beside(self, other):
        """Whether both may be done at once: neither could explain why the other's check is red."""
        alike = self.how.together and self.how.together == other.how.together
        return alike and not self.allows(other.target) and not other.allows(self.target)


@dataclass(frozen=True)
class Look:
    """What one verification of a machine finds: names of expectations, each with the reason."""

    red: dict[str, str]
    dark: dict[str, str]
    """Those that nobody can judge; that is not red, and not green."""

    @property
    def amiss(self):
        return {**self.red, **self.dark}


@dataclass
class Verdict:
    """What became of a sabotage: `killed`, `survived`, `collateral` or `broken`."""

    sabotage: Sabotage
    outcome: str
    told: str
    seconds: float

    @property
    def good(self):
        return self.outcome == "killed"


def judged(batch, look):
    """(outcome, what to tell) of each sabotage of a batch, by a look while all of it is done."""
    strange = sorted(name for name in look.amiss if not any(sabotage.allows(name) for sabotage in batch))
    for sabotage in batch:
        if sabotage.target not in look.red:
            how = "unknown" if sabotage.target in look.dark else "green"
            yield "survived", f"its check is {how}" + (f"; red: {', '.join(look.red)}" if look.red else "")
        elif strange:
            yield "collateral", f"not green as well: {', '.join(strange)}"
        else:
            yield "killed", ""

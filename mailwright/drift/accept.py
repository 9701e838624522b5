"""Taking a machine as it is: the baseline is written anew, and nothing else."""

from __future__ import annotations

from mailwright.converge.shell import script
from mailwright.drift.record import accepting
from mailwright.model.errors import MailwrightError
from mailwright.verify.gather import Run, packed


def accept(run: Run, name: str) -> None:
    """Make what a machine is like now its baseline.

    Raises:
        MailwrightError: it refused, or did not answer.
    """
    result = run(packed(script(accepting())))
    if result.status:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise MailwrightError(f"{name}: {said[-1] if said else 'refused without a word'}")

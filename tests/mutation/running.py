"""Doing and undoing: each look shows one damage, and that the one before it is undone."""

import shlex
import time
from collections import defaultdict
from threading import Event

from mailwright.model.errors import MailwrightError
from tests.mutation.sabotage import Look, Verdict, judged
from tests.mutation.subject import FRESHEN

BATCH = 40
"""Quiet sabotages that are done at once."""
_PAUSE = 0.3
_LOOKS = 3
_HEALING = 120
"""Seconds: for one minute Postfix starts no daemon that ended as soon as it began (service_throttle_time)."""
_PATIENCE = 300
"""Seconds that a damage or its inverse may take."""
_REMEMBERS = {"check-postfix-the mail log has no errors": "systemctl restart postfix"}
"""Checks that see a damage after it is undone, and what makes them forget."""


def batches(sabotages):
    """Put those together that may be done at once, and apart what follows on its like.

    A batch whose checks the next one may touch would not be seen to heal, so neighbours are strangers to each
    other where that can be had.
    """
    made = []
    for sabotage in sabotages:
        fits = (b for b in made if len(b) < BATCH and all(sabotage.beside(other) for other in b))
        batch = next(fits, None) if sabotage.how.together else None
        if batch is None:
            made.append([sabotage])
        else:
            batch.append(sabotage)
    ordered = []
    while made:
        last = ordered[-1] if ordered else []
        ordered.append(made.pop(next((i for i, b in enumerate(made) if not _veil(b, last)), 0)))
    return ordered


def _veil(batch, before):
    """Whether `batch` could hide that a check of the batch before it stayed red."""
    return any(one.allows(other.target) for one in batch for other in before)


def _targets(batch):
    return frozenset(sabotage.target for sabotage in batch)


def _all_killed(batch):
    return lambda look: all(outcome == "killed" for outcome, _ in judged(batch, look))


class Runner:
    """Runs sabotages on one machine; `tell` is given each verdict as it is known.

    `mend` is given the reason when a machine does not heal, and makes it whole. Without it that is the end.
    """

    def __init__(self, subject, tell, mend=None, halt=None):
        self.subject = subject
        self.tell = tell
        self.mend = mend
        self.halt = halt or Event()
        """Set from outside to let it come to an end, with nothing damaged."""

    def run(self, sabotages):
        """Judge all of them; the machine is green before and after, or this raises MailwrightError."""
        self._whole("before anything is done")
        before = []
        for batch in batches(sabotages):
            if self.halt.is_set():
                break
            if _veil(batch, before):
                self.healed(before)
            before = batch if self.batch(batch) else []
        if before:
            self.healed(before)

    def batch(self, batch, first=None):
        """Do a batch and undo it. Returns whether its healing is yet to be seen, by the next look.

        What does not end as it should is done once more, from green: what the machine did by itself
        meanwhile is no verdict on the sabotage. Of a batch, that is each half. `first` is the verdict of
        a first try, which is told.
        """
        began = time.monotonic()
        look, broken = self._damaged(batch)
        seconds = (time.monotonic() - began) / len(batch)
        verdicts = [
            Verdict(sabotage, *(("broken", broken) if broken else found), seconds)
            for sabotage, found in zip(batch, judged(batch, look), strict=True)
        ]
        if all(verdict.good for verdict in verdicts):
            for verdict in verdicts:
                if first:
                    verdict.told = f"only in the second try; in the first {first.outcome}: {first.told}"
                self.tell(verdict)
            if self.subject.mailing.isdisjoint(_targets(batch)):
                return True
            self.healed(batch)  # the next look sends no mail
            return False
        self.healed(batch)
        if first:
            self.tell(verdicts[0])
            return False
        if len(batch) == 1:
            return self.batch(batch, verdicts[0])
        for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            if self.batch(half):
                self.healed(half)
        return False

    def _damaged(self, batch):
        """(the look while a batch is done, why one could not be done or undone)."""
        look, broken = Look({}, {}), ""
        try:
            self._shell((sabotage, sabotage.how.damage) for sabotage in batch)
            patience = max(sabotage.how.patience for sabotage in batch)
            look = self._until(_all_killed(batch), patience, _targets(batch))
        except MailwrightError as error:
            broken = str(error)
        finally:
            broken = self._undone(batch) or broken
        return look, broken

    def _undone(self, batch):
        """Undo a batch; why that failed."""
        try:
            self._shell((sabotage, sabotage.how.undo) for sabotage in reversed(batch))
            self.subject.host.run(FRESHEN, timeout=_PATIENCE).require("fresh units")
        except MailwrightError as error:
            return str(error)
        return ""

    def healed(self, batch):
        """See that a batch is undone, or have the machine mended.

        Raises:
            MailwrightError: it is neither.
        """
        self._whole(f"after {batch[-1].title}", _targets(batch))

    def _whole(self, when, targets=frozenset()):
        try:
            self.green(when, targets)
        except MailwrightError as error:
            if self.mend is None:
                raise
            self.mend(str(error))
            self.green("after it was mended", targets)

    def green(self, when, targets=frozenset(), patience=_HEALING):
        """See that nothing is red, or unknown.

        Raises:
            MailwrightError: something stays so; what follows would prove nothing.
        """

        def forgetful(seen):
            return seen.red.keys() & _REMEMBERS.keys()

        seen = self._until(lambda seen: not seen.amiss or forgetful(seen), patience, targets)
        for name in forgetful(seen):
            self.subject.host.run(_REMEMBERS[name], timeout=_PATIENCE)
        if amiss := seen.amiss and self._until(lambda seen: not seen.amiss, patience, targets).amiss:
            found = "\n".join(f"  {name}: {found}" for name, found in amiss.items())
            raise MailwrightError(f"{self.subject.name} is not green {when}:\n{found}")

    def _until(self, wanted, patience, targets):
        """Look again until what is seen is as `wanted`, or time is over; returns the last look.

        Where a look takes all the time there is, because the lab's machine is busy, there are a few at least.
        """
        end, looks, look = time.monotonic() + patience, 0, None
        while look is None or not (wanted(look) or (looks >= _LOOKS and time.monotonic() > end)):
            if look is not None:
                time.sleep(_PAUSE)
            look, looks = self.subject.look(targets), looks + 1
        return look

    def _shell(self, wanted):
        """Run shell for each of some sabotages, all of it by one command a host.

        Raises:
            MailwrightError: the shell of one failed; that of the others has been run.
        """
        hosts, scripts = {}, defaultdict(list)
        for sabotage, command in wanted:
            said = shlex.quote(f"{sabotage.title}: its shell failed")
            for host in [self.subject.others[name] for name in sabotage.how.at] or [self.subject.host]:
                hosts[host.name] = host
                # Not `(...) || ...`: the shell would go on after an error within.
                script = f"(set -e\n{command}\n)\n[ $? = 0 ] || {{ echo {said} >&2; failed=1; }}"
                scripts[host.name].append(script)
        for name, parts in scripts.items():
            script = "\n".join(["export LC_ALL=C failed=0", *parts, "exit $failed"])
            hosts[name].run(script, timeout=_PATIENCE).require()

"""What a run knows of one host: its plan, and the last look at it.

A look costs a remote command, so there is one while operations are prepared, one when execution
begins, and one more after each operation that changed the host. Nothing else asks a host anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from paramiko import SSHException
from pyinfra.context import ctx_host

from mailwright.converge.remote import arguments_of, run
from mailwright.drift.record import beginning
from mailwright.model.errors import ConvergeError
from mailwright.model.site import MachinePlan
from mailwright.observe import Observation, ObservationError, parse, script
from mailwright.redact import Redactor

if TYPE_CHECKING:
    from pyinfra.api.host import Host


class Session:
    """One host in one run."""

    def __init__(self, host: Host, plan: MachinePlan, redact: Redactor) -> None:
        """Begin with a plan and no knowledge of the host."""
        self.host = host
        self.plan = plan
        self.redact = redact
        self.rehearsing = False
        """While the roles are only asked which shell tests they will want."""
        self.tests: list[str] = []
        self.pending: set[str] = set()
        """Paths that operations prepared so far would change: all a dry run can know of restarts."""
        self.foreseen: dict[str, frozenset[str]] = {}
        """Units looked after while preparing, with what was pending then."""
        self.guarded: set[str] = set()
        """Paths that a guarded operation writes, and `files` therefore does not."""
        self.packages_pending = False
        self.refused = False
        self._begun = False
        self._shown: set[str] = set()
        self._seen: Observation | None = None
        self._seen_executing = False

    @property
    def executing(self) -> bool:
        """Whether commands are run now, or only foreseen."""
        return bool(self.host.state.is_executing)

    def look(self) -> Observation:
        """Return the state of the host, asking it only if what is known may be out of date.

        Raises:
            ObservationError: the host did not answer, or not with an observation.
        """
        if self._seen is None or self._seen_executing != self.executing:
            self._seen = self._ask()
            self._seen_executing = self.executing
        return self._seen

    def forget(self) -> None:
        """Something is about to change the host: the next look asks it again."""
        self._seen = None

    def first_words(self) -> str:
        """What the first command of a run that changes the host begins with: a note of how it was."""
        if self._begun:
            return ""
        self._begun = self.executing
        return beginning()

    def first_time(self, what: str) -> bool:
        """Whether `what` has not been shown to the operator in this run."""
        if what in self._shown:
            return False
        self._shown.add(what)
        return True

    def _ask(self) -> Observation:
        question = script(self.plan.merged, self.tests)
        try:
            ok, output = run(self.host, "look", question, arguments_of(self.host))
        except (OSError, SSHException, EOFError) as e:
            raise ObservationError(f"the machine did not answer: {e or type(e).__name__}") from e
        if not ok:
            raise ObservationError(
                f"the machine could not be asked: {output.stderr.strip() or 'no reason given'}"
            )
        return parse(output.stdout)


_sessions: WeakKeyDictionary[Host, Session] = WeakKeyDictionary()


def begin(host: Host, plan: MachinePlan, redact: Redactor) -> Session:
    """Begin a host's session."""
    _sessions[host] = Session(host, plan, redact)
    return _sessions[host]


def current() -> Session:
    """Return the session of the host that pyinfra is working on.

    Raises:
        ConvergeError: an operation was called outside of `mailwright.converge.deploy.deploy`.
    """
    try:
        return _sessions[ctx_host.get()]
    except KeyError:
        raise ConvergeError("operations of a role run inside deploy() only") from None

"""Operations that take back what cuts the operator off (guard.py has the host's side)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.operation import operation
from pyinfra.api.output import format_text

from mailwright.converge import files as _files
from mailwright.converge import guard as _guard
from mailwright.converge.guard import Guard
from mailwright.converge.remote import Script, run
from mailwright.converge.session import Session, current
from mailwright.converge.shell import script
from mailwright.converge.task import Commands, Task, converge
from mailwright.model.needs import Needs
from mailwright.model.role import Context
from mailwright.observe import Observation
from mailwright.redact import Redactor

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State
    from pyinfra.connectors.base import BaseConnector

_TO_CHANGE = 300
"""Seconds for the change itself: validation, perhaps another run's end, perhaps a cut and its healing."""
_TO_CONFIRM = 15
"""Seconds in which a new connection must come about; less than the host's patience by one timeout."""
_TO_RETURN = 60
"""Seconds after that in which the host must be as before: its patience, and a connection attempt."""
_BETWEEN_TRIES = 0.3
_CUT = (ConnectError, OSError, EOFError, SSHException)


def guarded(
    ctx: Context[Any],
    what: str,
    *,
    paths: tuple[str, ...],
    validate: str,
    activate: str,
    revert: str,
    save: str = ":",
    holds: str = ":",
) -> None:
    """Write the role's files at `paths` and let them take effect, unless that cuts the operator off.

    Only a new connection keeps the change; without one the host goes back to the old files and state by
    itself, and the operation fails. `validate` is as for `files`, which leaves `paths` alone if called
    afterwards. `activate`, `revert` and `save` are those of a `Guard`. `holds` is a shell test of the
    running state, for changes that leave no trace in files; it runs with every look at the host.
    """
    own = current()
    guard = Guard(ctx.role, paths, activate, revert, save)
    own.guarded |= set(paths)
    if own.rehearsing:
        own.tests += (_guard.settled(guard), holds)
        return
    _apply_guarded(
        role=ctx.role,
        guard=dataclasses.asdict(guard),
        validate=validate,
        holds=holds,
        name=f"{ctx.role}: {what}",
    )


@operation()
def _apply_guarded(role: str, guard: dict[str, Any], validate: str, holds: str) -> Commands:
    guarding = Guard(**guard)

    def decide(own: Session, seen: Observation) -> Task | None:
        settled = seen.passed(_guard.settled(guarding))
        if not settled:
            # A killed run left a change unconfirmed. It is taken back before this one is made, so what
            # lies at its paths now says nothing about what will lie there then.
            seen = seen.without(guarding.paths)
        needs = own.plan.by_role[role]
        changes = _files.compare(Needs(files=tuple(f for f in needs.files if f.path in guarding.paths)), seen)
        own.pending |= changes.paths
        if settled and not changes and seen.passed(holds):
            return None
        text = _guard.change(guarding, _files.apply(changes, validate))
        lines = changes.lines or ("what runs is not what the files say",)
        return Task(text, lines, changes.obstacles, changes)

    yield from converge(f"{role}: guarded files", decide, partial(Guarded, guarding))


class Guarded(Script):
    """A change that a new connection has to confirm."""

    def __init__(self, guard: Guard, title: str, text: str, redact: Redactor) -> None:
        """Take the guard that `text` sets up."""
        super().__init__(title, text, redact)
        self._guard = guard

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        """Change, then confirm over a new connection; say what became of the change if that fails."""
        changing: Any = {**connector_arguments, "_timeout": _TO_CHANGE}
        try:
            if not super().execute(state, host, changing):
                return False
        except _CUT:  # not even the old connection lives: a new one decides all the same
            pass
        arguments: Any = {**connector_arguments, "_timeout": _TO_CONFIRM}
        confirmation = script(_guard.confirm(self._guard))
        why = _within(_TO_CONFIRM, lambda: self._ask(state, host, arguments, confirmation))
        if why is None:
            return True
        _say(host, self._redact(f"the change was not kept: {why}"))
        waiting = script(_guard.wait(self._guard))
        still = _within(_TO_RETURN, lambda: self._ask(state, host, arguments, waiting))
        if still is None:
            _say(host, "rolled back: the old files and the old state are in force, and the machine answers")
        else:
            _say(host, f"the machine rolls it back {_guard.SECONDS} seconds after the change; now: {still}")
        return False

    def _ask(self, state: State, host: Host, arguments: ConnectorArguments, text: str) -> None:
        """Run `text` over a connection of its own.

        Raises:
            ConnectError: there is none to be had.
            _Refused: the host says no; that is final.
        """
        connector: BaseConnector = type(host.connector)(state, host)
        try:
            connector.connect()
            ok, output = run(host, self.title, text, arguments, connector)
        finally:
            client = getattr(connector, "client", None)
            if client is not None:
                client.close()
        if not ok:
            raise _Refused(output.stderr.strip())


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    """The host was reached, and what it was asked did not succeed."""


def _within(seconds: float, attempt: Callable[[], None]) -> str | None:
    """Try until it works, the host refuses, or time is up; return why it did not work."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            attempt()
        except _Refused as refused:
            return str(refused)
        except _CUT as error:
            # An sshd that reloads refuses connections for a moment.
            if time.monotonic() > deadline:
                return f"no new connection could be made ({error})"
            time.sleep(_BETWEEN_TRIES)
        else:
            return None


def _say(host: Host, sentence: str) -> None:
    logger.error(f"{host.print_prefix}{format_text(sentence, 'red')}")

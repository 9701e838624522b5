"""Running shell text on a host through pyinfra, with nothing secret in any argument or line of output."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.output import format_text

from mailwright.converge.shell import words
from mailwright.redact import Redactor

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State
    from pyinfra.connectors.base import BaseConnector
    from pyinfra.connectors.util import CommandOutput


def run(
    host: Host, title: str, text: str, arguments: ConnectorArguments, connector: BaseConnector | None = None
) -> tuple[bool, CommandOutput]:
    """Run shell `text` on the host, on the standard input of one remote command.

    `connector` is another connection to the same host, for a change that may have cut this one.

    `title` shows in the host's process list and in `-vv`.
    """
    comment = re.sub(r"[^\w:,.@ -]", "_", title)
    arguments = cast("ConnectorArguments", {**arguments, "_stdin": text})
    return (connector or host.connector).run_shell_command(
        StringCommand(f'eval "$(cat)" # mailwright {comment}'),
        print_output=False,
        print_input=host.state.print_input,
        **arguments,
    )


def arguments_of(host: Host) -> ConnectorArguments:
    """How the operation that is being asked would reach the host (sudo, environment)."""
    given: Mapping[str, object] = host.current_op_global_arguments or {}
    return cast("ConnectorArguments", {k: v for k, v in given.items() if k in CONNECTOR_ARGUMENT_KEYS})


class Script(PyinfraCommand):
    """Shell text as a pyinfra command. Its `repr` shows the title only."""

    def __init__(self, title: str, text: str, redact: Redactor) -> None:
        """Take the text for the host and what must not be seen of its output."""
        super().__init__()
        self.title = title
        self._text = text
        self._redact = redact

    def __repr__(self) -> str:
        """What pyinfra shows of a command."""
        return f"Script({self.title!r})"

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        """Run it; show its output if it fails, or with `-vvv`."""
        try:
            ok, output = run(host, self.title, self._text, connector_arguments)
        except EOFError as e:  # pyinfra knows the other ways in which a connection ends
            raise ConnectionError("the connection was closed") from e
        if not ok or state.print_output:
            for line in output.output_lines:
                shown = self._redact(line)
                logger.info(f"{host.print_prefix}{shown if ok else format_text(shown, 'red')}")
        return bool(ok)


class Refusal(PyinfraCommand):
    """Fails the operation with sentences for the operator; nothing runs on the host."""

    def __init__(self, reasons: Sequence[str]) -> None:
        """Take the sentences."""
        super().__init__()
        self.reasons = tuple(reasons)

    def __repr__(self) -> str:
        """What pyinfra shows of a command."""
        return f"Refusal({self.reasons!r})"

    def execute(self, _state: State, host: Host, _arguments: ConnectorArguments) -> bool:
        """Say why, and fail."""
        say_no(host, self.reasons)
        return False


def say_no(host: Host, reasons: Iterable[str]) -> None:
    """Show the operator why something is not done."""
    for reason in reasons:
        logger.error(f"{host.print_prefix}{format_text(reason, 'red')}")


def fetch(host: Host, paths: Sequence[str], arguments: ConnectorArguments) -> dict[str, bytes]:
    """Read files of the host in one command; one that cannot be read is left out."""
    lines = (f"printf 'file %s\\n' \"$(base64 -w 0 {words(path)} 2>/dev/null)\"" for path in paths)
    try:
        _, output = run(host, "diff", "{\n" + "\n".join(lines) + "\n}\n", arguments)
    except (OSError, SSHException, EOFError):
        return {}
    answers = [line for line in output.stdout_lines if line.startswith("file ")]
    found: dict[str, bytes] = {}
    for path, answer in zip(paths, answers, strict=False):
        try:
            found[path] = base64.b64decode(answer.removeprefix("file "), validate=True)
        except binascii.Error:
            continue
    return found

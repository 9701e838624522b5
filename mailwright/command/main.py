"""`mailwright`: one module a subcommand, and the one place where an error becomes an exit status."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mailwright.command.console import commands, note, problem, say
from mailwright.model.errors import MailwrightError

COMMANDS = {
    "plan": "mailwright.command.plan",
    "apply": "mailwright.command.apply",
    "verify": "mailwright.command.verify",
    "drift": "mailwright.command.drift",
    "upgrade": "mailwright.command.upgrade",
    "drain": "mailwright.command.drain",
    "undrain": "mailwright.command.undrain",
    "add": "mailwright.command.add",
    "remove": "mailwright.command.remove",
    "rebuild": "mailwright.command.rebuild",
    "dns": "mailwright.command.dns",
    "dkim": "mailwright.command.dkim",
    "certificates": "mailwright.command.certificates",
    "backup": "mailwright.command.backup",
    "secrets": "mailwright.command.secrets",
    "hostkeys": "mailwright.command.hostkeys",
    "schema": "mailwright.command.schema",
    "ci": "mailwright.command.ci",
    "lab": "mailwright.command.lab",
}
"""Each module has a `typer.Typer` named `app`. It is imported when the subcommand is called, because
some of them bring much with them."""

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override] # noqa: ANN401
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command


def _version(asked: bool) -> None:
    if asked:
        try:
            say(f"mailwright {version('mailwright')}")
        except PackageNotFoundError:
            say("mailwright (not installed)")
        raise typer.Exit


app = commands(cls=_Commands, no_args_is_help=True)


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn bare Debian machines into a mail-sending fleet, and prove it.

    `mailwright COMMAND --help` explains each. Begin with `secrets init`, then `plan`, `apply` and `verify`.

    Exit status: 0 done or nothing to do, 1 an error or a fault, 2 a plan has changes, 3 not all is known.
    """


def _path(error: typer.TyperException) -> str:
    """The subcommand that was called wrongly, whose help is the one to read."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "mailwright"


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit status."""
    try:
        status = app(list(arguments), prog_name="mailwright", standalone_mode=False)
    except MailwrightError as error:
        problem(str(error))
        return 1
    except typer.TyperException as error:
        # Wrong usage. Not status 2, which says that there are changes.
        if message := error.format_message():  # none where help is shown instead
            problem(f"{message} ({_path(error)} --help)")
        return 1
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    if status == INTERRUPTED:
        note("interrupted")
    return status if isinstance(status, int) else 0

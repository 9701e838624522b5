"""`mailwright secrets rotate`: new values for what can be drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mailwright.command.console import note, say
from mailwright.command.guide import Yes
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.errors import MailwrightError, SecretError
from mailwright.model.load import fleet_file
from mailwright.model.secrets_file import Vault
from mailwright.model.secrets_store import Required, locate, required, variable
from mailwright.model.site import Site
from mailwright.rotate import affected, by_hand, elsewhere, rotation, turns


def register(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command()(rotate)


def rotate(
    inventory: Inventory,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="As `secrets list` shows them.")
    ] = None,
    *,
    all_of: Annotated[
        list[str] | None,
        typer.Option(
            "--all-of",
            metavar="KIND",
            help="All whose names begin so: submission, backup, backup-keeper, acme; repeatable.",
        ),
    ] = None,
    do_apply: Annotated[
        bool, typer.Option("--apply", help="Deploy the machines concerned, in the right order.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Draw new values, and say which machines need an `apply` (or do it) and who must be told.

    What cannot be drawn here is named with the command that exchanges it. The new values are in the file
    before any machine has them: after a killed run, `mailwright apply` goes on.

        mailwright secrets rotate inventory/prod.yaml submission/shop

        mailwright secrets rotate inventory/prod.yaml --all-of backup --apply

    Exit status: 0 done, 1 nothing was drawn, or a machine failed.
    """
    site = open_site(inventory)
    vault = locate(site.fleet, fleet_file(inventory))
    if not names and not all_of:
        raise SecretError("which? Give names as `mailwright secrets list` shows them, or --all-of KIND")
    wanted = required(site.fleet, site.roles, site.keyring)
    todo = rotation(wanted, names or (), all_of or (), str(inventory), others=elsewhere(site.fleet))
    for name, why in todo.refused.items():
        note(f"{name}: {why}", style="yellow")
    if not todo.stages:
        raise SecretError("nothing was drawn")
    _require_in_file(vault, [one for stage in todo.stages for one in stage])
    for one in (one for stage in todo.stages for one in stage):
        say(f"draw anew: {one.name} ({one.purpose})")
    if not yes:
        typer.confirm("Do this?", abort=True, err=True)
    for number, stage in enumerate(todo.stages):
        if number and not do_apply:
            waiting = " ".join(one.name for one in stage)
            note(f"{waiting}: not yet; once that is done, `mailwright secrets rotate {inventory} {waiting}`")
            break
        _take(inventory, site, vault, stage, do_apply=do_apply)


def _require_in_file(vault: Vault, chosen: Sequence[Required]) -> None:
    """Refuse what the environment gives: a value in the file would change nothing."""
    for one in chosen:
        if vault.environ.get(variable(one.name)):
            raise SecretError(
                f"{one.name}: comes from the environment ({variable(one.name)}); exchange it there"
            )


def _take(
    inventory: Inventory, site: Site, vault: Vault, stage: Sequence[Required], *, do_apply: bool
) -> None:
    drawn = [one.name for one in stage]
    with vault.changing() as content:
        before = dict(content.secrets)
        for one in stage:
            if one.make is not None:
                content.secrets[one.name] = one.make()
    for name in drawn:
        say(f"new    {name}")
    machines = affected(site, before, content.secrets)
    for group in turns(site, machines, drawn):
        limits = " ".join(f"--limit {name}" for name in group)
        if do_apply:
            _deploy(inventory, group)
        else:
            say(f"APPLY  mailwright apply {inventory} {limits}", style="yellow")
    for line in by_hand(drawn, str(inventory)):
        say(f"TELL   {line}", style="yellow")


def _deploy(inventory: Inventory, machines: Sequence[str]) -> None:
    from mailwright.command.apply import apply  # noqa: PLC0415 - much comes with it, and `secrets` is asked often

    if apply(inventory, limit=list(machines), dns=False, yes=True):
        raise MailwrightError(
            f"the secrets file has the new values, but {', '.join(machines)} may lack them: mend that, "
            f"and `mailwright apply {inventory}` goes on"
        )

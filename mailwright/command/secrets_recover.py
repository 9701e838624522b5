"""`mailwright secrets recover | check`: the controller is lost, and whether it may be."""

from __future__ import annotations

import sys
from getpass import getpass

import typer

from mailwright.command.console import note, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.command.secrets_recipients import who
from mailwright.model.document import display
from mailwright.model.errors import SecretError
from mailwright.model.identities import IDENTITY, identities, make_identity, parse_identities
from mailwright.model.load import fleet_file
from mailwright.model.secrets_file import Vault, add_recipients
from mailwright.model.secrets_store import locate
from mailwright.recovery import Finding, named_files, rehearse, restore_keys


def register(app: typer.Typer) -> None:
    """Add the subcommands."""
    app.command()(recover)
    app.command()(check)


def recover(inventory: Inventory) -> None:
    """Begin anew on a new machine: from a clone of the repository and a recovery key.

    The key is asked for, or read from standard input, or taken from the environment as every command does.
    This machine gets an identity of its own, which may open the secrets from now on, and the SSH keys that
    machines are reached with. The recovery key is not kept here. Run it again at any time.

        mailwright secrets recover inventory/prod.yaml

    Exit status: 0 done, 1 an error, or something that only you can bring is missing.
    """
    site, file = open_site(inventory), fleet_file(inventory)
    vault = _opening(locate(site.fleet, file))
    content = vault.read()
    found = [_own_identity(vault), *restore_keys(site.fleet, content)]
    for where, path in named_files(site.fleet):
        if not path.exists():
            found.append(
                Finding(f"{where}: {display(path)}", "there is no such file, and the fleet needs it")
            )
    _show(found)
    note(f"commit {display(vault.file)}, then `mailwright plan {inventory}`")
    if any(one.missing for one in found):
        raise typer.Exit(1)


def _opening(vault: Vault) -> Vault:
    """The same with something that opens it: what is at hand, or a recovery key that is typed."""
    if not vault.file.exists():
        said = "the fleet's secrets file is expected there and is missing: bring it from a clone or a backup"
        raise SecretError(f"{display(vault.file)}: {said}")
    known = identities(vault.identity, vault.environ)
    try:
        if known:
            vault.read()
            return vault
    except SecretError:
        note("what is at hand here does not open the secrets")
    asked = getpass("Recovery key (AGE-SECRET-KEY-1...): ") if sys.stdin.isatty() else sys.stdin.read()
    key = "".join(asked.split()).upper()  # as it was typed from paper
    parse_identities(key, "what was typed")
    return Vault(vault.file, vault.identity, {**vault.environ, IDENTITY: key})


def _own_identity(vault: Vault) -> Finding:
    made = not vault.identity.exists()
    if made:
        make_identity(vault.identity)
    ours = [one.recipient for one in identities(vault.identity, {})]
    with vault.changing() as content:
        if any(one in content.recipients for one in ours):
            return Finding(f"{display(vault.identity)} opens the secrets")
        add_recipients(content, ours[:1], who())
    return Finding(f"{display(vault.identity)} {'made; it' if made else ''} opens the secrets from now on")


def check(inventory: Inventory) -> None:
    """Say whether this machine may be lost: whether a clone of the repository and a recovery key are enough.

    Everything that the fleet needs from this machine is looked at: files that the fleet file names, whether
    Git has them as they are here, pinned host keys, secrets, and the SSH keys that log in.

        mailwright secrets check inventory/prod.yaml

    Exit status: 0 it may be lost, 1 something is here only.
    """
    site, file = open_site(inventory), fleet_file(inventory)
    found = list(rehearse(site, file, locate(site.fleet, file)))
    _show(found)
    if any(one.missing for one in found):
        raise typer.Exit(1)
    say("this machine may be lost")


def _show(found: list[Finding]) -> None:
    for one in found:
        said = f"MISSING  {one.what}: {one.missing}" if one.missing else f"ok       {one.what}"
        say(said, "yellow" if one.missing else None)

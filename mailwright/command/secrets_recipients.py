"""`mailwright secrets recipients | rekey | recovery-key`: who can open the secrets file."""

from __future__ import annotations

import getpass
import io
import platform
import sys
from datetime import UTC, datetime
from typing import Annotated

import segno
import typer

from mailwright.command.console import columns, note, say
from mailwright.command.guide import Yes
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.document import display
from mailwright.model.errors import SecretError
from mailwright.model.identities import draw, identities
from mailwright.model.load import fleet_file
from mailwright.model.secrets_file import Content, Vault, add_recipients
from mailwright.model.secrets_store import locate
from mailwright.recovery import RECOVERY, recovery_keys

_TAIL = 6
"""Characters that prove that a key was written down."""


def register(app: typer.Typer) -> None:
    """Add the subcommands."""
    for command in (recipients, rekey, recovery_key):
        app.command(command.__name__.replace("_", "-"))(command)


def who() -> str:
    """This user on this machine, for the label of an identity."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # an account without a name, as in a container
        return platform.node()


def recipients(inventory: Inventory) -> None:
    """Say who can open the file.

        mailwright secrets recipients inventory/prod.yaml

    Exit status: 0 listed, 1 an error.
    """
    vault = _vault(inventory)
    content = vault.read()
    columns(_rows(content, vault), styles=("dim", "bold", "dim"))
    if not recovery_keys(content):
        note(f"there is no recovery key: `mailwright secrets recovery-key {inventory}`")


def _rows(content: Content, vault: Vault) -> list[tuple[str, str, str]]:
    ours = {one.recipient for one in identities(vault.identity, vault.environ)}
    return [
        ("you" if one in ours else "", content.labels.get(one, "nobody said whose"), one)
        for one in content.recipients
    ]


def rekey(
    inventory: Inventory,
    *,
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Who may open it from now on: age1... or an SSH public key."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Who may not any more: a key, or its label.")
    ] = None,
    label: Annotated[str, typer.Option(help="Whose the added keys are.")] = "",
) -> None:
    """Encrypt the file anew, to other recipients. Whoever runs this must be able to open it afterwards.

    It says what else there is to do when somebody is removed: they know what was in the file, and Git has
    the versions that they could open.

        mailwright secrets rekey inventory/prod.yaml --add age1... --label ann --remove bob

    Exit status: 0 done, 1 an error; the file is then as it was.
    """
    vault = _vault(inventory)
    vault.read()  # else a missing file would be made
    with vault.changing(anew=True) as content:
        before = content.copy()
        add_recipients(content, add or (), label)
        for one in remove or ():
            for key in _meant(content, one):
                content.recipients.remove(key)
    for one in content.recipients:
        if one not in before.recipients:
            say(f"added   {_named(content, one)}")
    gone = [one for one in before.recipients if one not in content.recipients]
    for one in gone:
        say(f"removed {_named(before, one)}")
    say(f"encrypted anew: {len(content.recipients)} can open it; commit it")
    if recovery_keys(before) and not recovery_keys(content):
        note(f"no recovery key is left: `mailwright secrets recovery-key {inventory}`", style="yellow")
    if gone:
        _what_they_know(content, str(inventory))


def _meant(content: Content, text: str) -> list[str]:
    """The recipients that an operator means by a key or a label.

    Raises:
        SecretError: nobody is meant, or several are.
    """
    key = " ".join(text.split()[:2])
    if key in content.recipients:
        return [key]
    found = [one for one in content.recipients if content.labels.get(one) == text]
    if len(found) != 1:
        known = ", ".join(_named(content, one) for one in content.recipients)
        raise SecretError(
            f"{'several' if found else 'no'} recipients are meant by {text[:80]!r}; there are {known}"
        )
    return found


def _named(content: Content, one: str) -> str:
    return f"{one} ({content.labels[one]})" if one in content.labels else one


def _what_they_know(content: Content, inventory: str) -> None:
    kinds = sorted({name.partition("/")[0] for name in content.secrets})
    note(f"whoever was removed has seen {', '.join(kinds)}, and Git keeps the versions that they can open:")
    note(f"  mailwright secrets rotate {inventory} --all-of KIND   draws new values, and names the command")
    note("  for what it cannot draw; take their SSH keys out of `admins`, and run `mailwright apply`")


def recovery_key(inventory: Inventory, yes: Yes = False) -> None:
    """Make a key that opens the secrets when every laptop is gone, and show it once: print it, keep it safe.

    It is shown as text and as a QR code and stored nowhere; its public half becomes a recipient. Several may
    exist, for several safes. With this key and a clone of the repository everything can be run from a new
    machine: `mailwright secrets recover`. To take one back: `secrets rekey --remove`.

        mailwright secrets recovery-key inventory/prod.yaml

    Exit status: 0 it opens the file from now on, 1 nothing has changed.
    """
    vault = _vault(inventory)
    taken = set(vault.read().labels.values())  # before anybody writes anything down
    made = draw()
    label = _free(f"{RECOVERY} of {datetime.now(UTC):%Y-%m-%d}", taken)
    say(f"{label} for {display(vault.file)}")
    say(made.recipient, "dim")
    say()
    say(_as_qr(made.text), "white on black")
    say(made.text, "bold")
    say()
    if not yes and sys.stdin.isatty():
        last = typer.prompt(f"Write it down or print it. Its last {_TAIL} characters", err=True)
        if last.strip().upper() != made.text[-_TAIL:]:
            raise SecretError("that is not how the key ends: nothing has changed, and that key opens nothing")
    with vault.changing() as content:
        add_recipients(content, [made.recipient], label)
    note(f"it opens {display(vault.file)} from now on; commit that file")


def _free(label: str, taken: set[str]) -> str:
    names = [label, *(f"{label}, {number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _as_qr(text: str) -> str:
    """A QR code in half blocks, light on dark. On paper it is inverted, which readers take, too.

    Upper-case letters, digits and `-` are what its alphanumeric mode holds in 5.5 bits each (ISO/IEC 18004:
    7.3.4; 6.2 has reversed reflectance).
    """
    out = io.StringIO()
    segno.make_qr(text, error="m").terminal(out, compact=True)
    return out.getvalue()


def _vault(inventory: Inventory) -> Vault:
    return locate(open_site(inventory).fleet, fleet_file(inventory))

"""`mailwright secrets`: make, set, edit and list what must not stand in the fleet file."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from mailwright.command import secrets_recipients, secrets_recover, secrets_rotate
from mailwright.command.console import columns, commands, note, problem, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.command.secrets_recipients import who
from mailwright.model import yamlfile
from mailwright.model.document import display
from mailwright.model.errors import FleetError, SecretError
from mailwright.model.identities import IDENTITY, IDENTITY_FILE
from mailwright.model.load import fleet_file
from mailwright.model.secrets_file import Content, Vault, normalised
from mailwright.model.secrets_store import Required, check_name, initialise, locate, required, variable
from mailwright.model.site import Site

app = commands("Make, set, edit, list and exchange the fleet's secrets, and say who can open them.")
secrets_recipients.register(app)
secrets_rotate.register(app)
secrets_recover.register(app)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As `secrets list` shows it, for instance tsig/primary.")
]

_ADVICE = """\
# The secrets of a fleet. Save and leave the editor, and they are encrypted again; no copy is kept.
# recipients: who can open the file (age1... or SSH public keys). secrets: `name: value`, long ones after a |.
# Comments are not kept.
"""


@app.command()
def init(
    inventory: Inventory,
    recipients: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient",
            metavar="KEY",
            help="Somebody else who may open the file: age1... or an SSH public key; repeatable.",
        ),
    ] = None,
) -> None:
    """Make what is missing (identity, file, keys, passwords); what is there stays.

    What only you can know is listed with the command that sets it. Run it again after adding a domain or a
    sender.

        mailwright secrets init inventory/prod.yaml

    Exit status: 0 done, 1 an error.
    """
    site, vault = _open(inventory)
    done = initialise(
        site.fleet,
        vault.file,
        vault.identity,
        recipients=recipients or (),
        roles=site.roles,
        environ=vault.environ,
        own_identity=not any(vault.environ.get(name) for name in (IDENTITY, IDENTITY_FILE)),
        label=who(),
    )
    if done.identity_made:
        say(f"made   {vault.identity}: your identity; keep a copy where you keep such things")
        _warn_of_repository(vault.identity)
    for recipient in done.recipients:
        say(f"opens  {recipient}")
    for name in done.made:
        say(f"made   {name}")
    for one in done.by_hand:
        say(
            f"TO SET {one.name} ({one.purpose}): mailwright secrets set {inventory} {one.name}",
            style="yellow",
        )
    if not done.made and not done.by_hand and not done.recipients:
        say(f"{display(vault.file)} holds all {len(required(site.fleet, site.roles))} secrets")


@app.command("set")
def set_(inventory: Inventory, name: Name) -> None:
    """Set one secret: the value is asked for, or read from standard input if that is no terminal.

        mailwright secrets set inventory/prod.yaml certificate/smtp/privkey < smtp.key

    Exit status: 0 done, 1 an error.
    """
    _, vault = _open(inventory)
    check_name(name)
    vault.read()  # before anybody types
    value = normalised(getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read())
    if not value:
        raise SecretError(f"the secret {name} is unchanged: there was no value")
    with vault.changing() as content:
        existed = name in content.secrets
        content.secrets[name] = value
    say(f"{'replaced' if existed else 'set'} {name}")


@app.command()
def edit(inventory: Inventory) -> None:
    """Open the whole file in `$EDITOR`: also to remove secrets and recipients, or to look.

    Exit status: 0 done, 1 an error; the file is then as it was.
    """
    _, vault = _open(inventory)
    vault.read()  # else a missing file would be made
    with vault.changing() as content, _private_file(_ADVICE + _as_yaml(content)) as file:
        before = content.copy()
        changed = _edited(file)
        content.recipients[:], content.secrets = changed.recipients, changed.secrets
    for name in sorted(before.secrets.keys() | content.secrets.keys()):
        if before.secrets.get(name) != content.secrets.get(name):
            say(f"{_verb(name, before, content)} {name}")
    for one in sorted(set(before.recipients) ^ set(content.recipients)):
        say(f"{'removed' if one in before.recipients else 'added'} recipient {one}")
    if before == content:
        say("nothing changed")


def _verb(name: str, before: Content, after: Content) -> str:
    if name not in before.secrets:
        return "set"
    return "replaced" if name in after.secrets else "removed"


@app.command("list")
def list_(inventory: Inventory) -> None:
    """Name the secrets that are there, and those that this fleet lacks. Never shows a value.

    Exit status: 0 listed, whether or not some are missing; 1 an error.
    """
    site, vault = _open(inventory)
    wanted = {one.name: one for one in required(site.fleet, site.roles, site.keyring)}
    there = vault.read().secrets
    names = sorted(wanted.keys() | there.keys())
    columns([_row(name, wanted, there, vault) for name in names], styles=("bold", "", "dim"))


def _row(name: str, wanted: dict[str, Required], there: dict[str, str], vault: Vault) -> tuple[str, str, str]:
    purpose = wanted[name].purpose if name in wanted else "not named by the fleet file"
    if vault.environ.get(variable(name)):
        return "environment", name, purpose
    return "there" if name in there else "MISSING", name, purpose


def _open(inventory: Path) -> tuple[Site, Vault]:
    site = open_site(inventory)
    return site, locate(site.fleet, fleet_file(inventory))


def _warn_of_repository(identity: Path) -> None:
    if any((folder / ".git").exists() for folder in identity.parents):
        problem(f"{identity} lies in a Git work tree: never commit it")


def _as_yaml(content: Content) -> str:
    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    values = {k: LiteralScalarString(v) if "\n" in v else v for k, v in sorted(content.secrets.items())}
    yaml.dump({"recipients": content.recipients, "secrets": values}, stream)
    return stream.getvalue()


def _edited(file: Path) -> Content:
    """What the operator makes of it; asked again rather than thrown away when it cannot be read."""
    while True:
        _run_editor(file)
        try:
            return _parsed(file.read_bytes())
        except SecretError as error:
            if not sys.stdin.isatty():
                raise
            problem(str(error))
            if not typer.confirm("Edit again?", default=True):
                raise SecretError("the secrets are unchanged") from None


def _parsed(text: bytes) -> Content:
    try:
        data = yamlfile.parse(text, "secrets").data
    except FleetError as error:
        # Only the line: the words around it might quote a value.
        raise SecretError(f"unchanged: line {error.mistakes[0].split(':')[1]} is not valid YAML") from None
    content = Content.checked(data, "unchanged")
    for name in content.secrets:
        check_name(name)
    return content


def _run_editor(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    environ = {k: v for k, v in os.environ.items() if k not in (IDENTITY, IDENTITY_FILE)}
    try:
        status = subprocess.run([*shlex.split(editor), str(file)], env=environ, check=False).returncode
    except (OSError, ValueError) as error:
        raise SecretError(f"the editor {editor!r} does not run ({error}); set EDITOR") from None
    if status != 0:
        raise SecretError(f"unchanged: the editor ended with status {status}")


@contextmanager
def _private_file(text: str) -> Iterator[Path]:
    """A file in a folder that only we can enter, in memory where there is such a file system.

    The folder goes with everything an editor leaves beside the file, also when we are told to stop.
    """
    places = [place for place in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm") if place]  # noqa: S108
    place = next((p for p in places if os.access(p, os.W_OK | os.X_OK)), None)
    if place is None:
        note("no file system in memory: the text lies on disk while you edit")
    folder = Path(tempfile.mkdtemp(prefix="mailwright-", dir=place))  # mode 0700
    old = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        file = folder / "secrets.yaml"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
        yield file
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for number, handler in old.items():
            signal.signal(number, handler)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt

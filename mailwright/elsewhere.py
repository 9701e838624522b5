"""A fleet file in another folder: the inventory's with an edit, for machines as they are not yet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mailwright.model.errors import MailwrightError
from mailwright.model.keyring import keyring_file
from mailwright.model.load import FILES_OF_ROLES, FILES_OF_SSH, fleet_file
from mailwright.model.secrets_file import beside_file
from mailwright.model.yamlfile import read

Edit = Callable[[dict[str, Any]], None]
"""Changes the data of a fleet file in place: mappings, lists and values as the file has them. Nothing in it
is shared, so that what is said of one machine is said of no other."""

_SHIM = '''"""The fleet of {name}.yaml, for pyinfra."""

import roles
from mailwright.converge.inventory import groups

globals().update(groups(__file__, roles.ROLES))
'''


def derived(inventory: Path, folder: Path, edit: Edit) -> Path:
    """Write the inventory's fleet with an edit into `folder`, under its own name; returns the new fleet file.

    Beside it are its shim for pyinfra and the keyring. Secrets, keys and authorities stay where they
    are: before the edit their paths are made absolute, and so may be made others. Nothing is validated
    here: whoever loads the file hears of its mistakes.

    Raises:
        FleetError: the inventory's fleet file cannot be read.
        MailwrightError: the folder cannot be written to, or is the inventory's own.
    """
    source = fleet_file(inventory)
    data: dict[str, Any] = json.loads(json.dumps(read(source).data))
    _anchor(data, source)
    edit(data)
    target = folder / source.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.samefile(source.absolute().parent):
            raise MailwrightError(f"{folder}: has the fleet file itself; choose another folder")
        # JSON is YAML 1.2 (https://yaml.org/spec/1.2.2/#12-yaml-history), and needs no choice of quotes
        target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        keyring_file(target).unlink(missing_ok=True)
        if keyring_file(source).exists():
            shutil.copyfile(keyring_file(source), keyring_file(target))
        write_shim(target)
    except OSError as error:
        raise MailwrightError(f"{folder}: the fleet cannot be written there: {error.strerror}") from None
    return target


def write_shim(file: Path) -> None:
    """Write pyinfra's inventory beside a fleet file: `X.py` for `X.yaml`.

    Raises:
        OSError: it cannot be written.
    """
    file.with_suffix(".py").write_text(_SHIM.format(name=file.stem), encoding="utf-8")


def _anchor(data: dict[str, Any], source: Path) -> None:
    """Make every path of the operator's side absolute; the defaults that lie beside the file are named."""
    folder = source.absolute().parent
    secrets = _section(data, "secrets", make=True)
    secrets["file"] = secrets.get("file") or source.absolute().with_suffix(".secrets.age").name
    for section, key in ((secrets, "file"), (secrets, "identity"), *_paths(data, source)):
        if isinstance(path := section.get(key), str):
            section[key] = beside_file(path, folder)


def _paths(data: dict[str, Any], source: Path) -> Iterator[tuple[dict[str, Any], str]]:
    yield _section(data, "acme"), "ca"
    yield _section(_section(data, "backup"), "store"), "ca"
    pinned = source.with_suffix(".known_hosts")
    defaults = _section(data, "defaults", make=True)
    if pinned.exists():
        _section(defaults, "ssh", make=True).setdefault("known_hosts", pinned.name)
    machines = data.get("machines")
    for whose in (defaults, *(machines if isinstance(machines, list) else ())):
        yield from ((_section(whose, "ssh"), key) for key in FILES_OF_SSH)
        yield from ((_section(_section(whose, "roles"), role), key) for role, key in FILES_OF_ROLES)


def _section(data: object, name: str, *, make: bool = False) -> dict[str, Any]:
    """A mapping of the file; an empty one where it is not there, with `make` in its place."""
    found = data.get(name) if isinstance(data, dict) else None
    if isinstance(found, dict):
        return found
    section: dict[str, Any] = {}
    if make and isinstance(data, dict) and found is None:
        data[name] = section
    return section

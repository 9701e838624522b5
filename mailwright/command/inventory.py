"""From the INVENTORY argument that most subcommands take to the fleet with its roles."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mailwright.model.errors import MailwrightError
from mailwright.model.load import load_site
from mailwright.model.role import Role
from mailwright.model.site import Site

Inventory = Annotated[
    Path,
    typer.Argument(
        metavar="INVENTORY", help="The fleet file, or pyinfra's shim beside it: inventory/prod.yaml or .py"
    ),
]


def open_site(inventory: Path) -> Site:
    """The fleet of an inventory with the roles of this repository.

    Raises:
        MailwrightError: the fleet file is wrong, or there are no roles.
    """
    return load_site(inventory, load_roles(inventory))


def load_roles(inventory: Path | None = None) -> Sequence[Role]:
    """`ROLES` of the package `roles` in the working directory or above, else above the inventory.

    The same place from which `pyinfra INVENTORY deploy.py` takes them, so that a repository of one's own
    can bring roles of its own.

    Raises:
        MailwrightError: no such package, or it does not load.
    """
    folder = repository(inventory)
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module("roles")
        roles = package.ROLES
    except MailwrightError:
        raise
    except Exception as error:
        raise MailwrightError(f"{folder}/roles does not load: {type(error).__name__}: {error}") from error
    loaded = Path(package.__file__ or "").parent
    if not loaded.samefile(folder / "roles"):
        raise MailwrightError(f"the package roles was loaded from {loaded}, not from {folder / 'roles'}")
    return tuple(roles)


def repository(inventory: Path | None = None) -> Path:
    """The folder that holds `roles/`, `deploy.py` and the suites: the working directory or one above.

    Raises:
        MailwrightError: there is none.
    """
    folder = next(_roles_folders(inventory), None)
    if folder is None:
        raise MailwrightError(
            f"no roles: there is no roles/__init__.py in {Path.cwd()} or above; run this in the repository"
        )
    return folder


def _roles_folders(inventory: Path | None) -> Iterator[Path]:
    starts = [Path.cwd()] + ([Path(os.path.abspath(inventory)).parent] if inventory else [])  # noqa: PTH100
    for start in starts:
        for folder in (start, *start.parents):
            if (folder / "roles" / "__init__.py").is_file():
                yield folder

"""A fleet file read, checked and folded. Nothing is connected to and nothing runs while loading."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mailwright.model.backups import Backup, SftpStore
from mailwright.model.crosscheck import AUDIENCES, cross_check
from mailwright.model.document import Document, Where, display, show
from mailwright.model.errors import FleetError, MailwrightError
from mailwright.model.fleet import Defaults, Fleet, Machine, Ssh
from mailwright.model.keyring import Keyring, disagreements, folded, keyring_file, read_keyring
from mailwright.model.marks import AudienceReference, marked
from mailwright.model.mistakes import Found, found_by, suggestion
from mailwright.model.role import Role
from mailwright.model.secrets_file import beside_file
from mailwright.model.secrets_store import open_secrets
from mailwright.model.site import Site
from mailwright.model.yamlfile import parse, read


def load_fleet(path: Path | str) -> Fleet:
    """Read a fleet file (`X.yaml`, or the pyinfra inventory `X.py` beside it).

    Settings of roles are taken as they are: `load_site` knows the roles.

    Raises:
        FleetError: with every mistake that can be seen at once.
    """
    file = fleet_file(path)
    return _fleet(read(file), file, (), read_keyring(keyring_file(file)))


def load_site(path: Path | str, roles: Sequence[Role], environ: Mapping[str, str] = os.environ) -> Site:
    """Read a fleet file together with the roles it may use. Its secrets are opened when one is read.

    Raises:
        FleetError: with every mistake that can be seen at once.
        MailwrightError: the roles themselves contradict each other.
    """
    check_order(roles)
    file = fleet_file(path)
    keyring = read_keyring(keyring_file(file))
    fleet = _fleet(read(file), file, roles, keyring)
    return Site(fleet, roles, open_secrets(fleet, file, environ), keyring)


def check_text(text: str, path: Path | str, roles: Sequence[Role]) -> Fleet:
    """The fleet that a file would hold with this text in it.

    Raises:
        FleetError: with every mistake that can be seen at once.
    """
    file = fleet_file(path)
    return _fleet(parse(text.encode(), display(file)), file, roles, read_keyring(keyring_file(file)))


def fleet_file(path: Path | str) -> Path:
    """The YAML file that is meant by an inventory: pyinfra's shim stands for the file beside it."""
    path = Path(path)
    if path.suffix == ".py":
        return path.with_suffix(".yaml")
    return path


def check_order(roles: Sequence[Role]) -> None:
    """Refuse roles that are listed twice, or before one they say they come after.

    Raises:
        MailwrightError: naming both.
    """
    places: dict[str, int] = {}
    for place, role in enumerate(roles):
        if role.name in places:
            raise MailwrightError(f"roles: {role.name} is listed twice")
        places[role.name] = place
    for role in roles:
        for earlier in role.after:
            if places.get(earlier, -1) > places[role.name]:
                raise MailwrightError(
                    f"roles: {role.name} is listed before {earlier}, which it must come after"
                )


def _fleet(document: Document, file: Path, roles: Sequence[Role], keyring: Keyring) -> Fleet:
    found = list(_of_roles(document.data, roles)) if roles else []
    fleet = None
    try:
        fleet = Fleet.model_validate(document.data)
    except ValidationError as error:
        wrong = found_by(error, Fleet, document.data)
        found += [*wrong, *_beside_wrong(document.data, [where for where, _ in wrong], roles)]
    else:
        found += [*cross_check(fleet, [r.name for r in roles]), *disagreements(fleet, keyring)]
    if fleet is None or found:
        raise FleetError(_lines(document, found))
    return folded(_folded(fleet, file), keyring)


def _beside_wrong(data: dict[str, Any], wrong: Sequence[Where], roles: Sequence[Role]) -> list[Found]:
    """What cross checks find beside values that are wrong in themselves: in the file without these.

    Nothing, where too much would be missing; and nothing about what a wrong value is part of.
    """
    data = deepcopy(data)
    if any("roles" in where for where in wrong):
        return []
    for where in wrong:
        _drop(data, where)
    try:
        fleet = Fleet.model_validate(data)
    except ValidationError:
        return []
    parts = {where[:2] for where in wrong}
    return [
        (where, what)
        for where, what in cross_check(fleet, [r.name for r in roles])
        if where[:2] not in parts and not any(show(part) in what for part in parts)
    ]


def _drop(data: Any, where: Where) -> None:  # noqa: ANN401 - any part of a YAML file
    """Take a value away; an entry of a list with its whole list, so that no index moves."""
    while where and isinstance(where[-1], int):
        where = where[:-1]
    try:
        for step in where[:-1]:
            data = data[step]
        data.pop(where[-1])
    except LookupError:
        return  # gone already, with what it was part of


def _lines(document: Document, found: Iterable[Found]) -> list[str]:
    # What an alias repeats is one mistake, at the first place that has it.
    unique = {(document.identity(where), what): where for where, what in reversed(list(found))}
    lines = {(document.line(where), document.mistake(where, what)) for (_, what), where in unique.items()}
    return [line for _, line in sorted(lines)]


def _of_roles(data: dict[str, Any], roles: Sequence[Role]) -> Iterable[Found]:
    """Mistakes in the roles' sections, from the raw data: they show beside all others."""
    table = {r.name: r for r in roles}
    defaults = _section(_section(data.get("defaults")).get("roles"))
    audiences = [*AUDIENCES, *_section(data.get("networks"))]
    machines = data.get("machines")
    for i, machine in enumerate(machines if isinstance(machines, list) else []):
        for name, own in _section(_section(machine).get("roles")).items():
            where: Where = ("machines", i, "roles", name)
            if name not in table:
                yield where, f"there is no role {name}{suggestion(name, table)}"
            elif isinstance(own, dict):
                yield from _of_settings(table[name], where, own, _section(defaults.get(name)), audiences)
    for name, settings in defaults.items():
        where = ("defaults", "roles", name)
        if name not in table:
            yield where, f"there is no role {name}{suggestion(name, table)}"
        elif isinstance(settings, dict):
            # What is missing here, each machine may say for itself.
            found = _of_settings(table[name], where, settings, {}, audiences)
            yield from (f for f in found if len(f[0]) > len(where))


def _of_settings(
    role: Role, where: Where, own: dict[str, Any], defaults: dict[str, Any], audiences: Sequence[str]
) -> Iterable[Found]:
    folded = {**defaults, **own}
    found: list[Found]
    try:
        settings = role.settings.model_validate(folded)
    except ValidationError as error:
        found = found_by(error, role.settings, folded)
    else:
        found = [
            (place, f"there is no audience or network {name}{suggestion(name, audiences)}")
            for place, name in marked(settings, AudienceReference)
            if name not in audiences
        ]
    for place, what in found:
        inherited = bool(place) and place[0] in defaults and place[0] not in own
        yield ("defaults", "roles", role.name, *place) if inherited else (*where, *place), what


def _section(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


FILES_OF_SSH = ("key", "known_hosts", "config")
"""What `ssh` says by files on the operator's side."""
FILES_OF_ROLES = (("unbound", "trust_anchors"),)
"""Settings of roles that name a file on the operator's side."""


def own_known_hosts(file: Path) -> Path:
    """`prod.known_hosts` beside `prod.yaml`: the host keys of the fleet, where it names no other file."""
    return file.absolute().with_suffix(".known_hosts")


def _folded(fleet: Fleet, file: Path) -> Fleet:
    beside = file.absolute().parent
    machines = tuple(_machine(m, fleet.defaults, file) for m in fleet.machines)
    acme = fleet.acme.model_copy(update={"ca": beside_file(fleet.acme.ca, beside)})
    return fleet.model_copy(
        update={"machines": machines, "acme": acme, "backup": _backup(fleet.backup, beside)}
    )


def _backup(backup: Backup, beside: Path) -> Backup:
    if backup.store is None or isinstance(backup.store, SftpStore):
        return backup
    store = backup.store.model_copy(update={"ca": beside_file(backup.store.ca, beside)})
    return backup.model_copy(update={"store": store})


def _machine(machine: Machine, defaults: Defaults, file: Path) -> Machine:
    """What the machine says itself wins: over `ssh` and a role's settings, key by key."""
    beside = file.absolute().parent
    said = machine.model_fields_set
    ssh = defaults.ssh or Ssh()
    ssh = ssh.model_copy(update={key: getattr(machine.ssh, key) for key in machine.ssh.model_fields_set})
    files = {key: beside_file(getattr(ssh, key), beside) for key in FILES_OF_SSH}
    if files["known_hosts"] is None and own_known_hosts(file).exists():
        files["known_hosts"] = str(own_known_hosts(file))
    roles = {name: {**defaults.roles.get(name, {}), **own} for name, own in machine.roles.items()}
    for role, key in FILES_OF_ROLES:
        if isinstance(path := roles.get(role, {}).get(key), str):
            roles[role][key] = beside_file(path, beside)
    return machine.model_copy(
        update={
            "debian": machine.debian if "debian" in said else (defaults.debian or machine.debian),
            "ssh": ssh.model_copy(update=files),
            "roles": roles,
        }
    )

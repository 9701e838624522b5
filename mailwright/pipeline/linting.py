"""What can be said of a fleet's repository without asking any machine, name server or provider."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from mailwright.hostkeys import file_of, pinned
from mailwright.lint import lint_wanted
from mailwright.model.document import display
from mailwright.model.errors import MissingSecretError
from mailwright.model.fleet import Fleet
from mailwright.model.secrets_file import Content, Vault
from mailwright.model.secrets_store import required
from mailwright.model.site import Site
from mailwright.recovery import Finding, key_files, recovery_keys

SCHEMA = "fleet.schema.json"


def lint_public(site: Site, file: Path, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """What needs no secrets, so that a stranger's change may be judged. `schema`: as the roles make it today.

    Raises:
        HostKeyError: the file of host keys cannot be read.
    """
    yield _schema(file, schema)
    files: dict[Path, list[str]] = {}
    for machine in site.fleet.machines:
        lacking = files.setdefault(path := file_of(machine, file), [])
        if not pinned(machine, path):
            lacking.append(machine.name)
    for path, lacking in files.items():
        missing = f"not pinned: {', '.join(lacking)}: `mailwright hostkeys pin`" if lacking else ""
        yield Finding(f"host keys: {display(path)}", missing)


def lint_secret(site: Site, vault: Vault, today: date) -> Iterator[Finding]:
    """What is read out of the secrets file, and what is derived of it.

    Raises:
        SecretError: it cannot be opened.
        DnsError: a record may not be published.
    """
    content = vault.read()
    yield _secrets(site)
    yield _recovery(content)
    yield _labels(content)
    yield from _logins(site.fleet, site)
    yield from _dns(site, today)


def _dns(site: Site, today: date) -> Iterator[Finding]:
    """What is amiss in the records; some are made of secrets (TLSA of a certificate)."""
    what = "dns: what the fleet publishes"
    try:
        found = lint_wanted(site, today)
    except MissingSecretError as error:
        yield Finding(what, str(error))
        return
    if not found:
        yield Finding(what)
    yield from (
        Finding(f"dns: {one.about.removesuffix('.')}", f"{one.name}: {one.sentence}") for one in found
    )


def _schema(file: Path, schema: Mapping[str, Any]) -> Finding:
    """The schema that editors complete from, if one is committed, is today's."""
    path = file.absolute().parent / SCHEMA
    if not path.exists():
        return Finding("schema: there is none beside the fleet file")
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == schema
    except (OSError, ValueError):
        same = False
    what = f"schema: {display(path)}"
    return Finding(
        what, "" if same else f"not that of the roles: `mailwright schema --output {display(path)}`"
    )


def _secrets(site: Site) -> Finding:
    wanted = [one.name for one in required(site.fleet, site.roles, site.keyring)]
    lacking = [name for name in wanted if not _has(site, name)]
    missing = f"missing: {', '.join(lacking)}: `mailwright secrets set`" if lacking else ""
    return Finding(f"secrets: the {len(wanted)} that the fleet needs", missing)


def _recovery(content: Content) -> Finding:
    missing = "" if recovery_keys(content) else "there is none: `mailwright secrets recovery-key`"
    return Finding("secrets: a recovery key", missing)


def _labels(content: Content) -> Finding:
    strangers: Sequence[str] = [one for one in content.recipients if one not in content.labels]
    missing = (
        f"nobody said whose {', '.join(strangers)} is: `mailwright secrets rekey --add KEY --label NAME`, "
        "or `--remove KEY`"
    )
    return Finding(f"secrets: who can open them ({len(content.recipients)})", missing if strangers else "")


def _logins(fleet: Fleet, site: Site) -> Iterator[Finding]:
    for name, path in key_files(fleet).items():
        known = path.exists() or _has(site, name)
        missing = f"the job has no such file, and there is no secret {name}: `mailwright secrets set`"
        yield Finding(f"login: the SSH key {display(path)}", "" if known else missing)
    others = [machine.name for machine in fleet.machines if machine.ssh.key is None]
    if others and not os.environ.get("SSH_AUTH_SOCK"):
        why = "no key file in `ssh.key`, and no agent here: name one, and keep it as the secret `ssh/NAME`"
        yield Finding(f"login: {', '.join(others)}", why)


def _has(site: Site, name: str) -> bool:
    try:
        return bool(site.secrets.get(name))
    except MissingSecretError:
        return False

"""What a change does to the secrets file: a diff of it shows a reviewer nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailwright.model.errors import SecretError
from mailwright.model.secrets_file import Content, Vault


def secrets_changed(vault: Vault, base: str) -> tuple[str, ...]:
    """What is different from a revision of the repository: who can open the file, and which secrets, by name.

    Sentences in Markdown; none where nothing is different, or where the file is in no repository.

    Raises:
        SecretError: the file as it is now cannot be opened.
    """
    sealed = _at(base, vault.file)
    if sealed is None:
        return (f"the secrets as they were before ({_code(base)}) are not in this clone: not compared",)
    if sealed == (vault.file.read_bytes() if vault.file.exists() else b""):
        return ()
    after = vault.read()
    try:
        before = vault.opened(sealed, f"{base}:{vault.file.name}") if sealed else Content()
    except SecretError:
        return ("the secrets file is another, and what was before cannot be opened here: not compared",)
    return tuple(_differences(before, after))


def _differences(before: Content, after: Content) -> Iterator[str]:
    gained = [one for one in after.recipients if one not in before.recipients]
    lost = [one for one in before.recipients if one not in after.recipients]
    yield from (f"**can open the secrets from now on**: {_whose(after, one)}" for one in gained)
    yield from (f"can open the secrets no more: {_whose(before, one)}" for one in lost)
    old, new = before.secrets, after.secrets
    yield from _named("new secrets", new.keys() - old.keys())
    yield from _named("secrets that go", old.keys() - new.keys())
    other = (name for name, value in old.items() if new.get(name, value) != value)
    yield from _named("secrets with another value", other)


def _named(what: str, names: Iterable[str]) -> Iterator[str]:
    if found := sorted(names):
        yield f"{what}: {', '.join(map(_code, found))}"


def _whose(content: Content, one: str) -> str:
    return f"{_code(one)} ({_code(content.labels.get(one, 'nobody said whose'))})"


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _at(revision: str, file: Path) -> bytes | None:
    """The file at a revision; empty if it was not there, nothing if the clone has no such revision."""
    known = _git(file, "cat-file", "-e", f"{revision}^{{commit}}")
    if known.returncode:
        return None
    found = _git(file, "show", f"{revision}:./{file.name}")
    return b"" if found.returncode else found.stdout


def _git(file: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(file.absolute().parent), *words]
    return subprocess.run(command, capture_output=True, check=False)

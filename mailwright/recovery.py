"""What a fleet needs from the operator's machine: whether a clone would have it, and putting it back.

The repository, with the secrets in it, and one recovery key are to be enough. Everything else that the fleet
file names on the operator's side is either in the repository (authorities, trust anchors, host keys) or a
secret (the SSH key that logs in: `ssh/NAME` for the key file `.../NAME`).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailwright.hostkeys import file_of, pinned
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError, SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import keyring_file
from mailwright.model.providers import Route53
from mailwright.model.secrets_file import Content, Vault
from mailwright.model.secrets_store import check_name, required
from mailwright.model.site import Site
from mailwright.sshkeys import public_key

RECOVERY = "recovery key"
"""What the label of a recovery key begins with."""


@dataclass(frozen=True)
class Finding:
    """One thing that a new machine would need."""

    what: str
    missing: str = ""
    """Why it would be missing there, and what to do; empty when it would be there."""


def recovery_keys(content: Content) -> list[str]:
    """The recipients that are recovery keys."""
    return [one for one in content.recipients if content.labels.get(one, "").startswith(RECOVERY)]


def key_files(fleet: Fleet) -> Mapping[str, Path]:
    """The SSH key files that machines are reached with, by the name of the secret that keeps each.

    Raises:
        MailwrightError: two files would be one secret, or a name is no secret's.
    """
    found: dict[str, Path] = {}
    for machine in fleet.machines:
        if machine.ssh.key is None:
            continue
        path = Path(machine.ssh.key)
        name = f"ssh/{path.name.lower().lstrip('.')}"
        check_name(name)
        if found.setdefault(name, path) != path:
            raise MailwrightError(f"ssh.key: {found[name]} and {path} would both be the secret {name}")
    return found


def named_files(fleet: Fleet) -> Iterator[tuple[str, Path]]:
    """Files on the operator's side that the fleet file names, none of them secret, and where it does."""
    if fleet.acme.ca:
        yield "acme.ca", Path(fleet.acme.ca)
    if ca := getattr(fleet.backup.store, "ca", None):
        yield "backup.store.ca", Path(ca)
    anchors = {str(m.roles.get("unbound", {}).get("trust_anchors") or "") for m in fleet.machines}
    yield from (("unbound.trust_anchors", Path(path)) for path in sorted(anchors) if path)


def rehearse(site: Site, file: Path, vault: Vault) -> Iterator[Finding]:
    """What a new machine needs, and whether a clone of the repository and a recovery key would give it.

    Raises:
        SecretError: the secrets cannot be opened here and now.
    """
    content = vault.read()
    repository = Repository.of(file)
    own = [file, file.with_suffix(".py"), vault.file, *(f for f in [keyring_file(file)] if f.exists())]
    for path in own:
        yield repository.finding(display(path), path)
    for where, path in named_files(site.fleet):
        yield repository.finding(f"{where}: {display(path)}", path)
    yield from _host_keys(site.fleet, file, repository)
    keys = recovery_keys(content)
    yield Finding(
        f"a recovery key ({len(keys)})" if keys else "a recovery key",
        "" if keys else "there is none: `mailwright secrets recovery-key`",
    )
    yield from _secrets(site, content)
    yield from _logins(site.fleet, content)
    yield from _providers(site.fleet)


def _host_keys(fleet: Fleet, file: Path, repository: Repository) -> Iterator[Finding]:
    for path in sorted({file_of(machine, file) for machine in fleet.machines}):
        mine = [m for m in fleet.machines if file_of(m, file) == path]
        lacking = [m.name for m in mine if not pinned(m, path)]
        what = f"host keys: {display(path)}"
        if lacking:
            yield Finding(what, f"not pinned: {', '.join(lacking)}: `mailwright hostkeys pin`")
        else:
            yield repository.finding(what, path)


def _secrets(site: Site, content: Content) -> Iterator[Finding]:
    wanted = [one.name for one in required(site.fleet, site.roles, site.keyring)]
    lacking = [name for name in wanted if name not in content.secrets]
    why = f"not in the file: {', '.join(lacking)}: `mailwright secrets set`" if lacking else ""
    yield Finding(f"the fleet's {len(wanted)} secrets", why)


def _logins(fleet: Fleet, content: Content) -> Iterator[Finding]:
    files = key_files(fleet)
    for name, path in files.items():
        what = f"the SSH key {display(path)}"
        if name not in content.secrets:
            yield Finding(
                what, f"it is here only: `mailwright secrets set INVENTORY {name} < {display(path)}`"
            )
        elif path.exists() and not _same(content.secrets[name], path):
            yield Finding(what, f"the secret {name} is another key: set it anew")
        else:
            yield Finding(f"{what}: the secret {name}")
    agents = [machine.name for machine in fleet.machines if machine.ssh.key is None]
    if agents:
        yield Finding(
            f"a login to {', '.join(agents)}",
            "by your agent or what is in ~/.ssh: name a key file in `ssh.key`, so that it can be kept",
        )


def _same(secret: str, path: Path) -> bool:
    try:
        return public_key(secret) == public_key(path.read_text())
    except (OSError, SecretError):
        return False


def _providers(fleet: Fleet) -> Iterator[Finding]:
    for name, provider in fleet.providers.items():
        if isinstance(provider, Route53) and not provider.key:
            yield Finding(
                f"providers.{name}: credentials of AWS",
                "they are in ~/.aws or the environment: name secrets in `key_id` and `key`",
            )


def restore_keys(fleet: Fleet, content: Content) -> Iterator[Finding]:
    """Put the SSH keys that are secrets at the places where the fleet file wants them; what is there stays.

    Raises:
        MailwrightError: one cannot be written.
    """
    for name, path in key_files(fleet).items():
        if path.exists():
            yield Finding(f"{display(path)} is there")
        elif name in content.secrets:
            write_private(path, content.secrets[name])
            yield Finding(f"{display(path)} written, from the secret {name}")
        else:
            yield Finding(display(path), f"there is no secret {name}: put a key there that machines know")


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, where there is none.

    Raises:
        MailwrightError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Elsewhere first: half of a key that a killed run left would count as the key.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(text if text.endswith("\n") else text + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            path.hardlink_to(temporary)  # which replaces nothing
        finally:
            Path(temporary).unlink()
    except OSError as error:
        raise MailwrightError(f"{display(path)}: cannot be written: {error.strerror}") from None


@dataclass(frozen=True)
class Repository:
    """The Git work tree around a fleet file; without one, nothing in it would survive."""

    top: Path | None

    @classmethod
    def of(cls, file: Path) -> Repository:
        """The work tree that holds a file."""
        top = _git(file.absolute().parent, "rev-parse", "--show-toplevel")
        return cls(Path(top) if top else None)

    def finding(self, what: str, path: Path) -> Finding:
        """Whether a clone would have a file as it is here."""
        path = path.absolute()
        if not path.exists():
            return Finding(what, "there is no such file")
        if self.top is None:
            return Finding(what, "it is in no Git repository")
        try:
            inside = str(path.resolve().relative_to(self.top.resolve()))
        except ValueError:
            return Finding(what, f"it is outside of the repository {self.top}: move it in, and name it there")
        if not _git(self.top, "ls-files", "--", inside):
            return Finding(what, "it is not in Git: `git add` it")
        if _git(self.top, "status", "--porcelain", "--", inside):
            return Finding(what, "it has changes that are not committed")
        return Finding(what)


def _git(folder: Path, *words: str) -> str:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""

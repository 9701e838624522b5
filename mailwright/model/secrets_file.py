"""The file that holds a fleet's secrets: encrypted with age to every recipient who may open it.

Inside is JSON: `{"recipients": ["age1...", ...], "labels": {"age1...": "whose it is"},
"secrets": {"NAME": "value", ...}}`; there may be no labels. The recipients lie inside because age does not
reveal them, and because whoever can write to the repository must not be able to slip one in that the next
`secrets set` would encrypt to.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyrage

from mailwright.model.document import display
from mailwright.model.errors import MissingSecretError, SecretError
from mailwright.model.identities import IDENTITY, identities, parse_recipient

LOCK_SECONDS = 10.0


@dataclass
class Content:
    """What the file holds once it is open."""

    recipients: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    labels: dict[str, str] = field(default_factory=dict)
    """Recipient to whose it is, where somebody said that."""

    def copy(self) -> Content:
        """An independent copy."""
        return Content(list(self.recipients), dict(self.secrets), dict(self.labels))

    @classmethod
    def checked(cls, data: object, name: str) -> Content:
        """Content out of decoded JSON or YAML.

        Raises:
            SecretError: of another shape. Says where, never what stands there.
        """
        if not isinstance(data, dict) or not set(data) <= {"recipients", "secrets", "labels"}:
            raise SecretError(
                f"{name}: its content must be `recipients`, `labels` and `secrets`, and nothing else"
            )
        recipients, values = data.get("recipients"), data.get("secrets") or {}
        labels = data.get("labels") or {}
        if (
            not isinstance(recipients, list)
            or not recipients
            or not all(isinstance(r, str) for r in recipients)
        ):
            raise SecretError(f"{name}: `recipients` must list who can open the file, at least one")
        if not isinstance(values, dict):
            raise SecretError(f"{name}: `secrets` must be `name: value` lines")
        for key, value in values.items():
            if not isinstance(value, str) or not value:
                raise SecretError(f"{name}: the secret {key} must be text: put it in quotes")
        if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
            raise SecretError(f"{name}: `labels` must be `recipient: text` lines")
        recipients = list(dict.fromkeys(recipients))
        known = {one: labels[one] for one in recipients if one in labels}
        return cls(recipients, {k: normalised(v) for k, v in values.items()}, known)


def normalised(value: str) -> str:
    """A value without the line break that editors and `echo` append; text of several lines ends in one."""
    value = value.replace("\r\n", "\n").rstrip("\n")
    return value + "\n" if "\n" in value else value


@dataclass(frozen=True)
class Vault:
    """One secrets file and what may open it."""

    file: Path
    identity: Path
    """The identity file that is used beside the environment's, if it exists."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def read(self) -> Content:
        """Open the file.

        Raises:
            MissingSecretError: there is none.
            SecretError: damaged, or no identity opens it; says what to do.
        """
        name = display(self.file)
        try:
            sealed = self.file.read_bytes()
        except FileNotFoundError:
            raise MissingSecretError(
                f"{name}: no such file: `mailwright secrets init INVENTORY` makes it"
            ) from None
        except OSError as error:
            raise SecretError(f"{name}: cannot be read: {error.strerror}") from None
        return self.opened(sealed, name)

    @contextmanager
    def changing(self, *, anew: bool = False) -> Iterator[Content]:
        """The content to change in place; written when the block ends well and something is different.

        Others who would change the file wait meanwhile. Content of a file that does not exist is empty.
        `anew`: it is encrypted and written whether or not something is different.

        Raises:
            SecretError: as `read`; or another process keeps the file for too long.
        """
        with self._locked():
            before = self.read() if self.file.exists() else None
            content = before.copy() if before else Content()
            yield content
            if anew or before is None or content != before:
                self._write(content)

    def opened(self, sealed: bytes, name: str) -> Content:
        """The content of such a file that lies elsewhere, called `name` in messages.

        Raises:
            SecretError: as `read`.
        """
        found = identities(self.identity, self.environ)
        if not found:
            raise SecretError(
                f"{name}: nothing here can open it: put an age identity into {self.identity} or ${IDENTITY}"
            )
        try:
            data = json.loads(pyrage.decrypt(sealed, [one.key for one in found]))
        except pyrage.DecryptError as error:
            if "matching keys" not in str(error):
                raise _damaged(name) from None
            tried = ", ".join(f"{one.where} ({one.recipient})" for one in found)
            raise SecretError(
                f"{name}: not encrypted for {tried}: somebody who can open it adds you with "
                "`mailwright secrets rekey INVENTORY --add age1...`"
            ) from None
        except (ValueError, RecursionError):
            raise _damaged(name) from None
        return Content.checked(data, name)

    def _write(self, content: Content) -> None:
        name = display(self.file)
        data: dict[str, object] = {"recipients": content.recipients}
        if labels := {one: content.labels[one] for one in content.recipients if one in content.labels}:
            data["labels"] = labels
        data["secrets"] = dict(sorted(content.secrets.items()))
        Content.checked(data, name)
        plain = json.dumps(data)
        sealed = pyrage.encrypt(
            plain.encode(), [parse_recipient(r) for r in content.recipients], armored=True
        )
        try:
            pyrage.decrypt(sealed, [one.key for one in identities(self.identity, self.environ)])
        except pyrage.DecryptError:
            raise SecretError(
                f"{name}: unchanged: you could not open it any more with these recipients"
            ) from None
        try:
            write_whole(self.file, sealed)
        except OSError as error:
            raise SecretError(f"{name}: cannot be written: {error.strerror}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The folder is locked, not the file: the file is replaced by every change, and a lock file of
        # its own would lie about in the repository.
        name = display(self.file)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SecretError(f"{name}: its folder cannot be used: {error.strerror}") from None
        try:
            _flock(folder, name)
            yield
        finally:
            os.close(folder)


def _flock(folder: int, name: str) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SecretError(
                    f"{name}: somebody else is changing it; try again when they are done"
                ) from None
            time.sleep(0.05)
        else:
            return


def _damaged(name: str) -> SecretError:
    return SecretError(
        f"{name}: damaged, or not a secrets file: take it back from version control or a backup"
    )


def beside_file(file: str | None, folder: Path) -> str | None:
    """A path of the fleet file made absolute: `~` is the operator's home, else it is relative to the file."""
    # os.path, because Path raises where `~user` names nobody
    return None if file is None else str(folder / os.path.expanduser(file))  # noqa: PTH111


def write_whole(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file in place whole, so that no crash leaves half of one. Only its owner reads it by default."""
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def add_recipients(content: Content, recipients: Iterable[str], label: str = "") -> None:
    """Let more people open the file. Without a label, the comment of an SSH key says whose it is.

    Raises:
        SecretError: one is malformed.
    """
    for one in recipients:
        parse_recipient(one)
        words = one.split(maxsplit=2)
        one = " ".join(words[:2])  # noqa: PLW2901 - an SSH key without its comment
        if one not in content.recipients:
            content.recipients.append(one)
        if said := label or "".join(words[2:]):
            content.labels[one] = said

"""Where a fleet's backups go, and how long they stay there."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from mailwright.model import names
from mailwright.model.base import Duration, Model, Slug

KEEPER_PASSWORD = "backup-keeper/password"  # noqa: S105 - the name of a secret
"""The secret that opens every repository: its key is the keeper's, who prunes and checks."""
STORE_PORT = 8000
"""Where a store with Debian 13 takes backups (HTTPS). One with Debian 12 takes them over SSH."""


_MACHINE = "{machine}"


class HostStore(Model):
    """A machine of the fleet with the role `backup_store` takes them, and lets nobody take them away."""

    type: Literal["host"]
    """A machine of the fleet."""
    machine: Slug
    """Which; it has the role `backup_store`."""
    ca: str | None = None
    """A PEM file on the operator's side that its certificate is verified by, where the world's roots do not.
    Relative to the fleet file, `~` allowed."""


def _endpoint(url: str) -> str:
    """Refuse what holds a user, or no host, or no port where one is said."""
    found = urlsplit(url)  # its port raises a ValueError of its own
    if not found.hostname or "@" in found.netloc or found.port == 0:
        raise ValueError("not the address of a service, such as https://s3.example.net:9000")
    return url


class S3Store(Model):
    """A bucket of an S3 service; what its keys may do is the service's to enforce."""

    type: Literal["s3"]
    """Amazon S3, or what speaks like it."""
    endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+$"), AfterValidator(_endpoint)] = (
        "https://s3.amazonaws.com"
    )
    """Address of the service. Plain `http://` in labs only."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """The bucket; each machine has a folder of its name in it."""
    region: str = "us-east-1"
    """As the service calls it."""
    ca: str | None = None
    """A PEM file on the operator's side that the service is verified by, where the world's roots do not.
    Relative to the fleet file, `~` allowed."""


class SftpStore(Model):
    """An account on somebody's SFTP server. The lesser choice: a machine can delete its own backups there."""

    type: Literal["sftp"]
    """Any SSH server with SFTP."""
    host: Annotated[str, AfterValidator(names.ssh_address)]
    """Its name or address."""
    port: int = Field(default=22, ge=1, le=65535)
    """Where its sshd listens."""
    user: Annotated[str, Field(pattern=r"^[a-z_{][a-z0-9_.{}-]*$", max_length=64)] = "{machine}"
    """The account; `{machine}` stands for the machine's name, so that each has its own."""
    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./{}-]+$")] = "{machine}"
    """Folder of a machine's repository, from where a login begins; `{machine}` as above."""
    host_keys: tuple[Annotated[str, AfterValidator(names.ssh_key)], ...] = Field(min_length=1)
    """The server's public host keys, as in `/etc/ssh/ssh_host_ed25519_key.pub`."""

    @model_validator(mode="after")
    def _apart(self) -> SftpStore:
        if self.user.count(_MACHINE) + self.path.count(_MACHINE) == 0:
            raise ValueError("all machines would share a repository: say {machine} in user or path")
        if set("{}") & set((self.user + self.path).replace(_MACHINE, "")):
            raise ValueError("user and path know no other placeholder than {machine}")
        return self


Store = Annotated[HostStore | S3Store | SftpStore, Field(discriminator="type")]


class Keep(Model):
    """Which snapshots stay (`restic forget`). The newest always does."""

    within: Duration | None = None
    """All that are younger than this."""
    daily: int = Field(default=0, ge=0, le=10_000)
    """The last one of each of so many days."""
    weekly: int = Field(default=0, ge=0, le=10_000)
    """Of so many weeks."""
    monthly: int = Field(default=0, ge=0, le=10_000)
    """Of so many months."""

    @model_validator(mode="after")
    def _something(self) -> Keep:
        if not (self.within or self.daily or self.weekly or self.monthly):
            raise ValueError("keeps nothing: say within, daily, weekly or monthly")
        return self


class Backup(Model):
    """Where backups go. Machines with the role `backup` make them."""

    store: Store | None = None
    """Who takes them: `host`, `s3` or `sftp`."""
    keeper: Slug | None = None
    """The machine with the role `backup_store` that prunes and checks what lies with somebody else (`s3`,
    `sftp`). A store that is a machine of the fleet does that itself."""
    long: Keep = Keep(within="2d", daily=14, weekly=8, monthly=12)
    """Keys, configuration and whatever else holds nobody's mail for its own sake."""
    short: Keep = Keep(within="3d")
    """Mail queues and logs: they hold people's words and addresses, and are worth little after days."""
    spare: Slug | None = None
    """The machine on which `mailwright backup drill` tries a restore. What it has is thrown away."""

    @property
    def port(self) -> int:
        """The TCP port at which machines reach the store; where none is named, that of one of the fleet."""
        if isinstance(self.store, S3Store):
            url = urlsplit(self.store.endpoint)
            return url.port or (443 if url.scheme == "https" else 80)
        if isinstance(self.store, SftpStore):
            return self.store.port
        return STORE_PORT

    @property
    def kept_by(self) -> str | None:
        """The name of the machine that prunes and checks."""
        return self.store.machine if isinstance(self.store, HostStore) else self.keeper


def secret(machine: str, kind: str) -> str:
    """The name of a machine's secret towards the store: `password`, `rest`, `ssh`, `s3-id`, `s3-key`."""
    return f"backup/{machine}/{kind}"

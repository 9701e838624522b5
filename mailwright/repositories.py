"""How a machine, and the keeper of backups, reach a machine's restic repository. One place for both roles.

| store | a machine | the keeper |
|---|---|---|
| `host`, Debian 13 | HTTPS to rest-server, a password of its own | its folder, as the machine's account |
| `host`, Debian 12 | SSH to `rclone serve restic`, a key of its own | the same |
| `s3` | an access key of its own | an access key that may delete |
| `sftp` | a key and, as a rule, an account of its own | its key in each of these accounts |

restic takes credentials from files and never from its arguments, which anybody on the machine can read:
https://restic.readthedocs.io/en/stable/040_backup.html#environment-variables.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from cryptography import x509

from mailwright.model.backups import KEEPER_PASSWORD, STORE_PORT, HostStore, S3Store, SftpStore, Store, secret
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError, NeedsError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.needs import File
from mailwright.model.needs.valid import ACCOUNT
from mailwright.model.role import Wanted
from mailwright.model.secrets import Secrets
from mailwright.model.secrets_store import password
from mailwright.sshkeys import public_key, ssh_key

REPOSITORIES = "/srv/backups"
"""Where a store of the fleet keeps them: a folder for each machine."""
KEEPER = "mailwright-keeper"
"""The keeper's account, and the group that reads what only the keeper may."""
HOST_KEY = "backup-keeper/host-key"
"""The secret that a store with Debian 12 proves itself by: the private host key of its sshd for backups."""
KEEPER_SSH = "backup-keeper/ssh"
KEEPER_S3 = ("backup-keeper/s3-id", "backup-keeper/s3-key")
_LAST_WITHOUT_REST_SERVER = 12
_ALIAS = "backup-store"
"""What known_hosts calls the store, whatever its name, address and port."""
_NAME = "{machine}"
_CA = "ca.pem"
_HASH = 8


@dataclass(frozen=True)
class Repository:
    """A machine's repository as one of its two users reaches it. `repr` shows no secret."""

    url: str = field(repr=False)
    """What restic calls the repository. With a rest-server it holds the password: then only a file has it."""
    options: tuple[str, ...] = ()
    """Arguments for every restic command; nothing secret."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for every restic command: paths and names, nothing secret."""
    files: tuple[File, ...] = ()
    """What options and environment name."""
    account: str = "root"
    """Who is to run restic: what the keeper writes into a folder must remain the machine's account's."""


def account(machine: str) -> str:
    """The account on a store of the fleet that a machine's repository belongs to; at most 31 characters."""
    name = f"backup-{machine}"
    if ACCOUNT.fullmatch(name):
        return name
    return f"{name[: 30 - _HASH]}-{hashlib.sha256(machine.encode()).hexdigest()[:_HASH]}"


def over_ssh(fleet: Fleet) -> bool:
    """Whether the store is a machine of the fleet that takes backups over SSH (Debian 12)."""
    store = fleet.backup.store
    return isinstance(store, HostStore) and _named(fleet, store.machine).debian <= _LAST_WITHOUT_REST_SERVER


def packages(fleet: Fleet) -> tuple[str, ...]:
    """Debian packages that a machine needs to reach its repository, and a keeper that is not the store."""
    ssh = isinstance(fleet.backup.store, SftpStore) or over_ssh(fleet)
    return ("restic", "openssh-client") if ssh else ("restic",)


def for_machine(
    fleet: Fleet, machine: str, secrets: Secrets, folder: str = "/etc/mailwright/backup"
) -> Repository:
    """A machine's own repository, as root on the machine reaches it. `folder` is where its files lie.

    Raises:
        SecretError: a secret is missing or unfit.
        NeedsError: the fleet has no store.
        MailwrightError: `store.ca` is no PEM file.
    """
    store = _store(fleet)
    s3 = (secret(machine, "s3-id"), secret(machine, "s3-key"))
    who = _Who(secret(machine, "password"), secret(machine, "ssh"), s3, folder, "root", 0o600)
    if not isinstance(store, HostStore) or over_ssh(fleet):
        return _reached(fleet, store, machine, secrets, who)
    at = f"{_named(fleet, store.machine).fqdn.bare}:{STORE_PORT}"
    password = quote(secrets.get(secret(machine, "rest")).strip(), safe="")
    url = f"rest:https://{machine}:{password}@{at}/{machine}/"
    location = who.file("repository", _line(url))
    ca = _authority(store, folder)
    return who.repository(
        secrets, url, (location, *ca), environment={"RESTIC_REPOSITORY_FILE": location.path}
    )


def for_keeper(
    fleet: Fleet, machine: str, secrets: Secrets, folder: str = "/etc/mailwright/backup-keeper"
) -> Repository:
    """A machine's repository as the keeper reaches it: it opens with the keeper's password.

    Raises:
        SecretError, NeedsError, MailwrightError: as `for_machine`.
    """
    store = _store(fleet)
    who = _Who(KEEPER_PASSWORD, KEEPER_SSH, KEEPER_S3, folder, KEEPER, 0o640)
    if not isinstance(store, HostStore):
        return _reached(fleet, store, machine, secrets, who)
    local = who.repository(secrets, f"{REPOSITORIES}/{machine}")
    return replace(local, account=account(machine))


@dataclass(frozen=True)
class _Who:
    """One of a repository's two users: the names of its secrets, and how its files lie on its machine."""

    password: str
    ssh: str
    s3: tuple[str, str]
    folder: str
    account: str
    mode: int

    def file(self, name: str, content: bytes) -> File:
        return File(f"{self.folder}/{name}", content, group=self.account, mode=self.mode, secret=True)

    def repository(
        self,
        secrets: Secrets,
        url: str,
        files: tuple[File, ...] = (),
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Repository:
        """`url` is put into the environment unless that names a file which has it."""
        opens = self.file("password", _line(secrets.get(self.password)))
        named = {} if "RESTIC_REPOSITORY_FILE" in environment else {"RESTIC_REPOSITORY": url}
        trusted = next((f.path for f in files if f.path == f"{self.folder}/{_CA}"), None)
        return Repository(
            url,
            (*options, *(("--cacert", trusted) if trusted else ())),
            {**named, "RESTIC_PASSWORD_FILE": opens.path, **environment},
            (opens, *files),
            self.account,
        )


def _reached(fleet: Fleet, store: Store, machine: str, secrets: Secrets, who: _Who) -> Repository:
    """Over the network by S3 or SSH."""
    if isinstance(store, S3Store):
        keys = who.file("s3", _credentials(*map(secrets.get, who.s3)))
        return who.repository(
            secrets,
            url=f"s3:{store.endpoint}/{store.bucket}/{machine}",
            files=(keys, *_authority(store, who.folder)),
            options=("-o", f"s3.region={store.region}"),
            environment={"AWS_SHARED_CREDENTIALS_FILE": keys.path},
        )
    user, port, host, known = _login(fleet, store, machine, secrets)
    key = secrets.get(who.ssh)
    public_key(key)  # a bad one is said here, and not by ssh on the machine in the middle of a night
    hosts = "".join(f"{_ALIAS} {' '.join(one.split()[:2])}\n" for one in known)
    # ssh refuses a key of its own user that a group may read; root reads it for the keeper's `view`
    own = replace(who.file("ssh", _line(key)), owner=who.account, mode=0o600)
    files = (own, File(f"{who.folder}/known_hosts", hosts.encode()))
    command = shlex.join(_ssh(who.folder, user, port, host))
    if isinstance(store, HostStore):
        # what restic appends here is what sshd is asked to run; the store runs its own command whatever
        # it is asked (sshd_config(5) ForceCommand)
        options = ("-o", f"rclone.program={command}", "-o", "rclone.args=")
        return who.repository(secrets, f"rclone:{machine}", files, options)
    url = f"sftp:{user}@{_ALIAS}:{store.path.replace(_NAME, machine)}"
    return who.repository(secrets, url, files, ("-o", f"sftp.command={command} -s sftp"))


def machine_secrets(fleet: Fleet, machine: str) -> Mapping[str, Wanted]:
    """The secrets that `for_machine` reads."""
    store = fleet.backup.store
    if store is None:
        return {}
    found = {secret(machine, "password"): Wanted(f"opens the backups of {machine}", password)}
    if isinstance(store, S3Store):
        found |= {
            secret(machine, kind): Wanted(f"S3 {what} with which {machine} adds backups")
            for kind, what in (("s3-id", "access key id"), ("s3-key", "secret access key"))
        }
    elif isinstance(store, SftpStore) or over_ssh(fleet):
        found[secret(machine, "ssh")] = Wanted(f"SSH key with which {machine} reaches its backups", ssh_key)
        found |= _host_key(fleet)
    else:
        found[secret(machine, "rest")] = Wanted(f"password of {machine} at the backup store", password)
    return found


def keeper_secrets(fleet: Fleet) -> Mapping[str, Wanted]:
    """The secrets that `for_keeper` reads, and what the store proves itself by."""
    store = fleet.backup.store
    if store is None:
        return {}
    found = {KEEPER_PASSWORD: Wanted("opens all backups: the keeper's", password)}
    if isinstance(store, S3Store):
        what = ("access key id", "secret access key")
        found |= {
            n: Wanted(f"S3 {w} of the keeper, who may delete") for n, w in zip(KEEPER_S3, what, strict=True)
        }
    elif isinstance(store, SftpStore):
        found[KEEPER_SSH] = Wanted("SSH key of the keeper, who may delete", ssh_key)
    return found | _host_key(fleet)


def _store(fleet: Fleet) -> Store:
    if fleet.backup.store is None:
        raise NeedsError("the fleet has no backup store: say `backup.store`")
    return fleet.backup.store


def _named(fleet: Fleet, name: str) -> Machine:
    return next(machine for machine in fleet.machines if machine.name == name)


def _line(value: str) -> bytes:
    return value.strip().encode() + b"\n"


def _host_key(fleet: Fleet) -> dict[str, Wanted]:
    return {HOST_KEY: Wanted("host key of the backup store's sshd", ssh_key)} if over_ssh(fleet) else {}


def _credentials(key_id: str, key: str) -> bytes:
    """A shared credentials file of AWS, profile `default`."""
    return (
        f"[default]\naws_access_key_id = {key_id.strip()}\naws_secret_access_key = {key.strip()}\n".encode()
    )


def _login(
    fleet: Fleet, store: HostStore | SftpStore, machine: str, secrets: Secrets
) -> tuple[str, int, str, tuple[str, ...]]:
    """User, port and host of an SSH login, and the host keys that it may find there."""
    if isinstance(store, SftpStore):
        return store.user.replace(_NAME, machine), store.port, store.host, store.host_keys
    host = _named(fleet, store.machine).fqdn.bare
    return account(machine), STORE_PORT, host, (public_key(secrets.get(HOST_KEY)),)


def _ssh(folder: str, user: str, port: int, host: str) -> tuple[str, ...]:
    """A client that asks nobody, trusts the given host keys only, and notices a connection that died."""
    settings = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f"{folder}/known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": _ALIAS,
        "ConnectTimeout": "30",
        "ServerAliveInterval": "20",
    }
    options = (word for key, value in settings.items() for word in ("-o", f"{key}={value}"))
    return ("ssh", "-F", "none", "-T", "-i", f"{folder}/ssh", *options, "-l", user, "-p", str(port), host)


def _authority(store: HostStore | S3Store, folder: str) -> tuple[File, ...]:
    if not store.ca:
        return ()
    try:
        content = Path(store.ca).read_bytes()
        x509.load_pem_x509_certificates(content)
    except (OSError, ValueError) as error:
        shown = display(Path(store.ca))
        raise MailwrightError(f"backup.store.ca: {shown} is no PEM certificate: {error}") from None
    return (File(f"{folder}/{_CA}", content),)

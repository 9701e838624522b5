"""What secrets a fleet needs, where it finds them, and how the first ones are made."""

from __future__ import annotations

import os
import re
import secrets as random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel

from maildns.rotation import LIVE
from mailwright.model.document import show
from mailwright.model.domains import DkimKey
from mailwright.model.errors import SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.identities import identities, make_identity
from mailwright.model.keyring import Keyring
from mailwright.model.marks import SecretReference, marked
from mailwright.model.names import PATTERNS, SECRET
from mailwright.model.role import Role, Wanted
from mailwright.model.secrets import GivenSecrets, missing
from mailwright.model.secrets_file import Vault, add_recipients, beside_file, normalised
from mailwright.model.site import Site

RSA_BITS = 2048
"""What every receiver verifies and one TXT record holds; RFC 8301 3.2 asks for 1024 at least."""


@dataclass(frozen=True)
class Required:
    """A secret that a fleet needs. `make` draws a value; `None`: it comes from somebody else."""

    name: str
    purpose: str
    make: Callable[[], str] | None = None


@dataclass(frozen=True)
class Initialised:
    """What `initialise` did and what is left to do."""

    identity_made: bool
    recipients: tuple[str, ...]
    """Who may open the file from now on, and could not before."""
    made: tuple[str, ...]
    by_hand: tuple[Required, ...]


class FleetSecrets:
    """A fleet's secrets: single ones from the environment, the others from its file.

    The file is opened when a secret is read that the environment lacks, and only once.
    """

    def __init__(self, vault: Vault) -> None:
        """Open nothing yet."""
        self.vault = vault

    @cached_property
    def _values(self) -> dict[str, str]:
        return self.vault.read().secrets

    def get(self, name: str) -> str:
        """As in `Secrets`."""
        if value := self.vault.environ.get(variable(name)):
            return normalised(value)
        if name not in self._values:
            raise missing(name)
        return self._values[name]

    def names(self) -> tuple[str, ...]:
        """As in `Secrets`; those that the environment alone gives cannot be told."""
        return tuple(sorted(self._values))


def variable(name: str) -> str:
    """The environment variable that gives a secret: `tsig/lab` is MAILWRIGHT_SECRET_TSIG_LAB."""
    return "MAILWRIGHT_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def check_name(name: str) -> None:
    """Refuse what could not be the name of a secret.

    Raises:
        SecretError: saying how names are written.
    """
    if not re.fullmatch(SECRET, name):
        raise SecretError(f"{PATTERNS[SECRET]}: {name[:80]!r}")


def locate(fleet: Fleet, fleet_file: Path, environ: Mapping[str, str] = os.environ) -> Vault:
    """The secrets file of a fleet and the identity file that opens it, neither touched."""
    folder = fleet_file.absolute().parent
    file = beside_file(fleet.secrets.file, folder) or fleet_file.absolute().with_suffix(".secrets.age")
    identity = beside_file(fleet.secrets.identity, folder) or default_identity(environ)
    return Vault(Path(file), Path(identity), environ)


def default_identity(environ: Mapping[str, str]) -> Path:
    """The operator's own identity, outside of any repository (XDG Base Directory Specification)."""
    base = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "mailwright" / "identity"


def open_secrets(fleet: Fleet, fleet_file: Path, environ: Mapping[str, str] = os.environ) -> FleetSecrets:
    """The secrets of a fleet, opened when the first is read."""
    return FleetSecrets(locate(fleet, fleet_file, environ))


def required(
    fleet: Fleet, roles: Sequence[Role] = (), keyring: Keyring | None = None
) -> tuple[Required, ...]:
    """Every secret the fleet file asks for, sorted by name; with `roles`, what these ask for too.

    With its `keyring`, the keys that wait for their turn, and those that mail on its way was signed with.

    Raises:
        NeedsError: the roles of a machine contradict each other.
    """
    found = [
        Required(f"dkim/{d.name.bare}/{k.selector}", f"signs for {d.name.bare} ({k.algorithm})", _dkim(k))
        for d in fleet.domains
        for k in d.dkim
    ]
    found += [
        Required(f"dkim/{d.name.bare}/{k.selector}", f"verifies mail of {d.name.bare} ({k.algorithm})")
        for d in fleet.domains
        for k in (keyring or Keyring()).shown(d)
        if k.state in LIVE and k.selector not in {signer.selector for signer in d.dkim}
    ]
    if fleet.senders:
        found.append(Required("submission-salt", "makes password hashes repeatable", password))
    found += [
        Required(f"submission/{s.login}", f"password of the login {s.login}", password) for s in fleet.senders
    ]
    models: list[BaseModel] = [fleet]
    table = {r.name: r.settings for r in roles}
    for machine in fleet.machines:
        models += [table[name].model_validate(raw) for name, raw in machine.roles.items() if name in table]
    found += [
        Required(name, f"named by {show(where)}")
        for model in models
        for where, name in marked(model, SecretReference)
    ]
    found += _of_roles(fleet, roles)
    return tuple(sorted({one.name: one for one in reversed(found)}.values(), key=lambda one: one.name))


def _of_roles(fleet: Fleet, roles: Sequence[Role]) -> list[Required]:
    """What roles read that no setting names, such as certificates; what many machines share is said once."""
    if not roles:
        return []
    site = Site(fleet, roles, GivenSecrets({}))
    found: dict[str, list[Wanted]] = {}
    for machine in fleet.machines:
        for name, wanted in site.secrets_of(machine).items():
            found.setdefault(name, []).append(wanted)
    return [
        Required(name, first.purpose + (f"; shared by {1 + len(more)} machines" if more else ""), first.make)
        for name, (first, *more) in found.items()
    ]


def initialise(
    fleet: Fleet,
    file: Path,
    identity: Path,
    *,
    extra: Mapping[str, str] | None = None,
    recipients: Iterable[str] = (),
    roles: Sequence[Role] = (),
    environ: Mapping[str, str] = os.environ,
    own_identity: bool = True,
    label: str = "",
) -> Initialised:
    """Make whatever is missing: the identity, the secrets file, and each secret that can be drawn at random.

    What exists is left alone, and so a second run makes nothing. `extra` are secrets that the caller
    knows, stored where they are missing. `recipients` (`age1...` or SSH public keys) may open the file from
    now on beside the identity. `own_identity=False` makes no identity file: the environment has one. `label`
    says whose the identity is.

    Raises:
        NeedsError: the roles of a machine contradict each other. Nothing has been made then.
        SecretError: the file exists and cannot be opened, or something cannot be written.
    """
    wanted = required(fleet, roles)
    vault = Vault(file, identity, environ)
    identity_made = own_identity and not identity.exists()
    if identity_made:
        make_identity(identity)
    with vault.changing() as content:
        before, opened_by = set(content.secrets), list(content.recipients)
        if not content.recipients:
            known = identities(identity, environ)
            ours = [one.recipient for one in known if one.where == str(identity) or not own_identity]
            add_recipients(content, ours, label)
        add_recipients(content, recipients)
        for name, value in (extra or {}).items():
            content.secrets.setdefault(name, normalised(value))
        for one in wanted:
            if one.make and one.name not in content.secrets:
                content.secrets[one.name] = one.make()
        by_hand = tuple(one for one in wanted if one.name not in content.secrets)
        made = tuple(sorted(set(content.secrets) - before))
        added = tuple(one for one in content.recipients if one not in opened_by)
    return Initialised(identity_made, added, made, by_hand)


def password() -> str:
    """32 characters that need no quoting anywhere: 192 random bits."""
    return random.token_urlsafe(24)


def _dkim(key: DkimKey) -> Callable[[], str]:
    return lambda: dkim_private_key(key.algorithm)


def dkim_private_key(algorithm: str) -> str:
    """A new DKIM key, `rsa` or `ed25519`, as PEM (PKCS8)."""
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

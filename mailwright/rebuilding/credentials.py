"""New credentials for a machine at the backup store: the old one's open nothing from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from mailwright.model.backups import SftpStore, secret
from mailwright.model.fleet import Machine
from mailwright.model.secrets_file import Vault
from mailwright.model.site import Site

_ELSEWHERE = ("ssh",)
"""What an SFTP account knows the public half of: to exchange it is the account's owner's to do."""


def drawn(site: Site, machine: Machine) -> Mapping[str, Callable[[], str]]:
    """The machine's secrets towards the store that may be exchanged here, with what draws a value."""
    mine = partial(secret, machine.name)
    kept = {mine(kind) for kind in _ELSEWHERE} if isinstance(site.fleet.backup.store, SftpStore) else set()
    return {
        name: wanted.make
        for name, wanted in site.secrets_of(machine).items()
        if wanted.make and name.startswith(mine("")) and name not in kept
    }


def left(site: Site, machine: Machine) -> tuple[str, ...]:
    """Those that somebody else has to exchange."""
    mine = secret(machine.name, "")
    all_of_it = (name for name in site.secrets_of(machine) if name.startswith(mine))
    return tuple(name for name in all_of_it if name not in drawn(site, machine))


def exchange(vault: Vault, makers: Mapping[str, Callable[[], str]]) -> None:
    """Draw new values, and write them down.

    Raises:
        SecretError: the secrets cannot be opened or written.
    """
    with vault.changing() as content:
        content.secrets.update({name: make() for name, make in makers.items()})

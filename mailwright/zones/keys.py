"""TLSA records for the certificates whose keys the world shall know beforehand."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.errors import MaildnsError
from maildns.policy.tlsa import Tlsa, tlsa_name
from maildns.records import Entry
from mailwright.certificate import NEXT_KEY, PRIVATE_KEY, secret_name
from mailwright.model.errors import DnsError, MissingSecretError
from mailwright.model.fleet import Machine
from mailwright.model.needs import Certificate
from mailwright.model.secrets import Secrets


def key_entries(machine: Machine, certificate: Certificate, secrets: Secrets) -> Iterator[Entry]:
    """The records of a pinned certificate: the key in use, and the next one as soon as there is one.

    Raises:
        DnsError: a secret that holds no private key.
        SecretError: the key in use is missing.
    """
    if not certificate.pinned:
        return
    keys = [(_key(secrets, certificate, PRIVATE_KEY), f"the key of {machine.name}'s mail server")]
    try:
        following = _key(secrets, certificate, NEXT_KEY)
    except MissingSecretError:
        pass
    else:
        keys.append((following, f"the key that {machine.name}'s mail server takes next"))
    for name, port in _places(certificate):
        yield from (key.entry(name, port, reason) for key, reason in keys)


def keys_in_use(certificate: Certificate, secrets: Secrets) -> Iterator[tuple[str, str]]:
    """(TLSA name, value) of the key that machines are given now."""
    for name, port in _places(certificate):
        yield tlsa_name(name, port), _key(secrets, certificate, PRIVATE_KEY).text


def _places(certificate: Certificate) -> Iterator[tuple[str, int]]:
    return ((name, port) for name in certificate.names for port in certificate.pinned)


def _key(secrets: Secrets, certificate: Certificate, part: str) -> Tlsa:
    name = secret_name(certificate, part)
    try:
        return Tlsa.of_private_key(secrets.get(name))
    except MaildnsError as error:
        raise DnsError(f"secret {name}: {error}") from None

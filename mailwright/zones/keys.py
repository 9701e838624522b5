"""TLSA records for the certificates whose keys the world shall know beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress

from maildns.errors import MaildnsError
from maildns.policy.tlsa import Tlsa, tlsa_name
from maildns.records import Entry
from mailwright.certificate import NEXT_KEY, PRIVATE_KEY, secret_name
from mailwright.model.errors import DnsError, MissingSecretError
from mailwright.model.fleet import Machine
from mailwright.model.needs import ALGORITHMS, Certificate, Pair
from mailwright.model.secrets import Secrets


def key_entries(machine: Machine, certificate: Certificate, secrets: Secrets) -> Iterator[Entry]:
    """The records of a pinned certificate: each key in use, and each that is to be, as soon as there is one.

    A key of an algorithm that the certificate is not asked for is one of these: senders must have known it
    for a while before it is served, and may still know it when it is not any more.

    Raises:
        DnsError: a secret that holds no private key.
        SecretError: a key in use is missing.
    """
    if not certificate.pinned:
        return
    keys: list[tuple[Tlsa, str]] = []
    for pair in map(certificate.pair, ALGORITHMS):
        for part in (PRIVATE_KEY, NEXT_KEY):
            used = part == PRIVATE_KEY and pair in certificate.pairs
            with nullcontext() if used else suppress(MissingSecretError):
                how = "serves" if used else "is to serve, or served before"
                reason = f"the {pair.algorithm.upper()} key that {machine.name}'s mail server {how}"
                keys.append((_key(secrets, certificate, pair, part), reason))
    for name, port in _places(certificate):
        yield from (key.entry(name, port, reason) for key, reason in keys)


def keys_in_use(certificate: Certificate, secrets: Secrets) -> Iterator[tuple[str, str]]:
    """(TLSA name, value) of each key that machines are given now."""
    for name, port in _places(certificate):
        for pair in certificate.pairs:
            yield tlsa_name(name, port), _key(secrets, certificate, pair, PRIVATE_KEY).text


def _places(certificate: Certificate) -> Iterator[tuple[str, int]]:
    return ((name, port) for name in certificate.names for port in certificate.pinned)


def _key(secrets: Secrets, certificate: Certificate, pair: Pair, part: str) -> Tlsa:
    name = secret_name(certificate, part, pair)
    try:
        return Tlsa.of_private_key(secrets.get(name))
    except MaildnsError as error:
        raise DnsError(f"secret {name}: {error}") from None

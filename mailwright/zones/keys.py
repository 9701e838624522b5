"""TLSA records for the certificates whose keys the world shall know beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress

from maildns.errors import MaildnsError
from maildns.policy.tlsa import Tlsa, tlsa_name
from maildns.records import Entry
from mailwright.certificate import NEXT_KEY, OLD_KEY, PRIVATE_KEY, secret_name
from mailwright.model.errors import DnsError, MissingSecretError
from mailwright.model.fleet import Machine
from mailwright.model.needs import ALGORITHMS, Certificate, Pair
from mailwright.model.secrets import Secrets

PARTS = {
    PRIVATE_KEY: "has",
    NEXT_KEY: "has next",
    OLD_KEY: "had before",
}
"""The keys of a certificate that are published, as far as there are any, and what a server does with each."""


def key_entries(
    machine: Machine, certificate: Certificate, secrets: Secrets, parts: Iterable[str] = PARTS
) -> Iterator[Entry]:
    """The records of a pinned certificate: each key in use, and the next and the last one while there is one.

    A key of an algorithm that the certificate is not asked for is published, too: senders must have known
    it for a while before it is served, and may still know it when it is not any more.

    Raises:
        DnsError: a secret that holds no private key.
        SecretError: a key in use is missing.
    """
    if not certificate.pinned:
        return
    keys: list[tuple[Tlsa, str]] = []
    for pair in map(certificate.pair, ALGORITHMS):
        for part in parts:
            used = part == PRIVATE_KEY and pair in certificate.pairs
            with nullcontext() if used else suppress(MissingSecretError):
                how = PARTS[part] if used or part != PRIVATE_KEY else "is to have"
                reason = f"the {pair.prefix}key that {machine.name}'s mail server {how}"
                keys.append((key_of(secrets, certificate, pair, part), reason))
    for name, port in certificate.pinned:
        yield from (key.entry(name, port, reason) for key, reason in keys)


def keys_in_use(certificate: Certificate, secrets: Secrets) -> Iterator[tuple[str, str]]:
    """(TLSA name, value) of each key that machines are given now."""
    for name, port in certificate.pinned:
        for pair in certificate.pairs:
            yield tlsa_name(name, port), key_of(secrets, certificate, pair, PRIVATE_KEY).text


def key_of(secrets: Secrets, certificate: Certificate, pair: Pair, part: str) -> Tlsa:
    """What the world is told of a key among the secrets.

    Raises:
        DnsError: it is no private key.
        SecretError: it is missing.
    """
    name = secret_name(certificate, part, pair)
    try:
        return Tlsa.of_private_key(secrets.get(name))
    except MaildnsError as error:
        raise DnsError(f"secret {name}: {error}") from None

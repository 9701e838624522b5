"""The DKIM records of a domain: every key the world must be able to verify with, or must see revoked."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.errors import MaildnsError
from maildns.policy.dkim import DkimKey, selector_name
from maildns.records import Entry
from maildns.rotation import Key, State
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.keyring import Keyring
from mailwright.model.secrets import Secrets

_WHY = {
    State.PUBLISHED: "will verify {0} signatures of {1}",
    State.SIGNING: "verifies {0} signatures of {1}",
    State.RETIRING: "verifies {0} signatures of {1} on mail that is still on its way",
    State.REVOKED: "revokes an {0} key of {1}",
}


def dkim_entries(domain: Domain, keyring: Keyring, secrets: Secrets) -> Iterator[Entry]:
    """A record for each key.

    Raises:
        DnsError, SecretError: a key is missing from the secrets, or another than it should be.
    """
    for key in keyring.shown(domain):
        reason = _WHY[key.state].format(key.algorithm, domain.name.bare)
        yield shown_key(domain, key, secrets).entry(str(domain.name), key.selector, reason)


def shown_key(domain: Domain, key: Key, secrets: Secrets) -> DkimKey:
    """What the world must see of a key: its public half, or that it is revoked.

    Raises:
        DnsError, SecretError: as `dkim_entries`.
    """
    if key.state is State.REVOKED:
        return DkimKey(key.algorithm, "")
    secret = secret_name(domain, key.selector)
    try:
        public = DkimKey.from_private(secrets.get(secret))
    except MaildnsError as error:
        raise DnsError(f"secret {secret}: {error}") from None
    if public.algorithm != key.algorithm:
        where = selector_name(str(domain.name), key.selector)
        raise DnsError(
            f"secret {secret} holds an {public.algorithm} key; the fleet says {key.algorithm} ({where})"
        )
    return public


def secret_name(domain: Domain, selector: str) -> str:
    """What the secrets call the private half."""
    return f"dkim/{domain.name.bare}/{selector}"

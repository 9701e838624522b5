"""From a provider in the fleet file to one that can be asked: secrets looked up, nothing connected yet."""

from __future__ import annotations

import sys
import threading
from functools import singledispatch

from maildns.provider import Provider
from maildns.providers.rfc2136 import Rfc2136
from mailwright.model import providers
from mailwright.model.errors import DnsError
from mailwright.model.secrets import Secrets
from mailwright.model.site import Site


class Providers:
    """The providers of a site, each opened when it is first asked for, and once.

    One object knows its account's zones, paces its requests and keeps its connections; several
    threads share it.
    """

    def __init__(self, site: Site) -> None:
        """Open nothing yet."""
        self._site = site
        self._opened: dict[str, Provider] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Provider:
        """The provider that the fleet file calls `name`.

        Raises:
            SecretError: its credentials are not among the secrets.
            DnsError: what it needs is not installed.
        """
        with self._lock:
            if name not in self._opened:
                self._opened[name] = _open(self._site.fleet.providers[name], self._site.secrets)
            return self._opened[name]


def provider_of(site: Site, name: str) -> Provider:
    """One provider, for who needs no other."""
    return Providers(site)[name]


@singledispatch
def _open(where: object, _: Secrets) -> Provider:
    raise TypeError(f"no provider for {type(where).__name__}")


@_open.register
def _(where: providers.Rfc2136, secrets: Secrets) -> Provider:
    key = secrets.get(where.key)
    return Rfc2136(str(where.server), where.key_name, key, port=where.port, algorithm=where.algorithm)


@_open.register
def _(where: providers.Route53, secrets: Secrets) -> Provider:
    from maildns.providers.route53 import Route53  # noqa: PLC0415 - boto3 takes longer to load than all of ours

    keys = (
        (secrets.get(where.key_id).strip(), secrets.get(where.key).strip())
        if where.key_id and where.key
        else None
    )
    return Route53(where.profile, where.endpoint, keys)


@_open.register
def _(where: providers.Octodns, secrets: Secrets) -> Provider:
    values = {option: secrets.get(name) for option, name in where.secrets.items()}
    try:
        from maildns.providers.octodns_adapter import Octodns  # noqa: PLC0415 - an extra, only here where it is used
    except ModuleNotFoundError as error:
        package = where.provider.partition(".")[0].replace("_", "-")
        raise DnsError(
            f"{where.provider} needs octoDNS (no module {error.name}): "
            f"pip install 'mailwright[octodns]' {package}"
        ) from None
    return Octodns(where.provider, where.options, values)


@_open.register
def _(where: providers.Cloudflare, secrets: Secrets) -> Provider:
    from maildns.providers.cloudflare import ENDPOINT, Cloudflare  # noqa: PLC0415 - httpx, only where it is used

    token, endpoint = secrets.get(where.token).strip(), where.endpoint or ENDPOINT
    return Cloudflare(token, comments=where.ownership == "comments", endpoint=endpoint, say=_tell_operator)


def _tell_operator(sentence: str) -> None:
    """While a command waits, and beside what it prints for programs."""
    sys.stderr.write(f"{sentence}\n")

"""From a provider in the fleet file to one that can be asked: secrets looked up, nothing connected yet."""

from __future__ import annotations

from functools import singledispatch

from maildns.provider import Provider
from maildns.rfc2136 import Rfc2136
from mailwright.model import providers
from mailwright.model.secrets import Secrets
from mailwright.model.site import Site


def provider_of(site: Site, name: str) -> Provider:
    """The provider that the fleet file calls `name`.

    Raises:
        SecretError: its credentials are not among the secrets.
    """
    return _open(site.fleet.providers[name], site.secrets)


@singledispatch
def _open(where: object, _: Secrets) -> Provider:
    raise TypeError(f"no provider for {type(where).__name__}")


@_open.register
def _(where: providers.Rfc2136, secrets: Secrets) -> Provider:
    key = secrets.get(where.key)
    return Rfc2136(str(where.server), where.key_name, key, port=where.port, algorithm=where.algorithm)

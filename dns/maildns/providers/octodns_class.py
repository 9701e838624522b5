"""Classes of octoDNS providers: found by name, asked without noise, their errors made one line."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module

from octodns.provider.base import BaseProvider
from octodns.zone import Zone

from maildns.provider import ProviderError

_LOUD = ("Record", "Zone", "Plan")
"""Loggers of octoDNS that warn of other people's records."""

_NEEDED = frozenset({"A", "AAAA", "CAA", "CNAME", "DNAME", "DS", "MX", "NS", "PTR", "SRV", "TLSA", "TXT"})
"""What fleets want, and what stands in its way."""


def provider_class(dotted: str) -> type[BaseProvider]:
    """The provider's class.

    Raises:
        ProviderError: the package is missing (the message has the command that installs it), or has no
            such class.
    """
    module, _, name = dotted.rpartition(".")
    top = module.partition(".")[0]
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        package = top.replace("_", "-")
        missing = f"; it wants the module {error.name}" if error.name not in {module, top} else ""
        raise ProviderError(
            f"{dotted} is not installed{missing}: pip install 'mailwright[octodns]' {package}"
        ) from None
    if not (isinstance(found, type) and issubclass(found, BaseProvider)):
        raise ProviderError(f"{module} has no octoDNS provider {name}")
    return found


def populated(provider: BaseProvider, name: str) -> tuple[Zone, bool | None, bool]:
    """A zone, whether it exists, and whether all that the provider supports was read.

    Where octoDNS stumbles over a record, somebody else's as a rule (a URI with a blank in it), the zone is
    read without the types that mail has no use for, as if the provider did not support them.
    """
    zone = Zone(name, [])
    try:
        return zone, provider.populate(zone, target=True, lenient=True), True
    except OSError:  # nobody there, or not for us: errors of requests are of this kind
        raise
    except Exception:
        less = _NEEDED & set(provider.SUPPORTS)
        if less == set(provider.SUPPORTS):
            raise
        provider.SUPPORTS = less
        zone = Zone(name, [])
        return zone, provider.populate(zone, target=True, lenient=True), False


def hush(provider_log: logging.Logger) -> None:
    """Keep octoDNS off standard error.

    Without a handler anywhere Python prints warnings there; whoever wants them, adds a handler.
    """
    for log in (provider_log, *map(logging.getLogger, _LOUD)):
        if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
            log.addHandler(logging.NullHandler())


@contextmanager
def asking(who: str, secrets: Iterable[str]) -> Iterator[None]:
    """Turn whatever a provider raises into one line without its secrets.

    Raises:
        ProviderError: instead of anything else.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - fifty providers, each with its own errors
        answer = getattr(getattr(error, "response", None), "text", "")
        said = " ".join(f"{type(error).__name__}: {error} {answer}".split())
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            said = said.replace(secret, "***")
        raise ProviderError(f"{who}: {said[:400]}") from None

"""The evaluator's questions to a resolver, through dnspython."""

from __future__ import annotations

import dns.exception
import dns.name
import dns.resolver

from maildns.policy.spf.lookup import LookupFailedError
from maildns.records import from_rdata


class ResolverLookup:
    """A `Lookup` over a resolver, which follows aliases itself. Each set is asked for once."""

    def __init__(self, resolver: dns.resolver.Resolver | None = None, lifetime: float = 5.0) -> None:
        """`resolver` defaults to the system's; `lifetime` is in seconds, for one set."""
        self._resolver = resolver or dns.resolver.Resolver()
        self._lifetime = lifetime
        self._answers: dict[tuple[str, str], tuple[str, ...] | LookupFailedError] = {}

    def __call__(self, name: str, type_: str) -> tuple[str, ...]:
        """As in `Lookup`."""
        key = (name, type_)
        if key not in self._answers:
            self._answers[key] = self._ask(name, type_)
        answer = self._answers[key]
        if isinstance(answer, LookupFailedError):
            raise answer
        return answer

    def _ask(self, name: str, type_: str) -> tuple[str, ...] | LookupFailedError:
        labels = name.removesuffix(".").encode("utf-8", "surrogateescape").split(b".")
        try:
            found = self._resolver.resolve(
                dns.name.Name([*labels, b""]), type_, raise_on_no_answer=False, lifetime=self._lifetime
            )
        except dns.resolver.NXDOMAIN:
            return ()
        except dns.exception.DNSException as error:
            return LookupFailedError(f"{name} {type_}: {_one_line(error)}")
        return tuple(from_rdata(rdata) for rdata in found.rrset or ())


def _one_line(error: dns.exception.DNSException) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    return "no server gives an answer" if isinstance(error, dns.resolver.NoNameservers) else str(error)

"""How many lookups a policy can cost, includes of includes counted (RFC 7208 section 4.6.4)."""

from __future__ import annotations

from dataclasses import dataclass

from maildns.policy.spf.lookup import Lookup, askable
from maildns.policy.spf.macros import MacroString, target_name
from maildns.policy.spf.record import MAX_LOOKUPS, is_spf
from maildns.policy.spf.syntax import LOOKUP_MECHANISMS, Directive, Policy, SpfSyntaxError, parse


@dataclass(frozen=True)
class Cost:
    """What a receiver pays when nothing matches before the end."""

    lookups: int
    terms: tuple[tuple[str, int], ...]
    """Each term that costs any, as published, and what it costs with all behind it."""

    @property
    def too_much(self) -> bool:
        """Whether receivers give up: the eleventh lookup is a permanent error."""
        return self.lookups > MAX_LOOKUPS

    @property
    def sentence(self) -> str:
        """The sum, and where it comes from."""
        most = ", ".join(f"{term} {n}" for term, n in sorted(self.terms, key=lambda t: -t[1]))
        return f"{self.lookups} of {MAX_LOOKUPS} lookups ({most})" if most else "no lookups"


def count_lookups(text: str, domain: str, lookup: Lookup) -> Cost:
    """The cost of a policy, read to its end: of `text` as the record of `domain`.

    An include or redirect whose name depends on the message counts as one: nobody knows more.

    Raises:
        SpfSyntaxError: a record on the way is missing, malformed or there twice, or includes itself.
        LookupFailedError: DNS does not say.
    """
    return _Counter(lookup).cost(parse(text), domain.removesuffix(".").lower())


class _Counter:
    """What is known of the domains on the way, so that each is asked for once."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._known: dict[str, int] = {}
        self._path: list[str] = []

    def cost(self, policy: Policy, domain: str) -> Cost:
        self._path.append(domain)
        terms = [(d.text, self._directive(d, domain)) for d in evaluated(policy)]
        if policy.redirect and not policy.has_all:
            terms.append((f"redirect={policy.redirect.text}", 1 + self._behind(policy.redirect, domain)))
        self._path.pop()
        paid = tuple((text, n) for text, n in terms if n)
        return Cost(sum(n for _, n in paid), paid)

    def _directive(self, directive: Directive, domain: str) -> int:
        if directive.mechanism not in LOOKUP_MECHANISMS:
            return 0
        if directive.mechanism == "include" and directive.domain:
            return 1 + self._behind(directive.domain, domain)
        return 1

    def _behind(self, spec: MacroString, domain: str) -> int:
        target = constant_target(spec, domain)
        if target is None:
            return 0
        if target in self._path:
            raise SpfSyntaxError(f"{' includes '.join([*self._path, target])}: a circle")
        if target not in self._known:
            self._known[target] = self.cost(policy_of(target, self._lookup), target).lookups
        return self._known[target]


def evaluated(policy: Policy) -> tuple[Directive, ...]:
    """The directives that a receiver ever gets to: what follows `all` is never tested (section 5.1)."""
    kinds = [each.mechanism for each in policy.directives]
    return policy.directives[: kinds.index("all") + 1] if policy.has_all else policy.directives


def constant_target(spec: MacroString, domain: str) -> str | None:
    """The name, undotted, that a spec stands for whatever the message; `None` where that depends."""
    if spec.letters - {"d"}:
        return None
    return target_name(spec, lambda _: domain).removesuffix(".")


def policy_of(domain: str, lookup: Lookup) -> Policy:
    """The published policy of a domain that is included: it must be there, once (section 5.2).

    Raises:
        SpfSyntaxError: it is missing, malformed or there twice.
        LookupFailedError: DNS does not say.
    """
    records = [text for text in lookup(domain + ".", "TXT") if is_spf(text)] if askable(domain) else []
    if len(records) != 1:
        raise SpfSyntaxError(f"{domain} has {len(records) or 'no'} SPF records instead of one")
    try:
        return parse(records[0])
    except SpfSyntaxError as error:
        raise SpfSyntaxError(f"{domain}: {error}") from None

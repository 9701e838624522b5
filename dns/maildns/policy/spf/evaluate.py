"""`check_host()` (RFC 7208 section 4): what receivers conclude from a policy. Pure: DNS is handed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from maildns.errors import RecordError
from maildns.names import within
from maildns.policy.hosts import reverse_name
from maildns.policy.spf.lookup import Lookup, LookupFailedError, askable
from maildns.policy.spf.macros import MacroString, explain_string, target_name
from maildns.policy.spf.message import UNKNOWN, Address, Message
from maildns.policy.spf.record import MAX_LOOKUPS, is_spf
from maildns.policy.spf.syntax import LOOKUP_MECHANISMS, Directive, Policy, SpfSyntaxError, parse

MAX_VOIDS = 2
"""Lookups that may give nothing (section 4.6.4, end of section 11.1)."""

MAX_HOSTS = 10
"""MX hosts and PTR names whose addresses are looked up (section 4.6.4)."""


class Result(StrEnum):
    """What a receiver knows then (section 2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - the field's term
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


QUALIFIERS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


@dataclass(frozen=True)
class Evaluation:
    """A result and how it came about."""

    result: Result
    reason: str
    """One sentence for the operator."""
    mechanism: str = ""
    """The directive that decided, as published; of an include, the include. Empty where none did."""
    domain: str = ""
    """Whose policy holds it: after a redirect, the other domain."""
    explanation: str = ""
    """What the domain says to senders that fail (`exp=`)."""
    lookups: int = 0
    """How many of the ten lookups it took."""
    voids: int = 0
    """How many lookups gave nothing."""


def check_host(
    ip: Address,
    domain: str,
    sender: str,
    helo: str,
    lookup: Lookup,
    *,
    receiver: str = UNKNOWN,
    clock: Callable[[], float] = time.time,
) -> Evaluation:
    """Judge a connection from `ip` that says MAIL FROM:<sender> after HELO `helo`.

    `domain` is the sender's, or `helo` when that is judged or the sender is null. An empty `sender`
    stands for the null sender, `postmaster@HELO` (section 2.4). `receiver` and `clock` (seconds since
    1970) only show in explanations.
    """
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped  # section 5: an IPv4 client by whatever notation
    local, _, sender_domain = (sender or helo).rpartition("@")
    message = Message(ip, local or "postmaster", sender_domain, helo, receiver, clock)
    check = _Check(message, lookup)
    outcome = check.host(domain)
    return replace(outcome, lookups=check.lookups, voids=check.voids)


class _PermError(Exception):
    """The policy cannot be interpreted (section 2.6.7)."""


@dataclass
class _Check:
    """One evaluation with its limits, through all includes and redirects."""

    message: Message
    lookup: Lookup
    lookups: int = 0
    voids: int = 0
    unlimited: bool = False
    """In an explanation: what it looks up no longer decides anything."""
    _names: list[str] | None = None
    """What `%{p}` chooses from: looked up once."""

    def host(self, domain: str) -> Evaluation:
        """Judge by a domain's policy, errors turned into results."""
        try:
            return self._judge(domain)
        except LookupFailedError as error:
            return Evaluation(Result.TEMPERROR, str(error), domain=domain)
        except (_PermError, SpfSyntaxError) as error:
            return Evaluation(Result.PERMERROR, str(error), domain=domain)

    def _judge(self, domain: str, *, included: bool = False) -> Evaluation:
        domain = domain.removesuffix(".").lower()
        if not (askable(domain) and "." in domain and domain.isascii()):
            return Evaluation(Result.NONE, f"{domain[:80]!r} is not a full domain name", domain=domain)
        policy = self._policy(domain)
        if policy is None:
            return Evaluation(Result.NONE, f"{domain} has no SPF record", domain=domain)
        for directive in policy.directives:
            if self._matches(directive, domain):
                return self._matched(directive, None if included else policy.exp, domain)
        if policy.redirect is None:
            return Evaluation(Result.NEUTRAL, f"no mechanism of {domain} matches", domain=domain)
        return self._redirected(policy.redirect, domain, included=included)

    def _policy(self, domain: str) -> Policy | None:
        """The one record among the TXT values (sections 4.4, 4.5)."""
        records = [text for text in self._ask(domain + ".", "TXT") if is_spf(text)]
        if len(records) > 1:
            raise _PermError(f"{domain} has {len(records)} SPF records (RFC 7208 section 4.5)")
        try:
            return parse(records[0]) if records else None
        except SpfSyntaxError as error:
            raise _PermError(f"{domain}: {error}") from None

    def _matched(self, directive: Directive, exp: MacroString | None, domain: str) -> Evaluation:
        """The explanation is that of the policy that fails: of a redirect's target, never of an include's."""
        result = QUALIFIERS[directive.qualifier]
        reason = f"{self.message.ip} matches {directive.text} of {domain}"
        explanation = self._explain(exp, domain) if result is Result.FAIL and exp else ""
        return Evaluation(result, reason, directive.text, domain, explanation)

    def _redirected(self, redirect: MacroString, domain: str, *, included: bool) -> Evaluation:
        """The other domain's result is ours (section 6.1)."""
        self._count(f"redirect={redirect.text}", domain)
        target = self._target(redirect, domain)
        outcome = self._judge(target, included=included)
        if outcome.result is Result.NONE:
            raise _PermError(f"{domain} redirects to {target}, which has no SPF record")
        return outcome

    def _matches(self, directive: Directive, domain: str) -> bool:
        if directive.mechanism in LOOKUP_MECHANISMS:
            self._count(directive.text, domain)
        target = self._target(directive.domain, domain)
        match directive.mechanism:
            case "all":
                found = True
            case "ip4" | "ip6":
                found = self._in_network(directive.network)
            case "include":
                found = self._included(target, domain)
            case "a":
                found = self._at_address(target, directive)
            case "mx":
                found = self._at_exchanger(target, directive)
            case "ptr":
                found = any(within(name, target) for name in self._validated_names())
            case _:  # exists: always A, whatever the client speaks (section 5.7)
                found = bool(self._ask(target, "A"))
        return found

    def _included(self, target: str, domain: str) -> bool:
        """An include matches when the other policy passes; "none" there is an error (section 5.2)."""
        outcome = self._judge(target, included=True)
        if outcome.result is Result.NONE:
            raise _PermError(f"{domain} includes {target}, which has no SPF record")
        return outcome.result is Result.PASS

    def _at_exchanger(self, target: str, directive: Directive) -> bool:
        hosts = [value.split()[-1].lower() for value in self._ask(target, "MX")]
        if len(hosts) > MAX_HOSTS:
            raise _PermError(
                f"{directive.text}: {len(hosts)} MX hosts, more than {MAX_HOSTS} (RFC 7208 section 4.6.4)"
            )
        return any(self._at_address(host, directive) for host in hosts)

    def _at_address(self, host: str, directive: Directive) -> bool:
        ip = self.message.ip
        prefix = directive.prefixes[0 if isinstance(ip, IPv4Address) else 1]
        return any(self._in_network(_network(address, prefix)) for address in self._ask(host, self._type))

    def _in_network(self, network: IPv4Network | IPv6Network | None) -> bool:
        return network is not None and self.message.ip in network

    @property
    def _type(self) -> str:
        return "A" if isinstance(self.message.ip, IPv4Address) else "AAAA"

    def _target(self, spec: MacroString | None, domain: str) -> str:
        if spec is None:
            return domain + "."
        return target_name(spec, lambda letter: self._value(letter, domain))

    def _value(self, letter: str, domain: str) -> str:
        if letter == "d":
            return domain
        return self._validated_name(domain) if letter == "p" else self.message.letter(letter)

    def _validated_name(self, domain: str) -> str:
        """What `%{p}` stands for: the domain itself, a name below it, any, or "unknown"."""
        if self._names is None:
            if not self.unlimited:
                self._count("%{p}", domain)
            self._names = self._validated_names()
        names = [name.removesuffix(".") for name in self._names]
        ranked = sorted(names, key=lambda name: (name != domain, not within(name, domain)))
        return ranked[0] if ranked else UNKNOWN

    def _validated_names(self) -> list[str]:
        """Names whose PTR and address agree (section 5.5): of the first ten; DNS errors make none."""
        names = self._ask_if_answered(reverse_name(self.message.ip), "PTR")
        few = list(dict.fromkeys(name.lower() for name in names))[:MAX_HOSTS]
        return [name for name in few if self._has_client(self._ask_if_answered(name, self._type))]

    def _has_client(self, addresses: tuple[str, ...]) -> bool:
        return any(self._in_network(_network(address)) for address in addresses)

    def _ask_if_answered(self, name: str, type_: str) -> tuple[str, ...]:
        try:
            return self._ask(name, type_)
        except LookupFailedError:
            return ()

    def _explain(self, exp: MacroString, domain: str) -> str:
        """The explanation; empty when there is anything wrong with it (section 6.2)."""
        self.unlimited = True
        try:
            texts = self._ask(self._target(exp, domain), "TXT")
            if len(texts) != 1 or not texts[0].isascii():
                return ""
            return explain_string(texts[0]).expand(lambda letter: self._value(letter, domain))
        except (LookupFailedError, RecordError):
            return ""
        finally:
            self.unlimited = False

    def _ask(self, name: str, type_: str) -> tuple[str, ...]:
        """Ask, and count what gives nothing. A name that no query can be made of does not exist."""
        if not askable(name):
            return ()
        values = self.lookup(name, type_)
        if not values and not self.unlimited:
            self.voids += 1
            if self.voids > MAX_VOIDS:
                raise _PermError(
                    f"{name} {type_} gives nothing, as did {MAX_VOIDS} lookups before (section 4.6.4)"
                )
        return values

    def _count(self, term: str, domain: str) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _PermError(
                f"{term} of {domain} is lookup {self.lookups}; {MAX_LOOKUPS} are allowed (section 4.6.4)"
            )


def _network(address: str, prefix: int | None = None) -> IPv4Network | IPv6Network:
    kind = IPv6Network if ":" in address else IPv4Network
    return kind(address if prefix is None else (address, prefix), strict=False)

"""Lints about SPF."""

from __future__ import annotations

from collections.abc import Iterator

from maildns.judging.lint.rule import Found, Rule, Severity, several
from maildns.judging.lint.view import View
from maildns.policy.spf import LookupFailedError, Policy, SpfSyntaxError, parse
from maildns.policy.spf.count import count_lookups, evaluated
from maildns.policy.spf.flatten import BUDGET, fits

DATAGRAM = 1232
"""Octets of an answer that pass everywhere without fragments (DNS flag day 2020)."""


def _policies(view: View) -> Iterator[tuple[str, str, Policy]]:
    """Records that stand alone and can be read."""
    for name, texts in view.spf():
        if len(texts) == 1:
            try:
                yield name, texts[0], parse(texts[0])
            except SpfSyntaxError:
                continue


def _broken(view: View) -> Found:
    for name, texts in view.spf():
        for text in texts:
            try:
                parse(text)
            except SpfSyntaxError as error:
                yield name, f"receivers cannot read the SPF record: {error}"


def _several(view: View) -> Found:
    return several(view.spf(), "SPF", "RFC 7208 section 4.5")


def _anybody(view: View) -> Found:
    for name, text, policy in _policies(view):
        if any(d.mechanism == "all" and d.qualifier == "+" for d in policy.directives) or _whole(policy):
            yield name, f"{text} lets anybody send; end it in -all or ~all"


def _whole(policy: Policy) -> bool:
    """Whether a network is everything: `ip4:0.0.0.0/0`, `a/0`, `mx//0`."""
    return any(
        d.qualifier == "+" and (0 in d.prefixes or (d.network is not None and not d.network.prefixlen))
        for d in policy.directives
    )


def _open_end(view: View) -> Found:
    for name, _, policy in _policies(view):
        ends = [d for d in policy.directives if d.mechanism == "all"]
        if (ends and ends[0].qualifier == "?") or not (ends or policy.redirect):
            yield name, "says nothing about everybody else; end it in -all or ~all"


def _pointer(view: View) -> Found:
    for name, _, policy in _policies(view):
        if any(d.mechanism == "ptr" for d in policy.directives):
            yield (
                name,
                "ptr is slow, and receivers may skip it (RFC 7208 section 5.5); name addresses instead",
            )


def _unreachable(view: View) -> Found:
    for name, _, policy in _policies(view):
        rest = [d.text for d in policy.directives[len(evaluated(policy)) :]]
        rest += [f"redirect={policy.redirect.text}"] if policy.redirect and policy.has_all else []
        if rest:
            yield name, f"nobody ever gets to {' '.join(rest)} behind all; put it before, or leave it out"


def _lookups(view: View) -> Found:
    for name, text, _ in _policies(view):
        try:
            cost = count_lookups(text, name, view.lookup)
        except (SpfSyntaxError, LookupFailedError):
            continue  # _include is about the one, and nobody knows about the other
        if cost.too_much:
            yield (
                name,
                f"{cost.sentence}: receivers give up; leave includes out, or flatten them (spf.flatten)",
            )


def _include(view: View) -> Found:
    for name, text, _ in _policies(view):
        try:
            count_lookups(text, name, view.lookup)
        except SpfSyntaxError as error:
            yield name, f"{error}: a permanent error for whoever includes it; leave it out, or have it mended"
        except LookupFailedError:
            continue


def _size(view: View) -> Found:
    for name, text, _ in _policies(view):
        together = sum(_octets(name, value) for value in view.values(name, "TXT"))
        if not fits(name, text):
            yield name, f"{len(text)} octets: above {BUDGET} with the name (RFC 7208 section 3.4)"
        elif together > DATAGRAM:
            yield name, f"its TXT records take {together} octets: above {DATAGRAM} answers need TCP"


def _octets(name: str, text: str) -> int:
    """What a TXT record takes in an answer, at most: name, fixed fields, and a length for each 255 octets."""
    size = len(text.encode("utf-8", "surrogateescape"))
    return len(name) + 11 + size + size // 255 + 1


RULES = (
    Rule("spf-broken", Severity.ERROR, _broken),
    Rule("spf-several", Severity.ERROR, _several),
    Rule("spf-all", Severity.ERROR, _anybody),
    Rule("spf-lookups", Severity.ERROR, _lookups),
    Rule("spf-include", Severity.ERROR, _include),
    Rule("spf-open", Severity.WARNING, _open_end),
    Rule("spf-ptr", Severity.WARNING, _pointer),
    Rule("spf-unreachable", Severity.WARNING, _unreachable),
    Rule("spf-size", Severity.WARNING, _size),
)

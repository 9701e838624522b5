"""Lints: what a zone may hold by the RFCs, and yet is a mistake in most cases. Pure.

A lint has a name, by which it is accepted where it is meant so, a severity, and a sentence that says what to
do. It looks at sets of records, wanted or observed alike, and at what is known about them (`Context`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from maildns.judging.lint import dkim, dmarc, mail, spf
from maildns.judging.lint.rule import Finding, Rule, Severity
from maildns.judging.lint.view import Context, View
from maildns.records import RRset

__all__ = ["RULES", "Context", "Finding", "Rule", "Severity", "lint"]

RULES: tuple[Rule, ...] = (*spf.RULES, *dmarc.RULES, *dkim.RULES, *mail.RULES)
"""Every lint there is."""

Accepted = Callable[[str, str], bool]
"""Whether a lint, by name, is accepted about a DNS name."""


def lint(
    rrsets: Iterable[RRset], context: Context, accepted: Accepted = lambda _name, _about: False
) -> tuple[Finding, ...]:
    """Everything that is found and not accepted, errors first."""
    view = View(rrsets, context)
    found = [
        Finding(rule.name, rule.severity, about, sentence)
        for rule in RULES
        for about, sentence in rule.find(view)
        if not accepted(rule.name, about)
    ]
    return tuple(sorted(found, key=lambda f: (f.severity is not Severity.ERROR, f.about, f.name)))

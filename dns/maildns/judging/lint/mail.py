"""Lints about how mail comes to a domain, and how long records live."""

from __future__ import annotations

import contextlib
from collections import Counter

from maildns.errors import RecordError
from maildns.judging.lint.rule import Found, Rule, Severity
from maildns.judging.lint.view import View
from maildns.policy.caa import parse_caa
from maildns.policy.hosts import NULL_MX

SHORTEST, LONGEST = 300, 86_400
"""Seconds. Below, every mail asks anew and some resolvers do not listen; above, a mistake stays for days."""


def _null_mx(view: View) -> Found:
    for domain in view.context.senders:
        if view.values(domain, "MX") == (NULL_MX,):
            yield (
                domain,
                "is sent from and takes no mail: receivers refuse that (RFC 7505 section 4.2); give it an MX",
            )


def _no_tls_reports(view: View) -> Found:
    for domain in sorted(view.context.enforcing):
        if not view.values(f"_smtp._tls.{domain}", "TXT"):
            yield (
                domain,
                "MTA-STS is enforced, and nobody reports when it keeps mail away; add tls_rpt (RFC 8460)",
            )


def _caa(view: View) -> Found:
    refused: dict[tuple[str, str], list[str]] = {}
    for name, (authority, method) in sorted(view.context.issued.items()):
        holder = _caa_holder(view, name)
        if holder and not _may_issue(view.values(holder, "CAA"), authority, method):
            refused.setdefault((holder, f"{authority.removesuffix('.')} by {method}"), []).append(name)
    for (holder, what), names in refused.items():
        shown = ", ".join(name.removesuffix(".") for name in names)
        yield holder, f"its CAA records do not let {what} issue for {shown}; add it to caa.issuers"


def _caa_holder(view: View, name: str) -> str | None:
    """The nearest name at or above with CAA records: those alone count (RFC 8659 section 3)."""
    while name and not view.values(name, "CAA"):
        name = name.partition(".")[2]
    return name or None


def _may_issue(values: tuple[str, ...], authority: str, method: str) -> bool:
    with contextlib.suppress(RecordError):
        for issuer in parse_caa(values).issuers:
            if issuer.name == authority and method in (issuer.validationmethods or (method,)):
                return True
    return False


def _ttl(view: View) -> Found:
    ours = view.context.ours
    odd = [r for r in view.rrsets if not SHORTEST <= r.ttl <= LONGEST and (ours is None or r.key in ours)]
    for ttl, count in sorted(Counter(each.ttl for each in odd).items()):
        about = min((each.name for each in odd if each.ttl == ttl), key=lambda name: (len(name), name))
        more = f" (and {count - 1} more sets)" if count > 1 else ""
        yield about, f"a TTL of {ttl} s{more}; between {SHORTEST} and {LONGEST} is sane"


RULES = (
    Rule("null-mx-sender", Severity.ERROR, _null_mx),
    Rule("sts-reports", Severity.WARNING, _no_tls_reports),
    Rule("caa-issuer", Severity.WARNING, _caa),
    Rule("ttl", Severity.WARNING, _ttl),
)

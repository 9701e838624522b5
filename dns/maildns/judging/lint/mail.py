"""Lints about how mail comes to a domain, and how long records live."""

from __future__ import annotations

from collections import Counter

from maildns.judging.lint.rule import Found, Rule, Severity
from maildns.judging.lint.view import View
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
    Rule("ttl", Severity.WARNING, _ttl),
)

"""Lints about DMARC, and about what depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from maildns.errors import RecordError
from maildns.judging.lint.rule import Found, Rule, Severity, several
from maildns.judging.lint.view import View
from maildns.policy.bimi import is_bimi, too_weak
from maildns.policy.dkim import is_live_key
from maildns.policy.dmarc import STAGES, Dmarc
from maildns.policy.spf import Result, check_host

WATCHING = timedelta(days=90)
"""Reports of three months show every stream of mail: newsletters of a quarter are among them."""


def _broken(view: View) -> Found:
    for domain, texts in view.dmarc():
        for text in texts if len(texts) == 1 else ():
            try:
                Dmarc.parse(text)
            except RecordError as error:
                yield domain, f"receivers apply no DMARC policy: {error}"


def _several(view: View) -> Found:
    return several(view.dmarc(), "DMARC", "RFC 7489 section 6.6.3")


def _none_for_long(view: View) -> Found:
    for domain, policy in view.policies.items():
        if policy.policy != "none" or domain not in view.context.since:
            continue
        since = view.context.since[domain]
        if since is None:
            yield domain, "p=none, and nobody wrote down since when (dmarc.since), so nobody will be reminded"
        elif view.context.today - since > WATCHING:
            yield (
                domain,
                f"p=none since {since}: it protects nobody; read the reports, then quarantine, then reject",
            )


def _weaker_below(view: View) -> Found:
    for domain, policy in view.policies.items():
        if STAGES.index(policy.below) < STAGES.index(policy.policy):
            yield (
                domain,
                f"sp={policy.below} is weaker than p={policy.policy}: forgers use names below; leave sp= out",
            )


def _no_reports(view: View) -> Found:
    for domain, policy in view.policies.items():
        if not policy.rua:
            yield (
                domain,
                "no rua=: nobody tells what fails; have aggregate reports sent to a mailbox (dmarc.rua)",
            )


def _bimi(view: View) -> Found:
    for each in view.rrsets:
        _, bimi, domain = each.name.partition("._bimi.")
        if each.type != "TXT" or not bimi or not any(map(is_bimi, each.rdata)):
            continue
        found = view.policy_for(domain)
        why = too_weak(found) if found else "BIMI needs a DMARC policy, and there is none"
        if why:
            yield domain, f"{why}; until then nobody shows the logo"


def _proofs(view: View) -> Iterator[tuple[str, Dmarc, bool, bool]]:
    """Each domain that is sent from, its policy, and whether DKIM and SPF align for all its mail."""
    signing = {
        name.partition("._domainkey.")[2] for name, text in view.dkim_keys() if is_live_key(name, text)
    }
    for domain, addresses in view.context.senders.items():
        found = view.policy_for(domain)
        if found is None:
            continue
        # The envelope sender is of the domain itself, so SPF aligns where it passes.
        bare = domain.removesuffix(".")
        results = [check_host(ip, bare, f"a@{bare}", bare, view.lookup).result for ip in addresses]
        passes = all(result in (Result.PASS, Result.TEMPERROR) for result in results)
        yield domain, found, domain in signing, passes


def _no_proof(view: View) -> Found:
    for domain, policy, signed, passes in _proofs(view):
        if not signed and not passes:
            yield (
                domain,
                f"mail has neither a published DKIM key nor SPF to prove it: with p={policy.policy} it fails",
            )


def _one_proof(view: View) -> Found:
    for domain, _, signed, passes in _proofs(view):
        if signed and not passes:
            yield domain, "SPF does not pass for every sending address; DMARC hangs on DKIM alone"
        if passes and not signed:
            yield domain, "no DKIM key is published; DMARC hangs on SPF alone, and forwarded mail fails"


RULES = (
    Rule("dmarc-broken", Severity.ERROR, _broken),
    Rule("dmarc-several", Severity.ERROR, _several),
    Rule("alignment", Severity.ERROR, _no_proof),
    Rule("alignment-one-way", Severity.WARNING, _one_proof),
    Rule("dmarc-none", Severity.WARNING, _none_for_long),
    Rule("dmarc-subdomains", Severity.WARNING, _weaker_below),
    Rule("dmarc-reports", Severity.WARNING, _no_reports),
    Rule("bimi-policy", Severity.WARNING, _bimi),
)

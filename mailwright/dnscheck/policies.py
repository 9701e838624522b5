"""What receivers conclude from SPF and DMARC about mail that the fleet sends."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from maildns.asking.authority import AskError
from maildns.errors import RecordError
from maildns.judging.check import State, Verdict
from maildns.judging.treewalk import Found, aligned, policy_of
from maildns.policy.dkim import DkimKey, selector_name
from maildns.policy.hosts import Address
from maildns.policy.spf import Evaluation, Result, check_host
from mailwright.dnscheck.asking import Asking
from mailwright.dnscheck.task import Task
from mailwright.model.domains import Domain
from mailwright.model.fleet import Machine
from mailwright.zones import SENDS

SPF, DMARC = "spf", "dmarc"

PUBLISH = "publish the policy: `mailwright dns apply`; `mailwright dns lint` looks at it more closely"


def tasks(asking: Asking) -> Iterator[Task]:
    """SPF of each domain and greeting name, DMARC of each sender's domain."""
    for domain in asking.fleet.domains:
        yield Task(SPF, str(domain.name), partial(_spf_of_domain, domain, asking))
    for machine in asking.fleet.with_role(SENDS):
        yield Task(SPF, str(machine.fqdn), partial(_spf_of_helo, machine, asking))
    domains = {domain.name.bare: domain for domain in asking.fleet.domains}
    for login, name in dict.fromkeys(
        (sender.login, address.rpartition("@")[2])
        for sender in asking.fleet.senders
        for address in sender.addresses
    ):
        if name in domains:
            yield Task(DMARC, f"{name}.", partial(_stream, login, domains[name], asking))


def _spf_of_domain(domain: Domain, asking: Asking) -> Iterator[Verdict]:
    """Every sending machine may send for every domain of the fleet."""
    for machine in asking.fleet.with_role(SENDS):
        for ip in machine.addresses:
            outcome = _evaluated(ip, f"postmaster@{domain.name.bare}", domain.name.bare, machine, asking)
            yield _spf_verdict(str(domain.name), f"SPF for {ip}", outcome)


def _spf_of_helo(machine: Machine, asking: Asking) -> Iterator[Verdict]:
    """Bounces have no sender: the greeting's name is judged instead (RFC 7208 section 2.4)."""
    for ip in machine.addresses:
        outcome = _evaluated(ip, "", machine.fqdn.bare, machine, asking)
        yield _spf_verdict(str(machine.fqdn), f"SPF of the greeting from {ip}", outcome)


def _evaluated(ip: Address, sender: str, domain: str, machine: Machine, asking: Asking) -> Evaluation:
    return check_host(ip, domain, sender, machine.fqdn.bare, asking.spf_lookup)


def _spf_verdict(subject: str, what: str, outcome: Evaluation) -> Verdict:
    if outcome.result is Result.PASS:
        return Verdict(subject, what, State.OK, f"pass: {outcome.reason} ({outcome.lookups} lookups)", SPF)
    if outcome.result is Result.TEMPERROR:
        return Verdict(subject, what, State.UNKNOWN, outcome.reason, SPF)
    sentence = f"should be pass, and is {outcome.result}: {outcome.reason}"
    return Verdict(subject, what, State.FAULT, sentence, SPF, PUBLISH)


def _stream(login: str, domain: Domain, asking: Asking) -> Iterator[Verdict]:
    """Mail that a login submits: From and envelope sender in the domain, signed with its keys."""
    name, what = str(domain.name), f"DMARC of {login}"
    try:
        record = policy_of(name, asking.txt)
        if record is None:
            sentence = "a DMARC record should be at the domain or above it, and receivers find none"
            yield Verdict(name, what, State.FAULT, sentence, DMARC, "publish it: `mailwright dns apply`")
            return
        proofs = list(_by_dkim(domain, record, asking))
    except AskError as error:
        yield Verdict(name, what, State.UNKNOWN, str(error), DMARC)
        return
    outcomes = _by_spf(domain, asking)
    if outcomes and all(outcome.result is Result.PASS for outcome in outcomes):
        proofs.append(f"SPF from all {len(outcomes)} addresses")
    policy = f"p={record.policy_for(name)} of {record.domain}"
    unknown = [outcome.reason for outcome in outcomes if outcome.result is Result.TEMPERROR]
    if proofs:
        yield Verdict(name, what, State.OK, f"{policy}; aligned: {', '.join(proofs)}", DMARC)
    elif unknown:
        yield Verdict(
            name, what, State.UNKNOWN, f"no aligned DKIM key, and SPF is not known: {unknown[0]}", DMARC
        )
    else:
        sentence = f"mail should be aligned by SPF or DKIM, and is by neither; {policy} then applies to it"
        remedy = "see the SPF and DKIM verdicts of the domain"
        yield Verdict(name, what, State.FAULT, sentence, DMARC, remedy)


def _by_spf(domain: Domain, asking: Asking) -> list[Evaluation]:
    """Of mail from each address. The envelope sender is in the author's domain, so a pass is aligned."""
    sender = f"postmaster@{domain.name.bare}"
    return [
        _evaluated(ip, sender, domain.name.bare, machine, asking)
        for machine in asking.fleet.with_role(SENDS)
        for ip in machine.addresses
    ]


def _by_dkim(domain: Domain, record: Found, asking: Asking) -> Iterator[str]:
    """Keys that verifiers can use today and whose domain is aligned: signatures carry d=DOMAIN."""
    author, signer = str(domain.name), str(domain.name)
    strict = record.tags.get("adkim", "r") == "s"
    for key in domain.dkim:
        values = asking.txt(selector_name(signer, key.selector))
        if _usable(values) and aligned(author, signer, strict=strict, texts=asking.txt):
            yield f"DKIM d={domain.name.bare} s={key.selector}"


def _usable(values: tuple[str, ...]) -> bool:
    try:
        return len(values) == 1 and bool(DkimKey.parse(*values).public)
    except RecordError:
        return False

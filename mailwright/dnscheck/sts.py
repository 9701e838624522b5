"""Each domain's MTA-STS policy as a sender finds it: the record, the document, and the MX it must cover."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from maildns.asking.authority import AskError
from maildns.asking.dial import UnreachedError, WrongError
from maildns.asking.https import Document, fetch
from maildns.errors import RecordError
from maildns.judging.check import State, Verdict
from maildns.policy.mta_sts import PATH, MtaSts, policy_host, policy_id
from mailwright.dnscheck.asking import Asking
from mailwright.dnscheck.task import Task
from mailwright.model.domains import Domain
from mailwright.sts import sts_policy

KIND = "mta-sts"

SERVE = "`mailwright apply` the machines in `mta_sts.served_by`, and see what they serve"
MX = "let the policy's mx and the domain's MX agree: `mailwright apply`, then `mailwright dns apply`"


def tasks(asking: Asking) -> Iterator[Task]:
    """One for each domain with a policy."""
    for domain in asking.fleet.domains:
        if domain.mta_sts:
            yield Task(KIND, str(domain.name), partial(_check, domain, asking))


def _check(domain: Domain, asking: Asking) -> Iterator[Verdict]:
    name, host = str(domain.name), policy_host(str(domain.name))
    try:
        identity = policy_id(asking.values(f"_mta-sts.{name}", "TXT"))
        addresses = asking.addresses(host)
        exchangers = [value.split()[1] for value in sorted(asking.values(name, "MX"))]
    except AskError as error:
        yield _verdict(name, "policy", State.UNKNOWN, str(error))
        return
    except RecordError as error:
        yield _verdict(name, "policy", State.FAULT, str(error), "`mailwright dns apply`")
        return
    wrong = (
        [f"_mta-sts.{name} should announce the policy, and holds no MTA-STS record"] if not identity else []
    )
    wrong += [f"{host} should serve the policy, and has no address"] if not addresses else []
    if wrong:
        yield _verdict(name, "policy", State.FAULT, "; ".join(wrong), "publish it: `mailwright dns apply`")
    else:
        yield _verdict(name, "policy", State.OK, f"announced with id {identity}")
    for address in addresses:
        yield _at(domain, address, exchangers, asking)


def _at(domain: Domain, address: str, exchangers: list[str], asking: Asking) -> Verdict:
    """The policy as one address serves it: each must serve the same."""
    name, what = str(domain.name), f"policy at {address}"
    wanted = sts_policy(asking.fleet, domain)
    try:
        document = fetch(policy_host(name).removesuffix("."), address, PATH, asking.tls, asking.dial)
        found = _parsed(document)
    except UnreachedError as error:
        return _verdict(name, what, State.UNKNOWN, str(error))
    except (WrongError, RecordError) as error:
        return _verdict(name, what, State.FAULT, str(error), SERVE)
    uncovered = [mx for mx in exchangers if mx != "." and not found.covers(mx)]
    if uncovered and found.mode != "none":
        sentence = f"the policy should cover every MX, and does not name {', '.join(uncovered)}"
        return _verdict(name, what, State.FAULT, sentence, MX)
    if wanted and found != wanted:
        sentence = f"another policy than the fleet's: {_said(found)} instead of {_said(wanted)}"
        return _verdict(name, what, State.FAULT, sentence, SERVE)
    return _verdict(name, what, State.OK, f"{_said(found)}, and covers every MX")


def _parsed(document: Document) -> MtaSts:
    """Read what was served; the type must be text/plain (RFC 8461 section 3.3)."""
    if document.content_type != "text/plain":
        said = document.content_type or "not said"
        raise RecordError(f"the content type should be text/plain, and is {said}: senders ignore the policy")
    return MtaSts.parse(document.content)


def _said(policy: MtaSts) -> str:
    return f"mode {policy.mode}, mx {' '.join(policy.mx)}, max_age {policy.max_age}"


def _verdict(subject: str, what: str, state: State, sentence: str, remedy: str = "") -> Verdict:
    return Verdict(subject, what, state, sentence, KIND, remedy)

"""From SPF and DMARC records to what a fleet file says of them, and what of them it cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from maildns.errors import RecordError
from maildns.policy.dmarc import Dmarc, is_dmarc
from maildns.policy.hosts import NULL_MX
from maildns.policy.spf import SpfSyntaxError, is_spf, parse
from maildns.policy.spf.syntax import Directive, Policy
from maildns.policy.tags import read_tags
from mailwright.model import domains as model
from mailwright.model.names import DnsName, report_uri
from mailwright.takeover.book import Book, Fate
from mailwright.takeover.hosts import Host

_SAME = "the same; the fleet lists the addresses of its machines"

_DMARC_DEFAULTS = {"adkim": "r", "aspf": "r", "fo": "0", "pct": "100", "rf": "afrf", "ri": "86400"}
"""Tags that say what holds without them (RFC 7489 section 6.3)."""


def read_spf(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    """The `spf` section of a domain."""
    text = only(book, name, is_spf, "several SPF records: receivers refuse all of them")
    if text is None:
        return None
    try:
        policy = parse(text)
    except SpfSyntaxError as error:
        book.say(name, "TXT", text, Fate.UNCLEAR, str(error))
        return None
    include = [each.text.partition(":")[2] for each in policy.directives if _includes(each)]
    lost = list(_lost(book, hosts, name, policy))
    if lost:
        book.say(name, "TXT", text, Fate.UNCLEAR, f"taken over without {', '.join(lost)}")
    else:
        book.say(name, "TXT", text, Fate.TAKEN, _SAME)
    said: dict[str, Any] = (
        {"include": [each.lower().removesuffix(".") for each in include]} if include else {}
    )
    end = _end(policy)
    return said | ({"all": end} if end != model.Spf().all else {})


def read_dmarc(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    """The `dmarc` section of a domain."""
    del hosts
    owner = f"_dmarc.{name}"
    text = only(book, owner, is_dmarc, "several DMARC records: receivers apply none")
    if text is None:
        return None
    try:
        policy = Dmarc.parse(text)
        tags = read_tags(text, "RFC 7489 section 6.4")
    except RecordError as error:
        book.say(owner, "TXT", text, Fate.UNCLEAR, str(error))
        return None
    lost = [f"{tag}={value}" for tag, value in tags.items() if not _said(policy, tag, value)]
    places = {"rua": _places(policy.rua, lost), "ruf": _places(policy.ruf, lost)}
    if lost:
        book.say(owner, "TXT", text, Fate.UNCLEAR, f"taken over without {', '.join(lost)}")
    else:
        book.say(owner, "TXT", text, Fate.TAKEN, "the same policy")
    said: dict[str, Any] = {"policy": policy.policy}
    if policy.subdomain_policy and policy.subdomain_policy != policy.policy:
        said["subdomain_policy"] = policy.subdomain_policy
    said |= {tag: uris for tag, uris in places.items() if uris}
    return said | ({"alignment": "strict"} if policy.alignment == "strict" else {})


def only(book: Book, owner: str, is_one: Callable[[str], bool], several: str) -> str | None:
    """The one record of its kind at a name; `several` is what two of them mean."""
    texts = sorted(filter(is_one, book.at(owner, "TXT")))
    for text in texts if len(texts) > 1 else ():
        book.say(owner, "TXT", text, Fate.UNCLEAR, several)
    return texts[0] if len(texts) == 1 else None


def _end(policy: Policy) -> str:
    """What holds for everybody else. Whoever said nothing, or let anybody send, is not made strict by us."""
    for each in policy.directives:
        if each.mechanism == "all":
            return f"{each.qualifier}all" if each.qualifier != "+" else "?all"
    return "?all"


def _includes(each: Directive) -> bool:
    return each.mechanism == "include" and each.qualifier == "+" and _plain_name(each.text) is not None


def _lost(book: Book, hosts: tuple[Host, ...], name: str, policy: Policy) -> Iterator[str]:
    """What a record lets send that the fleet's would not, each with its reason."""
    ours = frozenset().union(*(host.addresses for host in hosts if host.sends))
    for each in policy.directives:
        if each.mechanism == "all":
            if each.qualifier == "+":
                yield "+all (it lets anybody send)"
            return
        if not _includes(each) and not (each.qualifier == "+" and _covered(book, name, each, ours)):
            yield f"{each.text} ({_why(each)})"
    if policy.redirect:
        yield f"redirect={policy.redirect.text} (what stands there is not looked at)"


def _covered(book: Book, name: str, each: Directive, ours: frozenset[str]) -> bool:
    """Whether a mechanism lets nobody send but machines of the fleet."""
    if each.network is not None:
        return each.network.num_addresses == 1 and str(each.network.network_address) in ours
    where = _plain_name(each.text) if ":" in each.text else name
    if where is None or each.mechanism not in ("a", "mx") or "/" in each.text:
        return False
    targets = [where]
    if each.mechanism == "mx":
        targets = [value.split()[1] for value in book.at(where, "MX") - {NULL_MX}]
    return bool(targets) and all(book.addresses(t) and book.addresses(t) <= ours for t in targets)


def _why(each: Directive) -> str:
    if each.network is not None:
        return "no machine here" if each.network.num_addresses == 1 else "a network is no machine"
    if "%" in each.text or each.mechanism in ("exists", "ptr"):
        return "fleets publish addresses and includes only"
    if each.qualifier != "+":
        return "fleets only name who may send"
    return "not addresses of machines that send"


def _plain_name(term: str) -> str | None:
    """The name after the colon, dotted; `None` where it is no name that a fleet file can hold."""
    try:
        return str(DnsName.parse(term.partition(":")[2]))
    except ValueError:
        return None


def _said(policy: Dmarc, tag: str, value: str) -> bool:
    if tag in ("v", "p", "sp", "rua", "ruf"):
        return True
    if tag in ("adkim", "aspf") and policy.alignment == "strict":
        return True
    return _DMARC_DEFAULTS.get(tag) == value.lower()


def _places(uris: tuple[str, ...], lost: list[str]) -> list[str]:
    """Those that a fleet file can name; the others are lost."""
    kept = []
    for uri in uris:
        try:
            kept.append(report_uri(uri))
        except (ValueError, ValidationError):
            lost.append(uri)
    return kept

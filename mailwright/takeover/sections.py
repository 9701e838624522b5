"""MTA-STS, TLS-RPT, BIMI and CAA records as sections of a fleet file's domain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import ValidationError

from maildns.errors import RecordError
from maildns.policy.bimi import Bimi, is_bimi, too_weak
from maildns.policy.caa import parse_caa
from maildns.policy.dmarc import Dmarc
from maildns.policy.hosts import NULL_MX
from maildns.policy.mta_sts import MtaSts, is_mta_sts, policy_host, policy_id
from maildns.policy.tls_rpt import TlsRpt, is_tls_rpt
from mailwright.model import domains as model
from mailwright.takeover.book import Book, Fate
from mailwright.takeover.hosts import Host
from mailwright.takeover.policies import only

_SEVERAL = "several, so that none counts"
_ISSUE = ("issue", "issuewild", "iodef")


def read_mta_sts(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    """The `mta_sts` section, where a machine here serves the policy."""
    owner, served = f"_mta-sts.{name}", book.addresses(policy_host(name))
    texts = sorted(filter(is_mta_sts, book.at(owner, "TXT")))
    if not texts:
        return None
    machines = [host for host in hosts if host.addresses <= served]
    if not machines or served != frozenset().union(*(host.addresses for host in machines)):
        why = f"{policy_host(name)} is no machine here, so its policy is not the fleet's"
        _unclear(book, owner, texts, why)
        return None
    takers = tuple(_mx_hosts(book, name))
    mode = next((m for m in ("enforce", "testing", "none") if _is_policy(texts, m, takers)), None)
    if mode is None:
        why = "the mode is in the document, not in the zone: look there, and set it (testing until then)"
        _unclear(book, owner, texts, why)
    return {"mode": mode or "testing", "served_by": [host.name for host in machines]}


def _is_policy(texts: list[str], mode: Any, takers: tuple[str, ...]) -> bool:  # noqa: ANN401 - a Mode
    """Whether the id is that of our own document with this mode: a digest tells what the zone does not."""
    try:
        return MtaSts(mode, takers, model.MtaSts.model_fields["max_age"].default).id == policy_id(texts)
    except RecordError:
        return False


def _mx_hosts(book: Book, name: str) -> list[str]:
    found = sorted((int(v.split()[0]), v.split()[1]) for v in book.at(name, "MX") - {NULL_MX})
    return [target for _, target in found]


def read_tls_rpt(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    """The `tls_rpt` section."""
    del hosts
    owner = f"_smtp._tls.{name}"
    text = only(book, owner, is_tls_rpt, _SEVERAL)
    return _one(book, owner, text, lambda text: {"rua": list(TlsRpt.parse(text).rua)}, model.TlsRpt)


def read_bimi(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    """The `bimi` section."""
    del hosts
    tail = f"._bimi.{name}"
    owners = sorted((o for o in book.names() if o.endswith(tail)), key=lambda o: o != f"default{tail}")
    said = None
    for owner in owners:
        texts = sorted(filter(is_bimi, book.at(owner, "TXT")))
        if said is not None or not any(map(_strong, book.at(f"_dmarc.{name}", "TXT"))):
            _unclear(
                book, owner, texts, "a second logo" if said else "BIMI needs DMARC at quarantine or reject"
            )
            continue
        selector = owner.removesuffix(tail)
        text = only(book, owner, is_bimi, _SEVERAL)
        said = _one(book, owner, text, partial(_logo, selector), model.Bimi)
    return said


def _strong(text: str) -> bool:
    try:
        return not too_weak(Dmarc.parse(text))
    except RecordError:
        return False


def _logo(selector: str, text: str) -> dict[str, Any]:
    logo = Bimi.parse(text)
    more = {"certificate": logo.certificate} if logo.certificate else {}
    return {"logo": logo.logo, **more, **({"selector": selector} if selector != "default" else {})}


def read_caa(book: Book, hosts: tuple[Host, ...], name: str) -> dict[str, Any] | None:
    """The `caa` section."""
    del hosts
    values = book.at(name, "CAA")
    known = sorted(v for v in values if v.split()[1].lower() in _ISSUE)
    _unclear(book, name, sorted(values - set(known)), "a CAA property that fleets do not publish", "CAA")
    if not known:
        return None
    try:
        found = parse_caa(known)
        issuers = [_issuer(issuer) for issuer in found.issuers]
        said = {"issuers": issuers, **({"iodef": list(found.iodef)} if found.iodef else {})}
        model.Caa.model_validate(said)
    except (RecordError, ValidationError) as error:
        _unclear(book, name, known, _first(error), "CAA")
        return None
    _unclear(book, name, known, "the fleet writes this otherwise", "CAA")
    return said


def _issuer(issuer: Any) -> dict[str, Any]:  # noqa: ANN401 - an Issuer
    said: dict[str, Any] = {"name": issuer.name.removesuffix(".")}
    said |= {"accounturi": issuer.accounturi} if issuer.accounturi else {}
    said |= {"validationmethods": list(issuer.validationmethods)} if issuer.validationmethods else {}
    return said | ({"wildcard": True} if issuer.wildcard else {})


def _one(
    book: Book, owner: str, text: str | None, read: Callable[[str], dict[str, Any]], section: type[Any]
) -> dict[str, Any] | None:
    """Read the one record that may be there."""
    if text is None:
        return None
    try:
        said = read(text)
        section.model_validate(said)
    except (RecordError, ValidationError) as error:
        _unclear(book, owner, [text], _first(error))
        return None
    book.say(owner, "TXT", text, Fate.TAKEN, "the same, written otherwise")
    return said


def _unclear(book: Book, owner: str, values: list[str], reason: str, type_: str = "TXT") -> None:
    for value in values:
        book.say(owner, type_, value, Fate.UNCLEAR, reason)


def _first(error: RecordError | ValidationError) -> str:
    if isinstance(error, RecordError):
        return str(error)
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")

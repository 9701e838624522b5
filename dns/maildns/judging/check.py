"""Three-valued verdicts on what the world sees: ok, fault, or unknown, never a guess."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from maildns.asking.authority import AskError, Server
from maildns.errors import RecordError
from maildns.names import shared
from maildns.policy.dkim import DkimKey
from maildns.policy.dmarc import is_dmarc
from maildns.policy.mta_sts import is_mta_sts
from maildns.policy.spf import is_spf
from maildns.records import RrKey, RRset


class State(StrEnum):
    """What is known."""

    OK = "ok"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """One finding about one name."""

    subject: str
    what: str
    state: State
    sentence: str
    """What was expected, and what was found."""
    kind: str = "records"
    """Which check found it: `records`, `dnssec`, `delegation` and so on."""
    remedy: str = ""
    """What to do about a fault."""


ALIASES = 8
"""How far a chain of CNAME records is followed."""

Judge = Callable[[frozenset[str]], str | None]
"""From the values a server gives to what is wrong with them; `None` when nothing is."""

Servers = Callable[[str], tuple[Server, ...]]
"""The authoritative servers for a name; raises AskError when they cannot be found."""


def judged(subject: str, what: str, servers: Servers, key: RrKey, judge: Judge) -> Verdict:
    """Ask every authoritative server: one that answers wrongly is a fault, one that does not, unknown."""
    faults: list[str] = []
    silent: list[str] = []
    try:
        asked = servers(key[0])
    except AskError as error:
        return Verdict(subject, what, State.UNKNOWN, str(error))
    for server in asked:
        try:
            fault = judge(server.ask(*key))
        except AskError as error:
            silent.append(str(error))
        else:
            faults += [f"{fault}, says {server}"] if fault else []
    if faults:
        return Verdict(subject, what, State.FAULT, "; ".join(faults))
    if silent or not asked:
        return Verdict(subject, what, State.UNKNOWN, "; ".join(silent) or "no server to ask")
    return Verdict(subject, what, State.OK, f"as wanted at {', '.join(map(str, asked))}")


def check_rrset(wanted: RRset, servers: Servers) -> Iterable[Verdict]:
    """Judge a published set by what its values mean."""
    rest = wanted.rdata
    for what, mine, judge in _policies(wanted):
        rest -= {mine}
        yield judged(wanted.name, what, servers, wanted.key, judge)
    if rest:
        judge = at_least(rest) if shared(*wanted.key) else exactly(rest)
        name = behind_aliases(wanted.name, servers) if wanted.type == "PTR" else wanted.name
        yield judged(wanted.name, wanted.type, servers, (name, wanted.type), judge)


def check_mx_targets(wanted: RRset, servers: Servers) -> Iterable[Verdict]:
    """Each target must have an address and be no alias (RFC 2181 section 10.3)."""
    for value in sorted(wanted.rdata):
        target = value.split()[1]
        if target != ".":
            alias = judged(
                wanted.name, f"MX target {target}", servers, (target, "CNAME"), nothing("is an alias")
            )
            yield alias if alias.state is not State.OK else has_address(wanted.name, target, servers)


def has_address(subject: str, host: str, servers: Servers) -> Verdict:
    """A host must have an A or an AAAA record."""
    what = f"MX target {host}"
    found = [
        judged(subject, what, servers, (host, t), something(f"{host} has no {t}")) for t in ("A", "AAAA")
    ]
    return min(found, key=lambda v: (v.state is not State.OK, v.state is State.FAULT))


def check_fcrdns(host: str, ip: str, reverse: str, servers: Servers) -> Verdict:
    """The address's PTR gives the host's name, and the host's name gives the address."""
    what = f"reverse DNS of {ip}"
    place = behind_aliases(reverse, servers)
    back = judged(host, what, servers, (place, "PTR"), exactly(frozenset({host})))
    if back.state is not State.OK:
        return back
    there = judged(host, what, servers, (host, "AAAA" if ":" in ip else "A"), at_least(frozenset({ip})))
    if there.state is not State.OK:
        return there
    return Verdict(host, what, State.OK, f"{ip} gives {host} and back")


def behind_aliases(name: str, servers: Servers) -> str:
    """Where a reverse name leads: of a small network it is an alias into its owner's zone (RFC 2317).

    The name itself where nobody says that it is one.
    """
    for _ in range(ALIASES):
        alias = _alias(name, servers)
        if alias is None:
            break
        name = alias
    return name


def _alias(name: str, servers: Servers) -> str | None:
    try:
        for server in servers(name):
            with contextlib.suppress(AskError):
                return next(iter(server.ask(name, "CNAME")), None)
    except AskError:
        pass  # whoever asks for the records themselves hears of it
    return None


def exactly(wanted: frozenset[str]) -> Judge:
    """These values and no others."""

    def judge(values: frozenset[str]) -> str | None:
        wrong = sorted(values - wanted)
        return f"also holds {', '.join(wrong)}" if wanted <= values and wrong else at_least(wanted)(values)

    return judge


def at_least(wanted: frozenset[str]) -> Judge:
    """These values, whoever else has some here."""

    def judge(values: frozenset[str]) -> str | None:
        missing = sorted(wanted - values)
        held = f"; it holds {', '.join(sorted(values))}" if values else ""
        return f"lacks {', '.join(missing)}{held}" if missing else None

    return judge


def nothing(sentence: str) -> Judge:
    """No value at all."""
    return lambda values: sentence if values else None


def something(sentence: str) -> Judge:
    """Any value."""
    return lambda values: None if values else sentence


def one_spf(wanted: str) -> Judge:
    """Exactly one SPF record, this one: two are a permanent error (RFC 7208 section 4.5)."""
    return _one("SPF", is_spf, wanted)


def one_dmarc(wanted: str) -> Judge:
    """Exactly one DMARC record, this one: with two, receivers apply none (RFC 7489 section 6.6.3)."""
    return _one("DMARC", is_dmarc, wanted)


def one_key(wanted: DkimKey) -> Judge:
    """Exactly one key record, which verifiers can read, and which holds our key's public half."""

    def judge(values: frozenset[str]) -> str | None:
        if len(values) != 1:
            return f"{len(values) or 'no'} records at the selector instead of one"
        try:
            found = DkimKey.parse(*values)
        except RecordError as error:
            return str(error)
        if not found.public and wanted.public:
            return "the key is revoked (empty p=)"
        return None if found == wanted else "another key than the one whose private half the secrets hold"

    return judge


def _one(kind: str, is_one: Callable[[str], bool], wanted: str) -> Judge:
    def judge(values: frozenset[str]) -> str | None:
        found = sorted(filter(is_one, values))
        if len(found) != 1:
            return f"{len(found) or 'no'} {kind} records instead of one"
        return None if found == [wanted] else f"the {kind} record is {found[0]}"

    return judge


def _policies(wanted: RRset) -> Iterable[tuple[str, str, Judge]]:
    """The values of a TXT set that mean something to receivers: (what, value, judge)."""
    if wanted.type != "TXT":
        return
    labels = wanted.name.split(".")
    for value in sorted(wanted.rdata):
        if is_spf(value):
            yield "SPF", value, one_spf(value)
        elif labels[0] == "_dmarc" and is_dmarc(value):
            yield "DMARC", value, one_dmarc(value)
        elif "_domainkey" in labels:
            yield "DKIM", value, one_key(DkimKey.parse(value))
        elif labels[0] == "_mta-sts" and is_mta_sts(value):
            yield "MTA-STS", value, _one("MTA-STS", is_mta_sts, value)

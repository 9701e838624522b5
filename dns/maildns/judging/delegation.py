"""Whether a zone's parent, its NS records and its servers agree (RFC 1034 section 4.2.2). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
from dns.rdatatype import AAAA, NS, A

from maildns.asking.authority import Server
from maildns.judging.check import State, Verdict
from maildns.names import within
from maildns.records import from_rdata

KIND = "delegation"

AT_PARENT = "correct it at the parent: with the registrar, or in the parent zone"
IN_ZONE = "correct the NS records at the zone's provider"


@dataclass(frozen=True)
class Referral:
    """What a parent's server says to those who ask for the zone."""

    parent: str
    server: Server
    ns: frozenset[str]
    glue: Mapping[str, frozenset[str]]
    """Name server to the addresses that came with it."""


@dataclass(frozen=True)
class Sight:
    """What one server says of its zone."""

    server: Server
    ns: frozenset[str]
    serial: int
    recursive: bool = False
    """Whether it offers us to look up other zones (RA)."""
    tcp: str = ""
    """Why it cannot be asked over TCP; empty where it can (RFC 7766: it must)."""


def read_referral(answer: dns.message.Message, zone: str, parent: str, server: Server) -> Referral | None:
    """The referral in a parent's answer; `None` where the server has the zone itself and so never refers."""
    name = dns.name.from_text(zone)
    if answer.flags & dns.flags.AA and any(r.name == name and r.rdtype == NS for r in answer.answer):
        return None
    ns = frozenset(
        from_rdata(rdata) for r in answer.authority if r.name == name and r.rdtype == NS for rdata in r
    )
    glue: dict[str, frozenset[str]] = {}
    for rrset in answer.additional:
        if rrset.rdtype in (A, AAAA):
            host = rrset.name.canonicalize().to_text()
            glue[host] = glue.get(host, frozenset()) | {from_rdata(rdata) for rdata in rrset}
    return Referral(parent, server, ns, glue)


def judge_server(zone: str, sight: Sight) -> Verdict:
    """One server that answers with authority: also over TCP, and for nobody's other questions."""
    what = f"server {sight.server}"
    if sight.tcp:
        sentence = f"answers over UDP, and {sight.tcp}; long answers (DKIM keys, DNSSEC) do not get through"
        return _fault(zone, what, sentence, "open TCP port 53 of the server (RFC 7766)")
    if sight.recursive:
        sentence = "an authoritative server should answer for its zones only, and this one offers recursion"
        return _fault(zone, what, sentence, "turn recursion off, or allow it to networks of yours only")
    return _ok(zone, what, "answers with authority, over UDP and TCP, and offers no recursion")


def judge_ns(zone: str, referral: Referral | None, sights: Sequence[Sight]) -> Verdict:
    """Parent and zone must name the same servers (RFC 1034 section 4.2.2)."""
    sets = {sight.ns for sight in sights}
    if len(sets) > 1:
        said = "; ".join(f"{s.server} says {_list(s.ns)}" for s in sights)
        return _fault(zone, "NS records", f"the servers name different ones: {said}", IN_ZONE)
    (held,) = sets
    if referral is None:
        sentence = f"{_list(held)}; what the parent says is not seen, its servers have this zone, too"
        return _ok(zone, "NS records", sentence)
    if not referral.ns:
        return _fault(zone, "NS records", f"{referral.parent} does not delegate it", AT_PARENT)
    if referral.ns != held:
        only_there, only_here = referral.ns - held, held - referral.ns
        parts = [f"{referral.parent} names {_list(only_there)}, the zone does not"] if only_there else []
        parts += [f"the zone names {_list(only_here)}, {referral.parent} does not"] if only_here else []
        return _fault(zone, "NS records", "; ".join(parts), f"{AT_PARENT}; or {IN_ZONE}")
    return _ok(zone, "NS records", f"{referral.parent} and the zone name {_list(held)}")


def judge_glue(zone: str, referral: Referral, addresses: Mapping[str, frozenset[str]]) -> Verdict:
    """Servers named inside the zone are found by glue alone, so it must be right.

    `addresses` are those that the zone itself gives to its name servers.
    """
    faults = []
    for host in sorted(name for name in referral.ns if within(name, zone)):
        glue, own = referral.glue.get(host, frozenset()), addresses.get(host, frozenset())
        if not glue:
            faults.append(f"{referral.parent} gives no address for {host}")
        elif wrong := glue - own:
            faults.append(f"{referral.parent} gives {_list(wrong)} for {host}, the zone {_list(own)}")
    if faults:
        return _fault(zone, "glue", "; ".join(faults), AT_PARENT)
    return _ok(zone, "glue", f"{referral.parent} gives the addresses that the zone gives")


def judge_serials(zone: str, sights: Sequence[Sight], waited: float) -> Verdict:
    """All servers must hold the same version of the zone, `waited` seconds after they were first asked."""
    serials = {sight.serial for sight in sights}
    if len(serials) > 1:
        said = ", ".join(f"{s.server} has {s.serial}" for s in sights)
        sentence = f"the serials should be the same, and still differ after {waited:g} s: {said}"
        return _fault(
            zone, "SOA serial", sentence, "look at the secondary's log: are NOTIFY and AXFR allowed?"
        )
    return _ok(zone, "SOA serial", f"{serials.pop()} at all {len(sights)} servers")


def lame(zone: str, server: Server, error: str) -> Verdict:
    """A server that is named and does not serve the zone."""
    remedy = "configure the zone at the server, or take the server out of the NS records and the delegation"
    return _fault(zone, f"server {server}", f"should serve the zone: {error}", remedy)


def nowhere(zone: str, name: str) -> Verdict:
    """A server that is named and has no address: a part of the world's questions goes nowhere."""
    sentence = "is named as a server of the zone, and has no address"
    remedy = "give the name an address, or take it out of the NS records and the delegation"
    return _fault(zone, f"server {name.removesuffix('.')}", sentence, remedy)


def silent(zone: str, server: Server, error: str) -> Verdict:
    """A server of which nothing is known."""
    return Verdict(zone, f"server {server}", State.UNKNOWN, error, KIND)


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _ok(zone: str, what: str, sentence: str) -> Verdict:
    return Verdict(zone, what, State.OK, sentence, KIND)


def _fault(zone: str, what: str, sentence: str, remedy: str) -> Verdict:
    return Verdict(zone, what, State.FAULT, sentence, KIND, remedy)

"""Validation of what a server says (RFC 4035 section 5): signatures by dnspython, denial by `denial`.

Pure: handed whole answers and the time. The chain from an anchor down to a zone is in `chain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zonefile
from dns.exception import UnsupportedAlgorithm, ValidationFailure
from dns.rdatatype import CNAME, DNSKEY, DS, RdataType
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from maildns.errors import MaildnsError, RecordError
from maildns.judging import denial
from maildns.records import from_rdata

Anchors = Mapping[str, tuple[dns.rdata.Rdata, ...]]
"""Zone to the DS or DNSKEY records that are trusted without asking."""

ROOT = """
. 0 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. 0 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""
"""IANA's keys for the root: of 2017, and of 2024 (https://data.iana.org/root-anchors/root-anchors.xml)."""

_DNSSEC_PROTOCOL = 3  # RFC 4034 section 2.1.2
_DIGESTS = (1, 2, 4)  # SHA-1, SHA-256 and SHA-384: those that dnspython knows (RFC 9904)


class BogusError(MaildnsError):
    """A validating resolver would refuse this answer: SERVFAIL to whoever asks."""


@dataclass(frozen=True)
class Keys:
    """A zone's DNSKEY set, vouched for."""

    zone: str
    rrset: dns.rrset.RRset
    lasts: Lasts


@dataclass(frozen=True)
class Lasts:
    """How long signatures hold: times in seconds since the epoch."""

    inception: float
    expiration: float

    def ends_soon(self, now: float) -> bool:
        """Whether the signer is late: it should have signed anew by now.

        Signers renew when a tenth of the lifetime is left at the latest (knot's and BIND's defaults do);
        an online signer's signatures live only hours, so a fixed number of days would not do.
        """
        return self.expiration - now < (self.expiration - self.inception) / 10


@dataclass(frozen=True)
class Proved:
    """What an answer says for certain."""

    values: frozenset[str]
    """Of the set asked for; empty where it is proved not to exist."""
    lasts: Lasts
    insecure_cut: bool = False
    """Asked for DS: the name is delegated without one, and that is proved."""


def read_anchors(text: str) -> Anchors:
    """Trust anchors in zone file format: DS or DNSKEY records with absolute names.

    Raises:
        RecordError: something else is in it.
    """
    try:
        rrsets = dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=0)
    except dns.exception.DNSException as error:
        raise RecordError(f"trust anchors: {error}") from None
    found: dict[str, tuple[dns.rdata.Rdata, ...]] = {}
    for rrset in rrsets:
        if rrset.rdtype not in (DS, DNSKEY) or not rrset.name.is_absolute():
            raise RecordError(f"trust anchors: {rrset.name} is no DS or DNSKEY record with an absolute name")
        name = rrset.name.canonicalize().to_text()
        found[name] = (*found.get(name, ()), *rrset)
    return found


def supported(anchors: Iterable[dns.rdata.Rdata]) -> bool:
    """Whether any anchor is of a kind that can be verified: where none is, a zone counts as unsigned.

    RFC 4035 section 5.2.
    """
    return any(a.rdtype == DNSKEY or a.digest_type in _DIGESTS for a in anchors)  # type: ignore[attr-defined]


def trusted_keys(
    zone: str, answer: dns.message.Message, anchors: Iterable[dns.rdata.Rdata], now: float
) -> Keys:
    """The zone's keys, if one that an anchor (or the parent's DS) names has signed them.

    Raises:
        BogusError: the answer has none, none that is named, or none that signed.
    """
    name = dns.name.from_text(zone)
    keys = answer.get_rrset(answer.answer, name, dns.rdataclass.IN, DNSKEY)
    if not keys:
        raise BogusError(f"{zone} has no DNSKEY, but a DS record or trust anchor says that it is signed")
    anchors = tuple(anchors)
    entry = [key for key in keys if any(_names(a, name, key) for a in anchors)]
    if not entry:
        tags = ", ".join(sorted({str(_tag(a)) for a in anchors}))
        held = ", ".join(sorted({str(dns.dnssec.key_id(key)) for key in keys}))
        raise BogusError(f"no DNSKEY of {zone} (tags {held}) matches the DS or trust anchor (tags {tags})")
    entered = dns.rdataset.from_rdata_list(keys.ttl, entry)
    lasts = _verified(keys, answer.answer, {name: entered}, now)[0]
    return Keys(zone, keys, lasts)


def own_keys(zone: str, answer: dns.message.Message, now: float) -> Keys | None:
    """The keys that a zone shows of itself, which sign each other; `None` where it shows none.

    Good for seeing whether a server's answers fit its zone's keys, not for trusting the keys.

    Raises:
        BogusError: they are not signed by any of themselves.
    """
    keys = answer.get_rrset(answer.answer, dns.name.from_text(zone), dns.rdataclass.IN, DNSKEY)
    return trusted_keys(zone, answer, tuple(keys), now) if keys else None


def proved(answer: dns.message.Message, name: str, type_: str, keys: Keys, now: float) -> Proved:
    """What the answer of a server of `keys.zone` to a question proves.

    Raises:
        BogusError: a validating resolver would not accept it.
    """
    return _Answer(answer, dns.name.from_text(name), dns.rdatatype.from_text(type_), keys, now).proved()


@dataclass(frozen=True)
class _Answer:
    """One answer under judgement."""

    message: dns.message.Message
    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    keys: Keys
    now: float

    def proved(self) -> Proved:
        for rdtype in (self.rdtype, CNAME):
            found = self.message.get_rrset(self.message.answer, self.name, dns.rdataclass.IN, rdtype)
            if found:
                values = found if rdtype == self.rdtype else ()  # an alias has nothing else (RFC 2181 10.1)
                return Proved(frozenset(map(from_rdata, values)), self._signed(found))
        return self._denied()

    def _signed(self, found: dns.rrset.RRset) -> Lasts:
        lasts, labels = self._verify(found, self.message.answer)
        if labels < len(self.name.labels) - 1 and not self.name.is_wild():
            proofs, _ = self._denials()
            if not any(denial.expanded(proof, self.name, labels) for proof in proofs):
                raise BogusError(
                    f"{self.name} is answered by a wildcard, without proof that it does not exist"
                )
        return lasts

    def _denied(self) -> Proved:
        proofs, lasts = self._denials()
        if not proofs:
            what = "no NSEC or NSEC3 record proves that"
            raise BogusError(f"{self._question()} is denied, and {what}: the zone's denial is missing")
        for proof in proofs:
            if self.rdtype == DS:
                proves, cut = denial.denies_secure_delegation(proof, self.name, self._zone)
            elif self.message.rcode() == dns.rcode.NXDOMAIN:
                proves, cut = denial.denies_name(proof, self.name, self._zone), False
            else:
                proves, cut = denial.denies_type(proof, self.name, self.rdtype, self._zone), False
            if proves:
                return Proved(frozenset(), lasts, insecure_cut=cut)
        raise BogusError(f"{self._question()} is denied, but its NSEC or NSEC3 records do not prove that")

    def _denials(self) -> tuple[list[denial.Denial], Lasts]:
        """What is denied, and how long that holds."""
        found: list[Lasts] = [self.keys.lasts]
        nsec: list[tuple[dns.name.Name, NSEC]] = []
        nsec3: list[tuple[dns.name.Name, NSEC3]] = []
        for rrset in self.message.authority:
            if rrset.rdtype not in (RdataType.NSEC, RdataType.NSEC3):
                continue
            found.append(self._verify(rrset, self.message.authority)[0])
            for rdata in rrset:
                if isinstance(rdata, NSEC):
                    nsec.append((rrset.name, rdata))
                elif isinstance(rdata, NSEC3):
                    nsec3.append((rrset.name, rdata))
        proofs: list[denial.Denial] = [denial.Nsec(nsec)] if nsec else []
        proofs += [denial.Nsec3(nsec3)] if nsec3 else []
        return proofs, min(found, key=lambda lasts: lasts.expiration)

    def _verify(self, rrset: dns.rrset.RRset, section: list[dns.rrset.RRset]) -> tuple[Lasts, int]:
        return _verified(rrset, section, {self._zone: self.keys.rrset}, self.now)

    def _question(self) -> str:
        return f"{self.name} {dns.rdatatype.to_text(self.rdtype)}"

    @property
    def _zone(self) -> dns.name.Name:
        return dns.name.from_text(self.keys.zone)


def _verified(
    rrset: dns.rrset.RRset,
    section: list[dns.rrset.RRset],
    keys: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset],
    now: float,
) -> tuple[Lasts, int]:
    """When the signature that holds ends, and how many labels it signs for.

    Raises:
        BogusError: no signature holds; the message says why the last one tried does not.
    """
    what = f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}"
    found = next((s for s in section if s.name == rrset.name and s.covers == rrset.rdtype), ())
    if not found:
        raise BogusError(f"{what} has no signature")
    why = ""
    for rdata in found:
        signature = cast("RRSIG", rdata)
        try:
            dns.dnssec.validate_rrsig(rrset, signature, keys, now=now)
        except (ValidationFailure, UnsupportedAlgorithm) as error:
            why = f"{error or type(error).__name__}"
        else:
            return Lasts(signature.inception, signature.expiration), signature.labels
    raise BogusError(f"{what}: the signature does not hold ({why})")


def _names(anchor: dns.rdata.Rdata, zone: dns.name.Name, key: dns.rdata.Rdata) -> bool:
    """Whether a DS or DNSKEY record stands for this key."""
    if anchor.rdtype == DNSKEY:
        return bool(anchor == key)
    if _tag(anchor) != dns.dnssec.key_id(key) or key.protocol != _DNSSEC_PROTOCOL:  # type: ignore[attr-defined, arg-type]
        return False
    try:
        made = dns.dnssec.make_ds(zone, key, anchor.digest_type, validating=True)  # type: ignore[attr-defined]
    except (UnsupportedAlgorithm, dns.exception.DeniedByPolicy):
        return False
    return bool(made == anchor)


def _tag(anchor: dns.rdata.Rdata) -> int:
    if anchor.rdtype == DNSKEY:
        return dns.dnssec.key_id(anchor)  # type: ignore[arg-type]
    return int(anchor.key_tag)  # type: ignore[attr-defined]

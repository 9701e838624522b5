"""The provider that speaks DNS itself: AXFR to read, dynamic update to write, TSIG on both.

RFC 2136 (update), RFC 5936 (AXFR), RFC 8945 (TSIG). A message is applied whole or not at all, and
its prerequisites are checked in the same step, so the SOA as a prerequisite is a compare-and-swap
over the whole zone. A signer moves the serial whenever it renews signatures, so that what a plan was
made from is known by its content, and the serial only guards the moment of writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.tsig
import dns.update
import dns.xfr
import dns.zone

from maildns.planning.order import by_unit, in_batches
from maildns.provider import Change, ConflictError, ProviderError, Snapshot
from maildns.providers.axfr import TsigKey
from maildns.providers.transfer import transfer
from maildns.records import RrKey, RRset, from_rdata, to_rdata

_NOT_OURS = {
    dns.rdatatype.SOA,  # moves with each update
    # A signer's:
    dns.rdatatype.RRSIG,
    dns.rdatatype.NSEC,
    dns.rdatatype.NSEC3,
    dns.rdatatype.NSEC3PARAM,
    dns.rdatatype.DNSKEY,
    dns.rdatatype.CDS,
    dns.rdatatype.CDNSKEY,
    dns.rdatatype.ZONEMD,
    dns.rdatatype.RdataType.make(65534),  # how far BIND has got with signing
}
"""What the server makes itself."""

SIGNER_RACES = 3
"""How often the first message is sent when nothing but the serial has moved: that was the signer."""

MESSAGE_BUDGET = 48_000
"""Octets of changes in one message; the limit is 65,535 with prerequisites and TSIG."""

_PREREQUISITE_FAILED = {
    dns.rcode.NXRRSET,
    dns.rcode.YXRRSET,
    dns.rcode.NXDOMAIN,
    dns.rcode.YXDOMAIN,
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class Rfc2136:
    """A server that takes signed updates of zones it holds."""

    server: str
    key_name: str
    key: str = field(repr=False)
    """The shared secret, base64."""
    port: int = 53
    algorithm: str = "hmac-sha256"
    timeout: float = 15.0
    """Seconds for one exchange."""

    def fetch(self, zone: str) -> Snapshot:
        """Read a zone by AXFR. `etag` is a digest of what it holds."""
        return _snapshot(zone, self._transfer(zone))

    def apply(self, zone: str, changes: Sequence[Change], etag: str) -> None:
        """Send the changes in as few messages as their size allows, usually one.

        The first message is taken if the zone is still at `etag`; each later one if the sets that it
        changes are still those of that moment.
        """
        content = self._unmoved(zone, etag)
        for change in changes:
            _check(change, content)
        batches = list(in_batches(changes, _weight, MESSAGE_BUDGET))
        for done, batch in enumerate(batches):
            try:
                if done:
                    self._send(zone, self._message(zone, content, batch))
                else:
                    self._begin(zone, content, batch, etag)
            except ProviderError as error:
                if not done:
                    raise
                raise ProviderError(
                    f"{error} ({done} of {len(batches)} messages were taken before)"
                ) from None

    def _unmoved(self, zone: str, etag: str) -> dns.zone.Zone:
        content = self._transfer(zone)
        if _snapshot(zone, content).etag != etag:
            raise ConflictError(f"{zone} was changed by somebody else since it was read; plan again")
        return content

    def _begin(self, zone: str, content: dns.zone.Zone, batch: Iterable[Change], etag: str) -> None:
        """Send the first message, again where only the serial had moved."""
        for left in reversed(range(SIGNER_RACES)):
            message = self._message(zone, content, batch)
            message.present(zone, _prerequisite(content.find_rdataset(zone, dns.rdatatype.SOA)))
            try:
                return self._send(zone, message)
            except ConflictError:
                if not left:
                    raise
                content = self._unmoved(zone, etag)
        return None

    def audit(self, rrsets: Iterable[RRset]) -> tuple[str, ...]:
        """What no zone of this kind can hold: sets that fit no message."""
        return tuple(
            f"{each.name} {each.type}: too large for a DNS message"
            for each in rrsets
            if _size(each) > MESSAGE_BUDGET
        )

    @property
    def _keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        return TsigKey(self.key_name, self.key, self.algorithm).keyring

    def _transfer(self, zone: str) -> dns.zone.Zone:
        return self._ask(
            f"reading {zone}",
            lambda: transfer(self.server, self.port, zone, self._keyring, self.timeout),
        )

    def _message(
        self, zone: str, content: dns.zone.Zone, batch: Iterable[Change]
    ) -> dns.update.UpdateMessage:
        message = dns.update.UpdateMessage(zone, keyring=self._keyring)
        for unit in by_unit(batch).values():
            for change in unit:
                held = _held(content, change.key)
                if held:
                    message.present(change.key[0], _prerequisite(held))
                else:
                    message.absent(*change.key)
            _put_unit(message, unit, content)
        return message

    def _send(self, zone: str, message: dns.update.UpdateMessage) -> None:
        answer = self._ask(
            f"updating {zone}",
            lambda: dns.query.tcp(message, self.server, port=self.port, timeout=self.timeout),
            doubt="; whether it was done is not known, plan again",
        )
        code = answer.rcode()
        if code in _PREREQUISITE_FAILED:
            raise ConflictError(
                f"{zone} was changed by somebody else meanwhile; nothing was done, plan again"
            )
        if code != dns.rcode.NOERROR:
            # BIND 9.18 also refuses an MX whose target in the zone has no address (2026-11).
            raise ProviderError(
                f"{self.server} refuses the update of {zone}: {dns.rcode.to_text(code)}; does it allow the "
                f"key {self.key_name} to update this zone, and has every MX target an address?"
            )

    def _ask(self, what: str, exchange: Callable[[], _T], doubt: str = "") -> _T:
        """Run one exchange and turn what can go wrong into one line; `doubt` ends it where no answer came."""
        who = f"{what} at {self.server} port {self.port}"
        try:
            return exchange()
        except dns.tsig.PeerBadKey:
            # knot answers NOTAUTH/BADKEY to an unknown key and to one its ACL does not allow here.
            raise ProviderError(f"{who}: the key {self.key_name} is not accepted for this") from None
        except (dns.tsig.PeerBadSignature, dns.tsig.BadSignature):
            raise ProviderError(f"{who}: the secret of the key {self.key_name} is wrong") from None
        except (dns.tsig.PeerBadTime, dns.tsig.BadTime):
            raise ProviderError(f"{who}: the clocks are too far apart for TSIG") from None
        except dns.xfr.TransferError as error:
            code = dns.rcode.to_text(error.rcode)
            raise ProviderError(
                f"{who}: {code}; is it a zone there, and may {self.key_name} read it?"
            ) from None
        except (dns.exception.Timeout, TimeoutError):
            raise ProviderError(f"{who}: no answer within {self.timeout:g} s{doubt}") from None
        except ConnectionRefusedError as error:
            raise ProviderError(f"{who}: {type(error).__name__}: {error}") from None
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise ProviderError(f"{who}: {type(error).__name__}: {error}".rstrip(": ") + doubt) from None


def _snapshot(zone: str, content: dns.zone.Zone) -> Snapshot:
    rrsets = tuple(_rrset(key, rdataset) for key, rdataset in sorted(_rdatasets(content)))
    state = sha256()
    for each in rrsets:
        state.update(repr((each.key, each.ttl, sorted(each.rdata))).encode())
    return Snapshot(zone, rrsets, state.hexdigest())


def _rdatasets(content: dns.zone.Zone) -> Iterator[tuple[RrKey, dns.rdataset.Rdataset]]:
    for name, rdataset in content.iterate_rdatasets():
        if rdataset.rdtype not in _NOT_OURS:
            yield (name.canonicalize().to_text(), dns.rdatatype.to_text(rdataset.rdtype)), rdataset


def _rrset(key: RrKey, rdataset: dns.rdataset.Rdataset) -> RRset:
    return RRset(*key, rdataset.ttl, frozenset(from_rdata(rdata) for rdata in rdataset))


def _held(content: dns.zone.Zone, key: RrKey) -> dns.rdataset.Rdataset | None:
    return content.get_rdataset(key[0], dns.rdatatype.from_text(key[1]))


def _check(change: Change, content: dns.zone.Zone) -> None:
    """The set must be what was planned from."""
    held = _held(content, change.key)
    if (_rrset(change.key, held) if held else None) != change.old:
        raise ConflictError(
            f"{change.key[0]} {change.key[1]} was changed by somebody else meanwhile; plan again"
        )


def _put_unit(message: dns.update.UpdateMessage, unit: list[Change], content: dns.zone.Zone) -> None:
    """Write the changes of one unit.

    Servers ignore a CNAME beside other data without a word (RFC 2136 section 3.4.2.2), and knot
    with DNSSEC loses both when the other set is deleted in the same message: such a name is
    deleted as a whole first.
    """
    swapped = {
        c.key[0] for c in unit if c.key[1] == "CNAME" and len([d for d in unit if d.key[0] == c.key[0]]) > 1
    }
    for name in swapped:
        message.delete(name)
    for change in unit:
        held = None if change.key[0] in swapped else _held(content, change.key)
        _put(message, change, held)


def _put(message: dns.update.UpdateMessage, change: Change, held: dns.rdataset.Rdataset | None) -> None:
    name, type_ = change.key
    if type_ == "CNAME" and held and change.new:
        # An added CNAME replaces the old one (RFC 2136 section 3.4.2.2); knot 3.2 with DNSSEC loses the name
        # when it is also deleted in the same message (2026-11).
        held = None
    elif held and (change.new is None or change.new.ttl != held.ttl):
        message.delete(name, type_)
        held = None
    if change.new is None:
        return
    # What goes is named as the server holds it: a text cut into other chunks is another record.
    kept = set()
    for rdata in held or ():
        kept.add(from_rdata(rdata))
        if from_rdata(rdata) not in change.new.rdata:
            message.delete(name, rdata)
    for value in sorted(change.new.rdata - kept):
        message.add(name, change.new.ttl, to_rdata(type_, value))


def _prerequisite(rdataset: dns.rdataset.Rdataset) -> dns.rdataset.Rdataset:
    """A set that must exist exactly so; in a prerequisite the TTL is zero (RFC 2136 section 2.4.2)."""
    return dns.rdataset.from_rdata_list(0, list(rdataset))


def _weight(unit: Sequence[Change]) -> int:
    """Octets in a message at most. What is there is named twice: as a prerequisite, and where it goes."""
    return sum(_size(side) for c in unit for side in (c.old, c.old, c.new) if side)


def _size(each: RRset) -> int:
    """Octets in a message at most: name, fixed fields and data of each value, uncompressed."""
    return sum(len(each.name) + 12 + len(value) + len(value) // 255 + 2 for value in each.rdata)

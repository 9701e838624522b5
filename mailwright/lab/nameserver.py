"""The lab's name server, asked directly."""

from __future__ import annotations

from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from mailwright.lab.plan import LabPlan
from mailwright.lab.shell import wait_until
from mailwright.lab.world.ns import all_zones


@dataclass(frozen=True)
class NameServer:
    """Questions to knot, over TCP, so that no answer is cut short."""

    plan: LabPlan

    def ask(self, name: str, rdtype: str, *, dnssec: bool = False) -> dns.message.Message:
        """The server's answer, as dnspython has it.

        Raises:
            OSError, dns.exception.DNSException: no answer.
        """
        query = dns.message.make_query(name, rdtype, want_dnssec=dnssec)
        return dns.query.tcp(query, self.plan.host("ns").address, timeout=2)

    def values(self, name: str, rdtype: str) -> list[str]:
        """The records of a name and type in presentation format, sorted; empty if there are none."""
        wanted = dns.rdatatype.from_text(rdtype)
        answer = self.ask(name, rdtype).answer
        return sorted(str(rdata) for rrset in answer if rrset.rdtype == wanted for rdata in rrset)

    def wait_until_ready(self) -> None:
        """Wait until every zone is served and signed.

        Raises:
            LabError: not within half a minute; the message names the zone.
        """
        for zone in all_zones(self.plan):
            wait_until(lambda zone=zone: self._signed(zone), f"ns serves {zone} signed")  # type: ignore[misc]

    def _signed(self, zone: str) -> bool:
        try:
            answer = self.ask(zone, "SOA", dnssec=True)
        except (OSError, dns.exception.DNSException):
            return False
        types = {rrset.rdtype for rrset in answer.answer}
        return bool(answer.flags & dns.flags.AA) and {dns.rdatatype.SOA, dns.rdatatype.RRSIG} <= types

"""After a change: that a signed zone's servers can prove what they answer (RFC 4035 section 5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from maildns.asking.authority import AskError, Server
from maildns.judging.dnssec import BogusError, own_keys, proved
from maildns.records import RrKey


@dataclass(frozen=True)
class ZoneProof:
    """Sees that answers fit the keys that their server shows; what is gone must be denied with a proof.

    Whether those keys are chained to the parent is not asked here: that does not change with a record.
    A signer may need a moment after an update (BIND signs behind it), so a failure is a reason to wait.
    """

    zone: str
    anchored: bool = False
    """Whether a trust anchor says that the zone must be signed."""
    clock: Callable[[], float] = time.time

    def __call__(self, server: Server, key: RrKey) -> str | None:
        """Why a validating resolver would not accept the server's answer; `None` where it would."""
        try:
            if not server.ask(self.zone, "DNSKEY"):
                sentence = f"{server} shows no DNSKEY of {self.zone}, which a trust anchor says is signed"
                return sentence if self.anchored else None
            now = self.clock()
            keys = own_keys(self.zone, server.query(self.zone, "DNSKEY"), now)
            if keys is not None:
                proved(server.query(*key), *key, keys, now)
        except BogusError as error:
            return f"{server}: {error}"
        except AskError as error:
            return str(error)
        return None

"""A piece of checking that can be chosen, and run beside others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from maildns.judging.check import Verdict

KINDS = {
    "records": "every record, as its zone's servers give it",
    "delegation": "the zone's parent, its NS records and its servers agree",
    "dnssec": "the chain of trust, every signature, and proofs of absence",
    "fcrdns": "sending addresses and their names, both ways",
    "mta-sts": "the policy over HTTPS, and the MX it must cover",
    "tlsa": "the certificate that is served on port 25",
    "spf": "the policy's judgement of every sending address",
    "dmarc": "alignment of every sender's domain",
    "blocklists": "lists by address and by domain",
}
"""What `--only` can choose by kind."""


@dataclass(frozen=True)
class Task:
    """Verdicts of one kind about one subject; `run` asks what it needs."""

    kind: str
    subject: str
    """A name: absolute and dotted."""
    run: Callable[[], Iterable[Verdict]]

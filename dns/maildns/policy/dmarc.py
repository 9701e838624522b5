"""DMARC policies (RFC 7489)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from maildns.errors import RecordError
from maildns.names import within
from maildns.policy.tags import read_tags
from maildns.records import Entry, canonical_name

Policy = Literal["none", "quarantine", "reject"]

STAGES: tuple[Policy, ...] = get_args(Policy)
"""The way to `reject`, one step at a time: reports show at each who would be lost at the next."""

# A comma or exclamation mark inside the address must be percent-encoded (RFC 7489 section 6.2).
_MAILTO = re.compile(r"^mailto:[^@\s,;!]+@([A-Za-z0-9.-]+)(![0-9]+[kmgt]?)?$")


@dataclass(frozen=True)
class Dmarc:
    """What receivers do with mail that is not aligned, and where they report it."""

    policy: Policy = "none"
    subdomain_policy: Policy | None = None
    rua: tuple[str, ...] = ()
    """Where aggregate reports go: `mailto:` URIs."""
    ruf: tuple[str, ...] = ()
    """Where failure reports go: `mailto:` URIs."""
    alignment: Literal["relaxed", "strict"] = "relaxed"

    @classmethod
    def parse(cls, text: str) -> Dmarc:
        """Read a published record as a receiver does. Tags that we never publish are passed over.

        Raises:
            RecordError: receivers would apply no policy.
        """
        if not is_dmarc(text):
            raise RecordError(f"not a DMARC record: {text[:40]!r}")
        tags = read_tags(text, "RFC 7489 section 6.4")
        policy = _policy(tags.get("p", ""))
        if policy is None:
            raise RecordError(f"p= is none, quarantine or reject, not {tags.get('p', 'left out')[:20]}")
        strict = (tags.get("adkim"), tags.get("aspf")) == ("s", "s")
        return cls(
            policy,
            _policy(tags.get("sp", "")),
            rua=tuple(filter(None, map(str.strip, tags.get("rua", "").split(",")))),
            ruf=tuple(filter(None, map(str.strip, tags.get("ruf", "").split(",")))),
            alignment="strict" if strict else "relaxed",
        )

    def stricter_by(self, before: Dmarc) -> int:
        """Steps on the way none, quarantine, reject from `before`, for the domain or for names below it."""
        domain = STAGES.index(self.policy) - STAGES.index(before.policy)
        below = STAGES.index(self.below) - STAGES.index(before.below)
        return max(domain, below)

    @property
    def below(self) -> Policy:
        """What holds for names below the domain."""
        return self.subdomain_policy or self.policy

    @property
    def text(self) -> str:
        """The record.

        Raises:
            RecordError: a report address that is no `mailto:` URI.
        """
        tags = ["v=DMARC1", f"p={self.policy}"]
        tags += [f"sp={self.subdomain_policy}"] if self.subdomain_policy else []
        tags += ["adkim=s", "aspf=s"] if self.alignment == "strict" else []
        for tag, uris in (("rua", self.rua), ("ruf", self.ruf)):
            for uri in uris:
                _report_domain(uri)
            tags += [f"{tag}={','.join(uris)}"] if uris else []
        return "; ".join(tags)

    def entry(self, domain: str) -> Entry:
        """The policy as the TXT value of `_dmarc` under `domain`."""
        reason = f"for mail from {domain.removesuffix('.')} that proves nothing: {self.policy}"
        return Entry(f"_dmarc.{domain}", "TXT", self.text, reason)

    def authorisations(self, domain: str) -> Iterable[Entry]:
        """What other domains must publish before reports about `domain` are sent there.

        Domains on one branch of the tree count as one organisation (RFC 7489 section 7.1).
        """
        domain = canonical_name(domain)
        targets = {_report_domain(uri) for uri in (*self.rua, *self.ruf)}
        for target in sorted(targets):
            if not (within(target, domain) or within(domain, target)):
                about = domain.removesuffix(".")
                reason = f"lets {target.removesuffix('.')} receive reports about {about}"
                yield Entry(f"{about}._report._dmarc.{target}", "TXT", "v=DMARC1", reason)


def is_dmarc(text: str) -> bool:
    """Whether receivers take this TXT value for a DMARC record (RFC 7489 section 6.6.3)."""
    return re.match(r"v\s*=\s*DMARC1\s*(;|$)", text) is not None


def _policy(text: str) -> Policy | None:
    return next((policy for policy in STAGES if policy == text.lower()), None)


def _report_domain(uri: str) -> str:
    match = _MAILTO.match(uri)
    if match is None:
        raise RecordError(f"not a report address such as mailto:dmarc@example.org: {uri[:80]!r}")
    return canonical_name(match[1] + ".")

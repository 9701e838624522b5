"""CAA: which certificate authorities may issue for a domain (RFC 8659, RFC 8657)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from maildns.errors import RecordError
from maildns.records import Entry, canonical_name

_PARAMETER = re.compile(r"[\x21-\x3a\x3c-\x7e]+")  # RFC 8659 section 4.2: printable, without `;`
_VALUE = re.compile(r'(\d{1,3})\s+([A-Za-z0-9]+)\s+"?(.*?)"?', re.DOTALL)
_IODEF = re.compile(r"(mailto:[^@\s\";]+@[A-Za-z0-9.-]+|https?://[^\s\";]+)")

NOBODY = ";"
"""The issuer value that no authority's name can be."""


@dataclass(frozen=True)
class Issuer:
    """An authority, and on what conditions it may issue."""

    name: str
    """Absolute and dotted, as all names here."""
    accounturi: str | None = None
    """Only for this account (RFC 8657 section 3)."""
    validationmethods: tuple[str, ...] = ()
    """Only by these methods (RFC 8657 section 4)."""
    wildcard: bool = False
    """Wildcard certificates, too."""

    @property
    def text(self) -> str:
        """The value of an `issue` or `issuewild` property.

        Raises:
            RecordError: a name or a parameter that cannot be written there.
        """
        parts = [canonical_name(self.name).removesuffix(".")]
        parts += [f"accounturi={self.accounturi}"] if self.accounturi else []
        methods = ",".join(self.validationmethods)
        parts += [f"validationmethods={methods}"] if methods else []
        for part in parts[1:]:
            if not _PARAMETER.fullmatch(part) or '"' in part or "\\" in part:
                raise RecordError(f"not a CAA parameter (RFC 8659 section 4.2): {part[:80]!r}")
        return "; ".join(parts)

    @classmethod
    def parse(cls, text: str, *, wildcard: bool = False) -> Issuer | None:
        """Read the value of a property; `None` where it names nobody.

        Raises:
            RecordError: not such a value.
        """
        name, *rest = (part.strip() for part in text.split(";"))
        if not name:
            return None
        parameters = dict(_parameter(part) for part in rest if part)
        methods = tuple(filter(None, parameters.get("validationmethods", "").split(",")))
        return cls(canonical_name(f"{name}."), parameters.get("accounturi"), methods, wildcard)


@dataclass(frozen=True)
class Caa:
    """Who may issue for a domain and for what is below it, as far as that says nothing itself."""

    issuers: tuple[Issuer, ...] = ()
    """None: nobody."""
    iodef: tuple[str, ...] = ()
    """Where authorities tell of requests they refused: `mailto:` or `http(s)://`."""

    def entries(self, domain: str) -> Iterable[Entry]:
        """The CAA values of `domain`.

        `issuewild` is always said: without it, whoever may issue may issue wildcards too (section 4.3).

        Raises:
            RecordError: a value that cannot be written.
        """
        about = domain.removesuffix(".")
        for issuer in self.issuers:
            reason = f"{issuer.name.removesuffix('.')} may issue certificates for {about}"
            yield Entry(domain, "CAA", f'0 issue "{issuer.text}"', reason)
            if issuer.wildcard:
                yield Entry(domain, "CAA", f'0 issuewild "{issuer.text}"', f"{reason}, wildcards too")
        if not self.issuers:
            yield Entry(domain, "CAA", f'0 issue "{NOBODY}"', f"nobody may issue certificates for {about}")
        if not any(issuer.wildcard for issuer in self.issuers):
            reason = f"nobody may issue wildcard certificates for {about}"
            yield Entry(domain, "CAA", f'0 issuewild "{NOBODY}"', reason)
        for uri in self.iodef:
            if not _IODEF.fullmatch(uri):
                raise RecordError(f"not a mailto: or http(s): place for CAA reports: {uri[:80]!r}")
            reason = f"where authorities tell of refused requests for {about}"
            yield Entry(domain, "CAA", f'0 iodef "{uri}"', reason)


def parse_caa(values: Iterable[str]) -> Caa:
    """Read the CAA values of a name in presentation format; properties we do not know are passed over.

    Raises:
        RecordError: not CAA values.
    """
    issue: list[Issuer] = []
    wild: list[Issuer] = []
    wild_said = False
    iodef: list[str] = []
    for value in sorted(values):
        match = _VALUE.fullmatch(value)
        if match is None:
            raise RecordError(f"not a CAA value: {value[:80]!r}")
        tag = match[2].lower()
        found = Issuer.parse(match[3]) if tag in ("issue", "issuewild") else None
        issue += [found] if found and tag == "issue" else []
        wild += [found] if found and tag == "issuewild" else []
        wild_said |= tag == "issuewild"
        iodef += [match[3]] if tag == "iodef" else []
    issuers = [Issuer(i.name, i.accounturi, i.validationmethods, not wild_said or i in wild) for i in issue]
    return Caa(tuple(issuers), tuple(iodef))


def _parameter(text: str) -> tuple[str, str]:
    tag, equals, value = text.partition("=")
    if not equals:
        raise RecordError(f"not a CAA parameter (RFC 8659 section 4.2): {text[:80]!r}")
    return tag.strip().lower(), value.strip()

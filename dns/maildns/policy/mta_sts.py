"""MTA-STS (RFC 8461): senders verify the certificate of the domain's MX, or do not deliver.

A policy is two things that must agree: a document at https://mta-sts.DOMAIN/.well-known/mta-sts.txt
and a TXT record at `_mta-sts.DOMAIN` whose `id` changes whenever the document does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

from maildns.errors import RecordError
from maildns.policy.tags import read_tags
from maildns.records import Entry, canonical_name

Mode = Literal["none", "testing", "enforce"]

PATH = "/.well-known/mta-sts.txt"
"""Where a policy host serves the document (section 3.3)."""

MAX_AGE = 31_557_600
"""Seconds, one year: the most that `max_age` may say (section 3.2)."""

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_VERSION = re.compile(r"v=STSv1\s*(;|$)")
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:[ \t]*(.*?)[ \t]*")


@dataclass(frozen=True)
class MtaSts:
    """A policy: which hosts may take the domain's mail, with a valid certificate for their name."""

    mode: Mode
    """`enforce` refuses other hosts, `testing` only reports them, `none` ends a policy (section 8.3)."""
    mx: tuple[str, ...]
    """Host names, absolute and dotted; a leading `*.` stands for one label (section 4.1)."""
    max_age: int
    """Seconds for which senders hold the policy."""

    @property
    def document(self) -> bytes:
        """The policy as it is served, lines ended by CRLF (section 3.2).

        Raises:
            RecordError: no MX where there must be one, or a `max_age` out of range.
        """
        if self.mode != "none" and not self.mx:
            raise RecordError(f"an MTA-STS policy with mode {self.mode} and no MX would stop all mail")
        if not 0 <= self.max_age <= MAX_AGE:
            raise RecordError(f"an MTA-STS max_age is 0 to {MAX_AGE} seconds (RFC 8461 section 3.2)")
        names = (canonical_name(name).removesuffix(".") for name in self.mx)
        lines = ["version: STSv1", f"mode: {self.mode}"]
        lines += [*(f"mx: {name}" for name in names), f"max_age: {self.max_age}"]
        return "".join(f"{line}\r\n" for line in lines).encode()

    @property
    def id(self) -> str:
        """What tells senders that the policy is another: a digest of the document, never a time.

        The same fleet thus gives the same record, whoever publishes it and when.
        """
        return sha256(self.document).hexdigest()[:32]

    @property
    def text(self) -> str:
        """The record."""
        return f"v=STSv1; id={self.id};"

    def entry(self, domain: str) -> Entry:
        """The TXT value of `_mta-sts` under `domain`."""
        what = {
            "enforce": "senders must verify the MX of {}, or not deliver",
            "testing": "senders report whether they could verify the MX of {}",
            "none": "senders let go of the policy they held for {}",
        }[self.mode].format(domain.removesuffix("."))
        return Entry(f"_mta-sts.{domain}", "TXT", self.text, what)

    @classmethod
    def parse(cls, document: bytes) -> MtaSts:
        """Read a document as a sender does: lines end in LF or CRLF, unknown fields are passed over.

        Raises:
            RecordError: a sender would not take it for a policy; the message says why.
        """
        fields = _fields(document)
        first = {name: values[0] for name, values in fields.items()}
        if first.get("version") != "STSv1":
            raise RecordError("not a policy: it lacks `version: STSv1` (RFC 8461 section 3.2)")
        mode = next((m for m in get_args(Mode) if m == first.get("mode")), None)
        if mode is None:
            raise RecordError(f"mode is none, testing or enforce, not {first.get('mode', 'left out')[:20]}")
        age = first.get("max_age", "")
        if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > MAX_AGE:
            raise RecordError(f"max_age is not a number of seconds up to {MAX_AGE}: {age[:20]!r}")
        names = tuple(canonical_name(f"{name.removesuffix('.')}.") for name in fields.get("mx", ()))
        if not names and mode != "none":
            raise RecordError("the policy names no mx")
        return cls(mode, names, int(age))

    def covers(self, host: str) -> bool:
        """Whether the policy lets the MX `host` take mail (section 4.1)."""
        host = canonical_name(host)
        parent = host.partition(".")[2]
        return any(name in (host, f"*.{parent}") for name in self.mx)


def policy_host(domain: str) -> str:
    """The host that serves a domain's policy (section 3.3)."""
    return f"mta-sts.{domain}"


def is_mta_sts(text: str) -> bool:
    """Whether senders take this TXT value for an MTA-STS record (section 3.1)."""
    return _VERSION.match(text) is not None


def policy_id(values: Iterable[str]) -> str | None:
    """The id that the TXT values at `_mta-sts.DOMAIN` give; `None` where there is no MTA-STS record.

    Raises:
        RecordError: several records, or one without an id: senders then assume no policy.
    """
    found = [value for value in values if is_mta_sts(value)]
    if not found:
        return None
    if len(found) > 1:
        raise RecordError(f"{len(found)} MTA-STS records instead of one (RFC 8461 section 3.1)")
    said = read_tags(found[0], "RFC 8461 section 3.1", twice=True).get("id", "")
    if not _ID.fullmatch(said):
        raise RecordError(f"not an id of 1 to 32 letters and digits: {said[:40]!r}")
    return said


def _fields(document: bytes) -> dict[str, list[str]]:
    try:
        lines = document.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise RecordError("not a policy: it is no text in UTF-8") from None
    fields: dict[str, list[str]] = {}
    for line in filter(str.strip, lines):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise RecordError(f"not a policy: a line that is no `name: value`: {line[:40]!r}")
        fields.setdefault(match[1], []).append(match[2])
    return fields

"""The errors of this library: each `str()` is one line that an operator can act on."""

from __future__ import annotations


class MaildnsError(Exception):
    """The root: whoever uses the library as a whole catches this one."""


class RecordError(MaildnsError):
    """A record or policy that may not be published: malformed, or against its RFC."""

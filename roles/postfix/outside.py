"""What Postfix's ports must show to a stranger, who is the controller."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cryptography import x509

from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Machine
from mailwright.model.pools import MAIL
from mailwright.model.role import Context
from mailwright.model.visit import OutsideCheck, Reception, Start, Visit
from roles.postfix.behaviour import spoken

_HELLO = "EHLO verify.mailwright.invalid"
_SUBMISSION = (587, 465)
_STARTS: dict[int, Start] = {MAIL: "starttls", 587: "starttls", 465: "implicit"}  # RFC 6409, RFC 8314
_WEEK = timedelta(days=7)
_REFUSED = re.compile("ALERT|UNSUPPORTED_PROTOCOL|WRONG_SSL_VERSION")
"""OpenSSL's words for a server that wants another version (RFC 8446 section 6.2), or answers in one."""


def checks(ctx: Context[Any], *, inbound: bool, submission: bool) -> Iterable[OutsideCheck]:
    """The dialogue at each address, and what TLS agrees to; nobody logs in, and no mail is taken."""
    machine = ctx.machine
    for address in map(str, machine.addresses):
        if inbound:
            # One recipient, and a stranger's: a refusal that Postfix logs, for the whole of a verification.
            say = (_HELLO, "MAIL FROM:<>", "RCPT TO:<stranger@example.net>", "QUIT")
            yield OutsideCheck(
                f"25 at {address} takes mail for us alone",
                Visit(address, MAIL, "smtp", say=say),
                partial(_exchanger, machine.fqdn.bare),
                "mailwright apply",
            )
        if submission:
            yield from (_submission(machine, address, port) for port in _SUBMISSION)
    ports = (*((MAIL,) if inbound else ()), *(_SUBMISSION if submission else ()))
    yield from (_old(str(machine.addresses[0]), port) for port in ports)


def _exchanger(host: str, seen: Reception) -> str | None:
    return spoken(host, ("STARTTLS",), seen.require().said)


def _submission(machine: Machine, address: str, port: int) -> OutsideCheck:
    def judge(seen: Reception) -> str | None:
        ehlos = [reply for reply in seen.require().replies if reply.startswith("250-")]
        if not seen.version:
            return f"TLS does not come about: {seen.trouble or seen.said[-200:]}"
        if any("AUTH" in ehlo for ehlo in ehlos[:-1]):
            return "it offers AUTH without TLS"
        if not ehlos or not re.search(r"^250[- ]AUTH .*\bPLAIN\b", ehlos[-1], re.MULTILINE):
            return f"it offers no AUTH PLAIN within TLS: {seen.trouble or seen.said[-200:]}"
        if seen.version != "TLSv1.3" and not seen.cipher.startswith(("ECDHE", "DHE")):
            return f"{seen.cipher} has no forward secrecy"
        return certificate_fault(seen.certificate, machine.fqdn.bare, datetime.now(UTC))

    visit = Visit(address, port, "smtp", _STARTS[port], say=(_HELLO, "QUIT"))
    return OutsideCheck(f"{port} at {address} takes logins within TLS", visit, judge, "mailwright apply")


def certificate_fault(der: bytes, name: str, now: datetime) -> str | None:
    """What is wrong with a served certificate, whoever signed it: its time or its names."""
    certificate = x509.load_der_x509_certificate(der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    if name not in names.get_values_for_type(x509.DNSName):
        return f"its certificate is not for {name}"
    end = certificate.not_valid_after_utc
    if not certificate.not_valid_before_utc <= now <= end - _WEEK:
        return f"its certificate ends on {end:%Y-%m-%d}"
    return None


def _old(address: str, port: int) -> OutsideCheck:
    def judge(seen: Reception) -> str | None:
        if seen.require().version:
            return f"it agrees to {seen.version}"
        if "NO_PROTOCOLS" in seen.trouble:
            raise UnknownError("this controller's OpenSSL speaks nothing as old")
        if not _REFUSED.search(seen.trouble):
            raise UnknownError(f"it did not come to TLS: {seen.trouble or seen.said[-200:]}")
        return None

    visit = Visit(address, port, "smtp", _STARTS[port], old=True)
    return OutsideCheck(f"{port} at {address} refuses TLS below 1.2", visit, judge, "mailwright apply")

"""Lints about DKIM keys."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from maildns.errors import RecordError
from maildns.judging.lint.rule import Found, Rule, Severity
from maildns.judging.lint.view import View
from maildns.policy.dkim import DkimKey, is_live_key

MIN_BITS = 2048  # RFC 8301 section 3.2: signers SHOULD use at least that


def _broken(view: View) -> Found:
    for name, text in view.dkim_keys():
        try:
            DkimKey.parse(text)
        except RecordError as error:
            yield name, f"verifiers ignore the key: {error}"


def _short(view: View) -> Found:
    for name, text in view.dkim_keys():
        bits = _bits(text)
        if bits and bits < MIN_BITS:
            yield (
                name,
                f"an RSA key of {bits} bits can be broken; exchange it for one of {MIN_BITS} (RFC 8301)",
            )


def _bits(text: str) -> int | None:
    """The length of a live RSA key."""
    try:
        key = DkimKey.parse(text)
    except RecordError:
        return None
    if key.algorithm != "rsa" or not key.public:
        return None
    public = load_der_public_key(base64.b64decode(key.public))
    return public.key_size if isinstance(public, RSAPublicKey) else None


def _idle(view: View) -> Found:
    known = view.context.selectors
    for name, text in view.dkim_keys() if known is not None else ():
        if known is not None and name not in known and is_live_key(name, text):
            yield (
                name,
                "no host of ours signs with it, and whoever has its private half can; delete it",
            )


RULES = (
    Rule("dkim-broken", Severity.ERROR, _broken),
    Rule("dkim-short", Severity.WARNING, _short),
    Rule("dkim-idle", Severity.WARNING, _idle),
)

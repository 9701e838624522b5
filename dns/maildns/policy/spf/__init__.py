"""SPF (RFC 7208): records of our own, everybody's as receivers read them, and how to flatten them."""

from maildns.policy.spf.evaluate import Evaluation, Result, check_host
from maildns.policy.spf.lookup import Lookup, LookupFailedError, StaticLookup
from maildns.policy.spf.record import MAX_LOOKUPS, NOBODY, Spf, is_spf
from maildns.policy.spf.syntax import Policy, SpfSyntaxError, parse

__all__ = [
    "MAX_LOOKUPS",
    "NOBODY",
    "Evaluation",
    "Lookup",
    "LookupFailedError",
    "Policy",
    "Result",
    "Spf",
    "SpfSyntaxError",
    "StaticLookup",
    "check_host",
    "is_spf",
    "parse",
]

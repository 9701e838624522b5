"""What the SPF evaluator is told when it asks a real server through dnspython."""

from __future__ import annotations

from ipaddress import ip_address

import dns.nameserver
import dns.resolver
import pytest

from maildns.policy.spf import LookupFailedError, Result, check_host
from maildns.policy.spf.resolver import ResolverLookup
from tests.dns.server import free_port

ZONE = "plain0.example."


def asking(port: int) -> ResolverLookup:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", port)]
    return ResolverLookup(resolver, lifetime=1)


@pytest.fixture(name="lookup")
def lookup_fixture(knot):
    target = knot.target(ZONE)
    target.foreign(
        f'{ZONE} 300 TXT "v=spf1 a:www.{ZONE} exists:%{{l}}" ".{ZONE} -all"',
        f'{ZONE} 300 TXT "octets \\195\\164 \\128"',
        f"{ZONE} 300 MX 10 Mail.{ZONE}",
        f"mail.{ZONE} 300 A 192.0.2.10",
        f"www.{ZONE} 300 CNAME mail.{ZONE}",
        f"user.{ZONE} 300 A 127.0.0.2",
    )
    yield asking(knot.port)
    knot.empty(ZONE)


def test_values_are_whole_texts_and_dotted_names(lookup):
    policy = f"v=spf1 a:www.{ZONE} exists:%{{l}}.{ZONE} -all"
    assert set(lookup(ZONE, "TXT")) == {policy, "octets ä \udc80"}
    assert lookup(ZONE, "MX") == (f"10 mail.{ZONE}",)
    assert lookup(f"mail.{ZONE}", "A") == ("192.0.2.10",)


def test_aliases_are_followed_and_what_is_not_there_is_nothing(lookup):
    assert lookup(f"www.{ZONE}", "A") == ("192.0.2.10",)
    assert lookup(f"www.{ZONE}", "AAAA") == ()
    assert lookup(f"gone.{ZONE}", "A") == ()
    assert lookup(f"a b\\c.{ZONE}", "A") == ()


def test_no_server_that_says_is_a_failure_that_may_pass(lookup):
    with pytest.raises(LookupFailedError, match=r"nobody\.example\. TXT: no server gives an answer"):
        lookup("nobody.example.", "TXT")  # refused: not its zone
    silent = asking(free_port())
    for _ in range(2):  # remembered: the second does not wait
        with pytest.raises(LookupFailedError, match=r"example\.org\. A: no answer in time"):
            silent("example.org.", "A")


@pytest.mark.parametrize(
    ("ip", "sender", "result"),
    [
        ("192.0.2.10", f"x@{ZONE}", Result.PASS),
        ("192.0.2.11", f"user@{ZONE}", Result.PASS),
        ("192.0.2.11", f"x@{ZONE}", Result.FAIL),
        ("192.0.2.11", "x@nobody.example", Result.TEMPERROR),
    ],
)
def test_a_policy_is_judged_as_the_server_gives_it(lookup, ip, sender, result):
    assert check_host(ip_address(ip), sender.partition("@")[2], sender, "h", lookup).result is result

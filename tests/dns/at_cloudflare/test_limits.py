"""What Cloudflare cannot hold is told beforehand, and would be refused."""

from __future__ import annotations

import pytest

from maildns.errors import MaildnsError
from maildns.provider import Change
from maildns.records import rrset
from tests.dns.at_cloudflare.zone import ZONE, publish

pytestmark = pytest.mark.usefixtures("zone")


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (rrset("a.example.", "TXT", 300, ["x" * 4081]), "a record of more than 4096 octets"),
        (
            rrset("a.example.", "TXT", 300, ["x" * 4000 + str(n) for n in range(3)]),
            "more than 8192 characters",
        ),
        (rrset("a.example.", "LOC", 300, ["52 22 23.000 N 4 53 32.000 E -2.00m"]), "no records of this type"),
        (rrset("a.example.", "A", 30, ["192.0.2.1"]), "TTL 30 is outside 60 to 86400"),
        (rrset("a.example.", "A", 86401, ["192.0.2.1"]), "TTL 86401 is outside"),
        (rrset("a.example.", "TXT", 300, [""]), "no empty text"),
    ],
)
def test_what_cannot_be_held_is_told_and_would_be_refused(zone, provider, each, said):
    (sentence,) = provider.audit([each])
    assert sentence.startswith(f"{each.name} {each.type}: ")
    assert said in sentence
    moved = rrset(f"a.{ZONE}", each.type, each.ttl, each.rdata)
    with pytest.raises(MaildnsError, match=r"nothing was done|not written through"):
        provider.apply(ZONE, [Change(None, moved, "", "a")], provider.fetch(ZONE).etag)
    assert zone.records == {}


def test_the_largest_that_can_be_held_is_held(provider):
    wanted = [rrset(f"a.{ZONE}", "TXT", 86400, ["x" * 4080])]
    assert provider.audit(wanted) == ()
    publish(provider, wanted)

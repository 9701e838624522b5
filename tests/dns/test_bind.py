"""What is peculiar to BIND."""

from __future__ import annotations

import pytest

from maildns.planning.plan import plan_zone
from maildns.provider import ProviderError
from maildns.records import rrset


@pytest.fixture
def zone(bind):
    name = "plain0.example."  # given back as it was
    yield name
    bind.empty(name)


def test_an_mx_to_nowhere_in_the_zone_is_refused_in_one_line_and_with_its_address_taken(bind, zone):
    provider = bind.provider()
    mx = rrset(zone, "MX", 300, [f"10 mail.{zone}"])
    plan = plan_zone(provider.fetch(zone), [mx], "us")
    with pytest.raises(ProviderError, match=r"REFUSED.*has every MX target an address") as error:
        provider.apply(zone, plan.changes, plan.etag)
    assert "\n" not in str(error.value)
    wanted = [mx, rrset(f"mail.{zone}", "A", 300, ["192.0.2.1"])]
    plan = plan_zone(provider.fetch(zone), wanted, "us")
    provider.apply(zone, plan.changes, plan.etag)
    assert plan_zone(provider.fetch(zone), wanted, "us").changes == ()


def test_keys_that_may_not_are_told_in_one_line(bind, zone):
    plan = plan_zone(bind.provider().fetch(zone), [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])], "us")
    reader = bind.provider(key_name="reader.", key=bind.read_key)
    with pytest.raises(ProviderError, match=r"does it allow the key reader\."):
        reader.apply(zone, plan.changes, plan.etag)
    for changed in ({"key_name": "stranger."}, {"key": "d3Jvbmc="}):
        with pytest.raises(ProviderError, match="key") as error:
            bind.provider(**changed).fetch(zone)
        assert "\n" not in str(error.value)


def test_what_the_signer_makes_is_not_the_zones_content(bind):
    assert {r.type for r in bind.provider().fetch("signed0.example.").rrsets} == {"NS", "A"}

"""Where the contract is run: one fixture a provider, each in a module of its own."""

from __future__ import annotations

import pytest

from tests.dns.bind import bind_fixture, bind_signed_target, bind_target
from tests.dns.cloudflare import (
    cloudflare_fixture,
    cloudflare_records_target,
    cloudflare_target,
)
from tests.dns.knot import knot_fixture, knot_signed_target, knot_target
from tests.dns.powerdns import powerdns_fixture, powerdns_target
from tests.dns.route53 import (
    amazon_fixture,
    hand_fixture,
    hosted_fixture,
    hurried_fixture,
    route53_server_fixture,
    route53_target,
)
from tests.dns.target import Target

__all__ = [
    "amazon_fixture",
    "bind_fixture",
    "bind_signed_target",
    "bind_target",
    "cloudflare_fixture",
    "cloudflare_records_target",
    "cloudflare_target",
    "hand_fixture",
    "hosted_fixture",
    "hurried_fixture",
    "knot_fixture",
    "knot_signed_target",
    "knot_target",
    "powerdns_fixture",
    "powerdns_target",
    "route53_server_fixture",
    "route53_target",
]

PROVIDERS = (
    "knot",
    "knot_signed",
    "bind",
    "bind_signed",
    "powerdns",
    "route53",
    "cloudflare",
    "cloudflare_records",
)
"""Each is a fixture NAME_target."""


@pytest.fixture(params=PROVIDERS)
def target(request: pytest.FixtureRequest) -> Target:
    """One fresh zone at each provider there is."""
    return request.getfixturevalue(f"{request.param}_target")

"""A zone at the fake, and a provider whose time passes only where it sleeps."""

from __future__ import annotations

import pytest

from tests.dns.at_cloudflare.zone import ZONE, make
from tests.dns.cloudflare import Clock


@pytest.fixture
def clock(cloudflare):
    """The provider's clock, and the fake's."""
    cloudflare.clock = Clock()
    return cloudflare.clock


@pytest.fixture
def zone(cloudflare):
    """A zone on the free plan."""
    return cloudflare.account.add(ZONE.removesuffix("."))


@pytest.fixture
def provider(cloudflare, clock):
    return make(cloudflare, clock)

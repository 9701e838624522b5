"""Where the contract is run: one fixture a provider, each in a module of its own."""

from __future__ import annotations

import pytest

from tests.dns.knot import knot_fixture, knot_signed_target, knot_target
from tests.dns.target import Target

__all__ = ["knot_fixture", "knot_signed_target", "knot_target"]

PROVIDERS = ("knot", "knot_signed")
"""Each is a fixture NAME_target."""


@pytest.fixture(params=PROVIDERS)
def target(request: pytest.FixtureRequest) -> Target:
    """One fresh zone at each provider there is."""
    return request.getfixturevalue(f"{request.param}_target")

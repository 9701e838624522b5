"""Every machine of an inventory is what its roles' needs and checks say: one item for each of them."""

import pytest

from mailwright.verify.expectation import Expectation, Fault


def test_need(expectation: Expectation, fault: Fault | None) -> None:
    if fault:
        pytest.fail(expectation.report(fault), pytrace=False)

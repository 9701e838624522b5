"""The machines of an inventory, each and together, are what their roles say: one item for each thing."""

import pytest

from mailwright.verify.expectation import Expectation, Fault, Joint


def test_need(expectation: Expectation | Joint, fault: Fault | None) -> None:
    if fault:
        pytest.fail(expectation.report(fault), pytrace=False)

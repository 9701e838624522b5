"""The pytest side of verification: options, test items, evidence and exit status.

`tests/hosts/conftest.py` takes its hooks and fixtures from here, so that the suite runs by
`mailwright verify`, by `pytest tests/hosts --inventory inventory/prod.yaml` and in any CI alike.
"""

from __future__ import annotations

from typing import cast

import pytest

from mailwright.model.errors import HostKeyError, MailwrightError
from mailwright.verify.expectation import Expectation, Fault, Joint
from mailwright.verify.report import text
from mailwright.verify.suite import Suite

UNKNOWN = 3
"""Exit status when nothing failed but something could not be found out."""

SUITE = pytest.StashKey[Suite]()
"""Where the configuration holds the suite. Who runs pytest may have put one there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--inventory` and `--limit`."""
    group = parser.getgroup("mailwright")
    group.addoption("--inventory", help="the fleet file, or pyinfra's inventory beside it")
    group.addoption("--limit", action="append", default=[], help="a machine, role or label; may be repeated")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fleet once."""
    inventory = config.getoption("inventory", None)
    if inventory is None or SUITE in config.stash:
        return
    try:
        config.stash[SUITE] = Suite(inventory, config.getoption("limit"))
    except MailwrightError as e:
        raise pytest.UsageError(str(e)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item an expectation, named like it."""
    if "expectation" in metafunc.fixturenames:
        suite = metafunc.config.stash.get(SUITE, None)
        items = suite.expectations if suite else []
        metafunc.parametrize("expectation", items, ids=[e.id for e in items])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ask the machines while the first items wait; `--collect-only` asks nobody."""
    suite = session.config.stash.get(SUITE, None)
    if suite is None or session.config.getoption("collectonly"):
        return
    selected = []
    for item in session.items:
        expectation = expectation_of(item)
        if expectation:
            if isinstance(expectation, Expectation):
                item.user_properties.append(("machine", expectation.machine))
            item.user_properties.append(("role", expectation.role))
            selected.append(expectation)
    suite.begin(selected)


@pytest.fixture
def fault(expectation: Expectation | Joint, request: pytest.FixtureRequest) -> Fault | None:
    """The judgement on an expectation: `None` is a pass.

    Judging is the item's set-up, so that an item nobody can judge ends as an error and not as a failure,
    in pytest's own report and in JUnit's.
    """
    suite = request.config.stash[SUITE]
    try:
        check = suite.judge(expectation)
    except HostKeyError as e:
        suite.refused = True
        raise pytest.exit.Exception(str(e), returncode=pytest.ExitCode.TESTS_FAILED) from None
    if check.outcome == "skipped":
        pytest.skip(check.found)
    if check.outcome == "unknown":
        raise pytest.fail.Exception(text(check), pytrace=False)
    if check.note:
        request.node.user_properties.append(("note", check.note))
    return Fault(check.expected, check.found) if check.outcome == "fail" else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Exit 0 when all is well, 1 when something failed, `UNKNOWN` when something stayed in the dark."""
    suite = session.config.stash.get(SUITE, None)
    if suite is None:
        return
    suite.end()
    unknown = sum(check.outcome == "unknown" for check in suite.checks.values())
    failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED
    if failed and session.testsfailed <= unknown and not suite.refused:
        session.exitstatus = UNKNOWN


def expectation_of(item: pytest.Item) -> Expectation | Joint | None:
    """What an item judges; nothing for a test of another kind."""
    call = getattr(item, "callspec", None)
    return cast("Expectation | Joint | None", call.params.get("expectation")) if call else None

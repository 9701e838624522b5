"""The pytest side of verification: options, test items, evidence and exit status.

`tests/hosts/conftest.py` takes its hooks and fixtures from here, so that the suite runs by
`mailwright verify`, by `pytest tests/hosts --inventory inventory/prod.yaml` and in any CI alike.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import pytest

from mailwright.command.inventory import open_site
from mailwright.model.errors import HostKeyError, MailwrightError
from mailwright.model.select import select
from mailwright.model.site import MachinePlan
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Evidence, Expectation, Fault, Joint, UnknownError
from mailwright.verify.gather import Gathering, evidence
from mailwright.verify.ssh import runner
from mailwright.verify.together import joint

UNKNOWN = 3
"""Exit status when nothing failed but something could not be found out."""


class Suite:
    """The machines of one run, what is expected of them, and what they answered."""

    def __init__(self, inventory: str, limit: list[str]) -> None:
        """Compute what every machine must be; nothing is connected to.

        Raises:
            MailwrightError: the fleet file, a secret or the limit is wrong.
        """
        site = open_site(Path(inventory))
        self.plans: dict[str, MachinePlan] = {m.name: site.plan(m) for m in select(site.fleet, limit)}
        self.expectations: list[Expectation | Joint] = [
            e for plan in self.plans.values() for e in expectations(plan, inventory)
        ]
        self.expectations += joint(site, self.plans)
        self.gathering: Gathering | None = None
        self.told: set[str] = set()
        """Machines whose silence has been reported."""
        self.unknown = 0
        self.refused = False
        """Whether a machine showed another host key than the pinned one."""

    def begin(self, selected: list[Expectation | Joint]) -> None:
        """Ask all machines of the selected items at once, for those items only."""
        wanted: dict[str, list[Expectation | Joint]] = {}
        for expectation in selected:
            for machine in expectation.machines:
                wanted.setdefault(machine, []).append(expectation)
        self.gathering = Gathering(
            {
                machine: partial(
                    evidence, runner(self.plans[machine].machine), self.plans[machine].merged, own
                )
                for machine, own in wanted.items()
            }
        )

    def evidence(self, machine: str) -> Evidence:
        """What a machine answered.

        An unreachable machine is one unknown, not a failure of everything that is expected of it: its
        first item says so and the others are skipped.
        """
        if self.gathering is None:
            raise UnknownError("nothing was asked")
        try:
            return self.gathering.of(machine)
        except UnknownError:
            if machine in self.told:
                pytest.skip(f"{machine} did not answer")
            self.told.add(machine)
            raise


_SUITE = pytest.StashKey[Suite]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--inventory` and `--limit`."""
    group = parser.getgroup("mailwright")
    group.addoption("--inventory", help="the fleet file, or pyinfra's inventory beside it")
    group.addoption("--limit", action="append", default=[], help="a machine, role or label; may be repeated")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fleet once."""
    inventory = config.getoption("inventory", None)
    if inventory is None:
        return
    try:
        config.stash[_SUITE] = Suite(inventory, config.getoption("limit"))
    except MailwrightError as e:
        raise pytest.UsageError(str(e)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item an expectation, named like it."""
    if "expectation" in metafunc.fixturenames:
        suite = metafunc.config.stash.get(_SUITE, None)
        items = suite.expectations if suite else []
        metafunc.parametrize("expectation", items, ids=[e.id for e in items])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ask the machines while the first items wait; `--collect-only` asks nobody."""
    suite = session.config.stash.get(_SUITE, None)
    if suite is None or session.config.getoption("collectonly"):
        return
    selected = []
    for item in session.items:
        expectation = _expectation(item)
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
    suite = request.config.stash[_SUITE]
    try:
        found = expectation.judged(suite.evidence)
        if found is None and isinstance(expectation, Expectation):
            remark = expectation.remark(suite.evidence(expectation.machine).observation)
            request.node.user_properties += [("note", remark)] if remark else []
    except UnknownError as e:
        suite.unknown += 1
        raise pytest.fail.Exception(f"{expectation.id}: {e}", pytrace=False) from None
    except HostKeyError as e:
        suite.refused = True
        raise pytest.exit.Exception(str(e), returncode=pytest.ExitCode.TESTS_FAILED) from None
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Exit 0 when all is well, 1 when something failed, `UNKNOWN` when something stayed in the dark."""
    suite = session.config.stash.get(_SUITE, None)
    if suite is None:
        return
    if suite.gathering:
        suite.gathering.close()
    failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED
    if failed and session.testsfailed <= suite.unknown and not suite.refused:
        session.exitstatus = UNKNOWN


def _expectation(item: pytest.Item) -> Expectation | Joint | None:
    call = getattr(item, "callspec", None)
    return cast("Expectation | Joint | None", call.params.get("expectation")) if call else None

"""One verification: what is expected of which machines, what they answered, and what that comes to."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mailwright.command.inventory import open_site
from mailwright.drift.provenance import fleet_digest
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.load import fleet_file
from mailwright.model.needs import Needs
from mailwright.model.select import select
from mailwright.model.site import MachinePlan
from mailwright.model.yamlfile import read
from mailwright.verify.declared import Declarations
from mailwright.verify.derive import expectations
from mailwright.verify.expectation import Ask, Evidence, Expectation, Joint, reported
from mailwright.verify.gather import Gathering, evidence
from mailwright.verify.report import CheckReport, MachineReport, Report
from mailwright.verify.ssh import runner
from mailwright.verify.together import joint

_SSH = 22
_SETTLES = 3.0
"""Seconds within which one machine takes over what another had: VRRP's are the longest, below two."""


class _SilenceError(UnknownError):
    """A machine did not answer at all, so that nothing is known of it."""

    def __init__(self, machine: str, reason: str) -> None:
        super().__init__(reason)
        self.machine = machine


class Suite:
    """The machines of one run, what is expected of them, and what they answered."""

    def __init__(self, inventory: str, limit: Sequence[str], *, active: bool = False) -> None:
        """Compute what every machine must be; nothing is connected to.

        `active`: mail is to be sent, too.

        Raises:
            MailwrightError: the fleet file, a secret or the limit is wrong, or nobody is to get mail.
        """
        self.began, self._start = datetime.now(UTC), time.monotonic()
        self.file = fleet_file(inventory)
        site = open_site(Path(inventory))
        self.fleet = site.fleet
        if active and site.fleet.verify.probe is None:
            raise MailwrightError(f"{self.file}: --active sends mail to `verify.probe`, and there is none")
        self.declarations = Declarations(site.fleet, read(self.file))
        self.plans: dict[str, MachinePlan] = {m.name: site.plan(m) for m in select(site.fleet, limit)}
        every: list[Expectation | Joint] = [
            e for plan in self.plans.values() for e in expectations(plan, inventory, active=active)
        ]
        every += joint(site, self.plans)
        self.expectations = [replace(e, declared=self.declarations.of(e)) for e in every]
        self.checks: dict[str, CheckReport] = {}
        """What was judged so far, by the ids of the expectations."""
        self.refused = False
        """Whether a machine showed another host key than the pinned one."""
        self._gathering: Gathering | None = None
        self._silent: set[str] = set()

    def begin(self, selected: Iterable[Expectation | Joint]) -> None:
        """Ask all machines of the selected items at once, for those items only."""
        wanted: dict[str, list[Expectation | Joint]] = {}
        for expectation in selected:
            for machine in expectation.machines:
                wanted.setdefault(machine, []).append(expectation)
        self._gathering = Gathering(
            {
                machine: partial(
                    evidence, runner(self.plans[machine].machine), self.plans[machine].merged, own
                )
                for machine, own in wanted.items()
            }
        )

    def answered(self, machines: Collection[str]) -> Iterator[str]:
        """Each of `machines` once its evidence is there, or is known not to come."""
        return self._gathering.finished(machines) if self._gathering else iter(())

    def end(self) -> None:
        """Ask nobody any more."""
        if self._gathering:
            self._gathering.close()

    def judge(self, expectation: Expectation | Joint) -> CheckReport:
        """Judge an expectation, waiting for the machines' answers.

        A machine that does not answer is one unknown, not a failure of everything that is expected of it:
        its first check says so and the others are skipped.

        Raises:
            HostKeyError: a machine shows another host key than the pinned one.
        """
        about = partial(reported, expectation)
        try:
            fault = expectation.judged(self._evidence, partial(self._settled, expectation))
            if fault:
                check = about("fail", fault.expected, fault.found)
            else:
                check = about("pass", note=self._remark(expectation))
        except _SilenceError as silence:
            check = self._silence(expectation, silence)
        except UnknownError as error:
            check = about("unknown", found=str(error))
        except (ValueError, LookupError, TypeError) as error:
            check = about("unknown", found=f"its answer makes no sense: {type(error).__name__}: {error}")
        self.checks[expectation.id] = check
        return check

    def report(self, own: Mapping[str, Sequence[CheckReport]], together: Sequence[CheckReport]) -> Report:
        """The report, made of each machine's own checks and those of several."""
        machines = tuple(self.machine(name, own[name]) for name in self.plans if name in own)
        return Report(
            self.file.stem,
            self.declarations.document.name,
            fleet_digest(self.file),
            self.began,
            self.seconds(),
            machines,
            tuple(together),
        )

    def machine(self, name: str, checks: Sequence[CheckReport]) -> MachineReport:
        """One machine's part of the report."""
        machine = self.fleet.machine(name)
        pools = (*self.fleet.pools_of(name), *self.fleet.balanced_by(name))
        at = self._gathering.ended.get(name) if self._gathering else None
        return MachineReport(
            name,
            machine.fqdn,
            tuple(machine.roles),
            f"Debian {machine.debian}",
            tuple(map(str, machine.addresses)),
            tuple(dict.fromkeys(pool.name for pool in pools)),
            at - self._start if at else self.seconds(),
            tuple(checks),
        )

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def _evidence(self, machine: str) -> Evidence:
        if self._gathering is None:
            raise UnknownError("nothing was asked")
        try:
            return self._gathering.of(machine)
        except UnknownError as error:
            raise _SilenceError(machine, str(error)) from None

    def _settled(self, expectation: Expectation | Joint) -> Ask:
        """Ask those whom it is about for it alone, when what was under way should have ended."""
        time.sleep(_SETTLES)
        whom = {name: runner(self.plans[name].machine) for name in expectation.machines}
        gathering = Gathering({n: partial(evidence, run, Needs(), [expectation]) for n, run in whom.items()})
        return gathering.of

    def _remark(self, expectation: Expectation | Joint) -> str:
        if isinstance(expectation, Joint):
            return ""
        return expectation.remark(self._evidence(expectation.machine).observation) or ""

    def _silence(self, expectation: Expectation | Joint, silence: _SilenceError) -> CheckReport:
        name = silence.machine
        if name in self._silent:
            return reported(expectation, "skipped", found=f"{name} did not answer")
        self._silent.add(name)
        machine = self.plans[name].machine
        port = f"-p {machine.ssh.port} " if machine.ssh.port != _SSH else ""
        return replace(
            reported(expectation, "unknown", f"an answer of {name}", str(silence)),
            remedy=f"ssh {port}{machine.ssh.user}@{machine.ssh_address}",
            declared=self.declarations.of_machine(name),
        )

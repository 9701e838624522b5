"""A drill: a machine's backups brought back onto a spare one, compared with it, and put to work there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailwright.backup.copies import QUEUE, compare_copy, compare_queue
from mailwright.backup.manifest import Compared, Manifest, compare, known_as, manifest
from mailwright.backup.programs import Client, Difference
from mailwright.backup.report import Done, Report
from mailwright.backup.restoring import Restore
from mailwright.backup.snapshots import BackupError, amount, stamp
from mailwright.backup.spares import Spare
from mailwright.model.errors import MailwrightError
from mailwright.model.needs import BackupPath
from mailwright.model.site import MachinePlan
from mailwright.queue import Mta
from mailwright.verify.gather import Run
from mailwright.verify.ssh import runner

_HOST_KEY = "/etc/ssh/ssh_host_"
"""How the files of SSH host keys begin (sshd(8), FILES)."""
_NAMED = 5
"""So many differences of one path are told at once; the report has all."""


@dataclass(frozen=True)
class Suite:
    """What a machine's suite came to."""

    passed: int
    faults: tuple[str, ...] = ()
    """A line for each check that did not pass."""


@dataclass
class Drill:
    """A drill of one machine. `run` is all of it; the steps are apart so that a test can come in between."""

    original: MachinePlan
    double: MachinePlan
    """The same machine where the spare is, and closed."""
    spare: Spare
    deploy: Callable[[], str]
    """Brings the spare to what `double` is; what was done."""
    suite: Callable[[], Suite]
    """Asks the spare whether it is what `double` is."""
    say: Callable[[str], None] = lambda _: None
    """Hears each step before it is taken, and what it found."""
    report: Report = field(init=False)
    _before: Manifest = field(default_factory=dict)
    """What the original has."""
    _queued: Mapping[str, int] = field(default_factory=dict)
    """When each message came that the original has in its queue, by its id."""
    _dumped: Mapping[str, set[str]] = field(default_factory=dict)
    """The names of the files in the dump of a path, by that path."""
    _copied: tuple[Difference, ...] = ()
    """Where what was restored by its own way is not as the snapshot has it."""

    def __post_init__(self) -> None:
        """Begin the report.

        Raises:
            BackupError: the backups hold what the spare is known by, or who may log in to it.
        """
        for path in self._paths:
            if f"{_HOST_KEY}/".startswith(f"{path.path}/") or path.path.startswith(_HOST_KEY):
                why = "the spare would be taken for it ever after; back up what is meant more narrowly"
                raise BackupError(f"{self.name}: {path.path} has its SSH host keys: {why}")
        for key in self._logins():
            if found := next((p.path for p in self._paths if f"{key}/".startswith(f"{p.path}/")), None):
                why = "the spare would let nobody in afterwards; back up what is meant more narrowly"
                raise BackupError(f"{self.name}: {found} has who may log in ({key}): {why}")
        releases = self.original.machine.debian, self.spare.machine.debian
        self.report = Report(self.name, self.spare.machine.name, releases, datetime.now(UTC))

    def _logins(self) -> Iterator[str]:
        """Files on the spare without which nobody of ours can log in to it."""
        user = self.spare.machine.ssh.user
        yield from (f"{home}/.ssh/authorized_keys" for home in ("/root", f"/home/{user}"))
        yield from (user.authorized_keys for user in self.double.merged.users if user.managed_keys)

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.original.machine.name

    @property
    def _client(self) -> Client:
        return Client.at(self.double.machine)

    @property
    def _paths(self) -> tuple[BackupPath, ...]:
        return self.original.merged.backups

    def run(self) -> Report:
        """Hold the drill. Whatever happens, the spare is given back; what went wrong is in the report."""
        where = self.spare.machine.name
        with self._step(f"look at what {self.name} has") as found:
            found.append(self.look())
        if self.report.faults:
            return self.report
        steps = (
            (f"{where} is bare", self.spare.empty),
            (f"deploy the roles of {self.name} on {where}, closed", self.deploy),
            ("bring its newest snapshots back", self.restore),
            (f"compare with {self.name}", self.compare),
            ("deploy again: what the fleet file says today", self.deploy),
            (f"the suite of {self.name} on {where}", self.prove),
        )
        try:
            for title, work in steps:
                with self._step(title) as found:
                    found.append(work())
                if self.report.steps[-1].problem:
                    break
            else:
                self.report.ended = datetime.now(UTC)
        finally:
            try:
                self._give_back()
            except KeyboardInterrupt:
                self._give_back()  # now of all times: once more, from its beginning
                raise
        return self.report

    def _give_back(self) -> None:
        with self._step(f"{self.spare.machine.name} as it was") as found:
            found.append(self.spare.give_back())

    @contextmanager
    def _step(self, title: str) -> Iterator[list[str]]:
        self.say(title)
        began, found, problem = time.monotonic(), list[str](), ""
        try:
            yield found
        except MailwrightError as error:
            problem = "; ".join(str(error).splitlines())
            self.report.faults.append(f"{title}: {problem}")
        finally:
            done = Done(title, "; ".join(found), time.monotonic() - began, problem)
            self.report.steps.append(done)
        self.say(f"     {done.problem or done.found}  ({done.seconds:.1f} s)")

    def look(self) -> str:
        """See what the original has, before anything is done: the nearer to its snapshots, the better."""
        run = runner(self.original.machine)
        self._before = self._manifest(run)
        files = [entry for entry in self._before.values() if entry.kind == "file"]
        said = f"{len(files)} files, {amount(sum(entry.size for entry in files))}"
        if not self._has_queue:
            return said
        self._queued = Mta.of(self.original, run).arrivals()
        return f"{said}; {len(self._queued)} messages in its queue"

    def _manifest(self, run: Run) -> Manifest:
        """Everything but the queue, compared by its messages, and copies that a backup just makes."""
        copies = tuple(f"{path.at}/" for path in self._paths if path.at)
        found = manifest(run, [path.path for path in self._paths if path.path != QUEUE])
        return {path: entry for path, entry in found.items() if not f"{path}/".startswith(copies)}

    @property
    def _has_queue(self) -> bool:
        return any(path.path == QUEUE for path in self._paths)

    def restore(self) -> str:
        """Bring the newest snapshots back with the machine's own credentials, and put them to use."""
        client = self._client
        with Restore(self.double, client).staged() as staged:
            self.report.snapshots = staged.snapshots
            if own_way := [path for path in self._paths if path.restore]:
                tops = {path.path: f"{staged.folder}{path.copied}/" for path in own_way}
                files = [
                    e.path for e in manifest(client.run, list(tops.values())).values() if e.kind == "file"
                ]
                self._dumped = {
                    path: {known_as(file) for file in files if file.startswith(top)}
                    for path, top in tops.items()
                }
            client.place(staged.folder)
            if own_way:
                self._copied = client.compare(staged.folder, [path.path for path in own_way])
        made = ", ".join(f"{s.retention} of {stamp(s.time)}" for s in staged.snapshots)
        return made or "there is no snapshot"

    def compare(self) -> str:
        """Compare what was declared, path by path, with the original; differences are faults."""
        run = self._client.run
        after = self._manifest(run)
        self.report.compared = [self._compared(path, after) for path in self._paths]
        if self._has_queue:
            there = Mta.of(self.double, run).arrivals()
            (path,) = (path for path in self._paths if path.path == QUEUE)
            self.report.compared.append(compare_queue(self._queued, there, self._taken(path)))
        for each in self.report.compared:
            lines = [finding.line for finding in each.findings]
            self.report.faults += lines[:_NAMED]
            if len(lines) > _NAMED:
                self.report.faults.append(f"{each.path}: and {len(lines) - _NAMED} more")
        self.report.faults += self._outdated()
        counts = self.report.counts
        return (
            f"{counts['same']} the same ({amount(counts['octets'])}), {counts['different']} different, "
            f"{counts['changed_later']} changed later"
        )

    def _outdated(self) -> Iterator[str]:
        """What the newest snapshots lack: it came back from an older one."""
        newest = {s.retention: s.time for s in sorted(self.report.snapshots)}
        for snapshot in self.report.snapshots:
            if snapshot.time < newest[snapshot.retention]:
                came = f"it came back from that of {stamp(snapshot.time)}"
                yield from (f"{path}: not in the newest snapshot; {came}" for path in snapshot.paths)

    def _compared(self, path: BackupPath, after: Manifest) -> Compared:
        taken = self._taken(path)
        if path.restore and (path.path == QUEUE or not self._alike(path)):
            return compare_copy(path.path, self._copied)
        return compare(path.path, self._before, after, taken, dumped=bool(path.dump))

    def _alike(self, path: BackupPath) -> bool:
        """Whether a dump has the files that it is a dump of, and not a database's in words of its own."""
        names = {known_as(p) for p in self._before if p.startswith(f"{path.path}/")}
        dumped = self._dumped[path.path]
        return not dumped or bool(names & dumped)

    def _taken(self, path: BackupPath) -> float:
        for snapshot in self.report.snapshots:
            if snapshot.retention == path.retention:
                return snapshot.time.timestamp()
        raise BackupError(f"{path.path}: there is no snapshot of the class {path.retention}")

    def prove(self) -> str:
        """Have the machine's suite run on the spare."""
        found = self.suite()
        self.report.checks = found.passed
        self.report.faults += found.faults
        return f"{found.passed} checks passed, {len(found.faults)} did not"

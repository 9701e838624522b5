"""What `rebuild` does about the old machine: nobody is led to it, and the backup store refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mailwright.backup.copies import QUEUE
from mailwright.backup.programs import Keeper
from mailwright.backup.snapshots import RETENTIONS, BackupError, Snapshot, holds, span, stamp
from mailwright.command.alone import alone
from mailwright.command.console import note
from mailwright.command.growing import Growing
from mailwright.command.guide import read_text
from mailwright.command.hosts import converge
from mailwright.command.inventory import repository
from mailwright.command.leaving import traffic_of
from mailwright.command.plan import shim_of
from mailwright.growth.fleetfile import closed_machine
from mailwright.growth.publishing import leading_records, part_of
from mailwright.model.crossbackups import KEEPS
from mailwright.model.errors import ConvergeError, MailwrightError
from mailwright.model.secrets_store import locate
from mailwright.model.site import Site
from mailwright.publish import plan_site
from mailwright.rebuilding import credentials
from mailwright.rebuilding.stage import Place, Stage
from mailwright.rolling.terms import Terms
from mailwright.verify.ssh import runner

REBUILDING = "being rebuilt"
"""The reason that balancers keep with its drain."""


@dataclass(frozen=True)
class Lost:
    """A machine that is gone, and whose place another one takes."""

    growing: Growing

    def place(self, site: Site) -> Place:
        """What answers where it should be."""
        return Place(runner(self.growing.machine(site)))

    def stage(self, site: Site) -> Stage:
        """How far its rebuild has come."""
        return self.place(site).look()[0]

    def opened(self, site: Site) -> bool:
        """Whether it has what was backed up and has been opened: then nothing is left to shut out."""
        return not self.growing.machine(site).closed and self.stage(site) is Stage.PLACED

    def see(self) -> str:
        """See that nobody is at work in its place."""
        site = self.growing.site
        stage, why = self.place(site).look()
        if stage is Stage.AT_WORK:
            address = self.growing.machine(site).ssh_address
            raise MailwrightError(
                f"{self.growing.name} answers at {address} and is at work: turn it off, or install it anew. "
                "What is only broken is mended by `mailwright apply`; files come back by `mailwright backup "
                "restore`"
            )
        return f"it {stage}" + (f": {why}" if why else "")

    def backups(self, at: datetime | None) -> str:
        """Say what there is of it, and plainly what there is not."""
        site, name = self.growing.site, self.growing.name
        if self.stage(site) is Stage.PLACED:
            return "brought back before"
        if site.fleet.backup.kept_by == name:
            return "it kept the backups itself, its own too: what there is of it is known once it is deployed"
        made = Keeper.of(site.fleet).snapshots(name)
        chosen = newest(made, at)
        if not chosen:
            by_then = f" of {stamp(at)} or before" if at else ""
            raise BackupError(
                f"{name} has no snapshot{by_then}: `mailwright remove --lost` takes it out of the fleet, and "
                "`mailwright add` takes a new one in"
            )
        now = datetime.now(UTC)
        lines = [
            f"{each.retention}: {stamp(each.time)}, {span((now - each.time).total_seconds())} ago: "
            f"{', '.join(each.paths) or 'names and numbers of accounts'}"
            for each in chosen
        ]
        for path in site.plan(self.growing.machine(site)).merged.backups:
            if any(each.retention == path.retention and holds(each, path) for each in chosen):
                continue
            older = next(iter(newest([each for each in made if holds(each, path)], at)), None)
            when = f"it comes back from that of {stamp(older.time)}" if older else "in no older one either"
            lines.append(f"in none of these: {path.path} ({path.reason}): {when}")
            if older and path.path == QUEUE:
                self.growing.operator.agree(
                    f"The queue is older than the other backups, of {stamp(older.time)}: what has left since "
                    "then is sent again. Bring it back?"
                )
        lost = f"what {name} took or changed after these times is lost, unless its disk comes back"
        return "\n".join([*lines, lost])

    def drain(self) -> str:
        """Have no balancer wait for it, or send clients to one that comes back."""
        site, name = self.growing.site, self.growing.name
        balancers = site.fleet.balancers_of(name)
        if not balancers:
            return "no balancer is in front of it"
        if self.opened(site):
            return "it is being taken back"
        self.growing.operator.agree(f"Drain {name} at {', '.join(balancers)}?")
        # Nobody is served there: nothing is waited for, and that it may be the last one changes nothing.
        traffic_of(site.fleet).leave([name], Terms(REBUILDING, wait=0, cut=True, force=True))
        return f"drained at {', '.join(balancers)}"

    def close(self) -> str:
        """Write into the fleet file that it is closed, for whoever else deploys meanwhile."""
        site = self.growing.site
        if self.growing.machine(site).closed:
            return "it does"
        if self.opened(site):
            return "it was, and is being opened"
        before = read_text(self.growing.file)
        return self.growing.write(before, closed_machine(before, self.growing.name))

    def lead_nobody(self) -> str:
        """Publish the names that clients find it by without it."""
        site = self.growing.site
        if not self.growing.machine(site).closed:
            return "it is being taken back"
        return self.publish_leading(site) or "none does, or nobody else would serve: then mail waits for it"

    def publish_leading(self, site: Site) -> str:
        """Bring the records that lead clients to it to what the fleet file says; what was done."""
        name = self.growing.name
        opened = tuple(
            m.model_copy(update={"closed": False}) if m.name == name else m for m in site.fleet.machines
        )
        whole = replace(site, fleet=site.fleet.model_copy(update={"machines": opened}))
        leading = leading_records(whole, name)
        if not leading or not site.fleet.providers:
            return ""
        names = ", ".join(sorted({key[0].removesuffix(".") for key in leading}))
        plans = part_of(plan_site(site, say=note), lambda key: key in leading)
        return f"published: {names}" if self.growing.publish(site, plans) else f"as published: {names}"

    def fence(self) -> str:
        """Exchange its credentials at the backup store: whoever has the old ones has been replaced."""
        site, inventory = self.growing.site, self.growing.inventory
        if self.stage(site) in (Stage.BEGUN, Stage.PLACED):
            return "exchanged before"
        machine, keeper = self.growing.machine(site), site.fleet.backup.kept_by or ""
        makers = credentials.drawn(site, machine)
        self.growing.operator.agree(f"Exchange {', '.join(sorted(makers))}, and deploy that to {keeper}?")
        with alone(self.growing.file):
            credentials.exchange(locate(site.fleet, self.growing.file), makers)
            if keeper == machine.name:
                return "exchanged; the old ones are refused once it is deployed: it keeps the backups itself"
            failed = converge(repository(inventory), shim_of(inventory), [keeper], [KEEPS], note)
        if failed[keeper]:
            raise ConvergeError(f"{keeper}: {failed[keeper]}")
        elsewhere = [
            f"{each} is with who runs the store: exchange it there, and `mailwright secrets set` it"
            for each in credentials.left(site, machine)
        ]
        return "\n".join([f"{keeper} refuses the old ones; commit the secrets file", *elsewhere])


def newest(snapshots: Sequence[Snapshot], at: datetime | None) -> tuple[Snapshot, ...]:
    """The newest snapshot of each class, of those that were made at a time or before."""
    found = {each.retention: each for each in sorted(snapshots) if at is None or each.time <= at}
    return tuple(found[retention] for retention in RETENTIONS if retention in found)

"""`mailwright backup verify`: whether what lies on the store can be relied on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mailwright.backup.programs import Client, Keeper, Kept
from mailwright.backup.sight import Answer, asked, backed_up, sight
from mailwright.backup.snapshots import RETENTIONS, BackupError, Standing, span, stamp
from mailwright.command.console import AsJson, Limit, columns, note, problem, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.errors import UnknownError
from mailwright.model.fleet import Machine

_AT_ONCE = 16
_UNKNOWN = 3
"""Exit status where nothing is wrong, but somebody does not answer."""


def clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Verdict:
    """What is known of one machine's backups."""

    machine: str
    standings: tuple[Standing, ...]
    checked: datetime | None
    """When the keeper last read its repository and found it whole."""
    faults: tuple[str, ...]
    silence: str = ""
    """Why the machine itself was not asked."""

    @property
    def word(self) -> str:
        """The worst of it."""
        return "failed" if self.faults else "unknown" if self.silence else "ok"

    def data(self) -> Mapping[str, Any]:
        """For programs."""
        newest = {row.retention: row.newest.data() if row.newest else None for row in self.standings}
        return {
            "machine": self.machine,
            "verdict": self.word,
            "newest": newest,
            "checked": stamp(self.checked) if self.checked else None,
            "faults": list(self.faults),
            "unknown": self.silence or None,
        }


def verify(
    inventory: Inventory,
    *,
    limit: Limit = None,
    read: Annotated[
        bool,
        typer.Option("--read", help="Have the keeper read and check the repositories now: it takes a while."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """See that machines have fresh snapshots of all that they should, in repositories that are whole.

    The keeper is asked for the snapshots, what they hold, and how its last check of each repository ended;
    the machines are asked how their own last runs ended. Whether a restore works, `drill` tries.

        mailwright backup verify inventory/prod.yaml --read

    Exit status: 0 all is well, 1 something is not, 3 the keeper or a machine does not answer.
    """
    site = open_site(inventory)
    machines = backed_up(site, limit or ())
    keeper = Keeper.of(site.fleet)
    try:
        unread = _read(keeper, machines) if read else {}
        rows, silence = sight(site, machines, keeper, clock())
        kept = keeper.status()
    except UnknownError as error:
        silence = f"{keeper.machine.name}, which keeps the backups, does not answer: {error}"
    if silence:
        problem(silence)
        return _UNKNOWN
    own = asked(machines, lambda machine: Client.at(machine).status(), _AT_ONCE)
    verdicts = [_verdict(rows, kept, answer, unread.get(answer.machine, "")) for answer in own]
    if as_json:
        data = {"machines": [verdict.data() for verdict in verdicts], "store": list(kept.common)}
        say(json.dumps(data, indent=2))
    else:
        _show(verdicts, [(keeper.machine.name, line) for line in kept.common])
    words = {verdict.word for verdict in verdicts}
    if "failed" in words or kept.common:
        return 1
    return _UNKNOWN if "unknown" in words else 0


def _read(keeper: Keeper, machines: Sequence[Machine]) -> Mapping[str, str]:
    """Have repositories read; what the keeper said of those where that failed, by machine."""
    failed = {}
    for machine in machines:
        note(f"{keeper.machine.name}: reading the backups of {machine.name}")
        try:
            keeper.check(machine.name)
        except BackupError as error:
            failed[machine.name] = str(error)
    return failed


def _verdict(rows: Sequence[Standing], kept: Kept, own: Answer, unread: str) -> Verdict:
    """Put together what the keeper and the machine say. `unread`: why a check that was asked for failed."""
    mine = tuple(row for row in rows if row.machine == own.machine)
    faults = [f"{row.retention}: {fault}" for row in mine for fault in row.faults]
    # What a check finds the keeper remembers; not that there was none, as another run was at work.
    faults += kept.of(own.machine) or ([unread] if unread else [])
    checked = kept.checked.get(own.machine)
    if isinstance(own.problem, UnknownError):
        return Verdict(own.machine, mine, checked, tuple(faults), f"it does not answer: {own.problem}")
    faults += [str(own.problem)] if own.problem else _made(own.found)
    return Verdict(own.machine, mine, checked, tuple(faults))


def _made(status: Mapping[str, Any]) -> Iterable[str]:
    """What a machine has to say against its own last runs."""
    if held := status.get("held"):
        yield f"backups are on hold: {held}"
    for retention, run in status.items():
        if retention != "held" and not run["ok"]:
            yield f"{retention}: the last run failed: {run['error']}"


def _show(verdicts: Sequence[Verdict], common: Iterable[tuple[str, str]]) -> None:
    rows: list[Sequence[str]] = [("MACHINE", "VERDICT", "LONG", "SHORT", "CHECKED", "")]
    for verdict in verdicts:
        ages = {row.retention: span(row.age) for row in verdict.standings if row.age is not None}
        newest = (ages.get(retention, "-") for retention in RETENTIONS)
        checked = stamp(verdict.checked) if verdict.checked else "-"
        words = "; ".join(filter(None, (*verdict.faults, verdict.silence)))
        rows.append((verdict.machine, verdict.word, *newest, checked, words))
    rows += [(name, "failed", "", "", "", line) for name, line in common]
    columns(rows)

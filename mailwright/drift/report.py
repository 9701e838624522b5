"""The drift of a fleet, and what is new in it since the last report, which a file keeps."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailwright.drift.finding import Finding
from mailwright.drift.machine import MachineDrift
from mailwright.model.errors import MailwrightError

VERSION = 1
CLEAN, DRIFT, UNKNOWN = 0, 2, 3
"""Exit statuses."""

DNS = "DNS"
"""What stands where a machine's name stands, for the zones."""


@dataclass(frozen=True)
class Report:
    """What changed on machines and in zones since the last apply. `when` is UTC, ISO 8601."""

    fleet: str
    when: str
    parts: tuple[MachineDrift, ...]
    """The machines in the fleet file's order, then `DNS` if it was asked."""

    @property
    def status(self) -> int:
        """What CI goes by: drift before what is unknown."""
        states = {part.state for part in self.parts}
        return DRIFT if "drift" in states else UNKNOWN if "unknown" in states else CLEAN

    def as_json(self) -> str:
        """One object; docs/drift.md has its shape."""
        data = {"version": VERSION, "fleet": self.fleet, "when": self.when, "status": self.status}
        machines = [part.as_data() for part in self.parts if part.name != DNS]
        dns = [part.as_data() for part in self.parts if part.name == DNS]
        names = ("machine", "applied", "pending", "unfinished")
        zones = {key: value for key, value in dns[0].items() if key not in names} if dns else None
        return json.dumps(data | {"machines": machines, "dns": zones}, indent=2)


@dataclass(frozen=True)
class News:
    """What is new about a machine, or about the DNS, since the last report."""

    part: MachineDrift
    """With those of its findings that are new."""
    gone: tuple[Finding, ...] = ()
    """What was drift then, and is no more."""
    silent: bool = False
    """It answered then, and does not now."""
    back: bool = False
    """The other way round."""
    blind: bool = False
    """It could say all of itself then, or more, and cannot now."""

    def __bool__(self) -> bool:
        return bool(self.part.findings or self.gone or self.silent or self.back or self.blind)


def state_file(fleet: Path) -> Path:
    """Where the last report of a fleet is kept: below $XDG_STATE_HOME (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = hashlib.sha256(str(fleet.absolute()).encode()).hexdigest()[:16]
    return Path(home, "mailwright", f"drift-{fleet.stem}-{name}.json")


def recall(file: Path) -> dict[str, Any]:
    """The last report, by machine; nothing if there is none.

    Raises:
        MailwrightError: the file is something else.
    """
    try:
        data = json.loads(file.read_text())
        parts = data["parts"] if data["version"] == VERSION else {}
        for part in parts.values():
            list(map(Finding.of, part["findings"]))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MailwrightError(f"{file}: not a report of `mailwright drift`; remove it ({error})") from None
    return dict(parts)


def remember(file: Path, report: Report, before: Mapping[str, Any]) -> None:
    """Keep a report for the next time. Of what is unknown now, the last that was known stays.

    Raises:
        MailwrightError: the file cannot be written.
    """
    parts = dict(before)
    for part in report.parts:
        known = before.get(part.name, {}).get("findings", []) if part.unknown or part.blind else []
        now = [finding.as_data() for finding in part.findings]
        findings = [*now, *(data for data in known if data not in now)]
        parts[part.name] = {"unknown": bool(part.unknown), "blind": [*part.blind], "findings": findings}
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(json.dumps({"version": VERSION, "when": report.when, "parts": parts}, indent=2))
        fresh.chmod(0o600)
        fresh.replace(file)
    except OSError as error:
        raise MailwrightError(f"{file}: {error.strerror}") from None


def news(report: Report, before: Mapping[str, Any]) -> tuple[News, ...]:
    """What is not as the last report says; of machines that it does not know, all."""
    return tuple(filter(None, (_news(part, before.get(part.name, {})) for part in report.parts)))


def _news(part: MachineDrift, before: Mapping[str, Any]) -> News:
    was_unknown = bool(before.get("unknown"))
    if part.unknown:
        return News(replace(part, findings=()), silent=not was_unknown)
    old = {finding.key: finding for finding in map(Finding.of, before.get("findings", []))}
    new = {finding.key: finding for finding in part.findings}
    fresh = tuple(finding for key, finding in new.items() if key not in old)
    gone = tuple(finding for key, finding in old.items() if key not in new and not part.blind)
    blind = not {*part.blind} <= {*before.get("blind", ())}
    return News(replace(part, findings=fresh), gone, back=was_unknown, blind=blind)


def status_of(told: tuple[News, ...]) -> int:
    """The exit status of a report of changes only: `CLEAN` if there is nothing to tell."""
    if any(each.part.findings or each.gone or each.back for each in told):
        return DRIFT
    return UNKNOWN if told else CLEAN

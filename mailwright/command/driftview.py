"""How drift looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mailwright.command.console import say
from mailwright.drift.finding import Finding
from mailwright.drift.machine import MachineDrift
from mailwright.drift.report import DNS, News, Report

_STYLES = {"clean": "green", "drift": "bold red", "unknown": "yellow"}


def show_report(report: Report, inventory: Path) -> None:
    """Every machine with its last apply and what has changed since, then the DNS and the sum."""
    for part in report.parts:
        say(f"{part.name}  {_verdict(part)}", _STYLES[part.state])
        _show_record(part)
        _show(part.findings)
    states = [part.state for part in report.parts]
    sums = [f"{states.count(state)} {state}" for state in ("clean", "drift", "unknown") if state in states]
    say()
    say(", ".join(sums), "bold")
    drifted = [part for part in report.parts if part.state == "drift" and part.name != DNS]
    if any(finding.role for part in drifted for finding in part.findings):
        say(f"what names a role: mailwright apply {inventory} puts it right", "dim")
    if any(not finding.role and not finding.expected for part in drifted for finding in part.findings):
        say(f"the rest: undo it by hand, or declare it, or mailwright drift {inventory} --accept", "dim")


def show_news(report: Report, told: Iterable[News]) -> None:
    """What is new since the last report; not a word if there is nothing."""
    for each in told:
        part = each.part
        if each.silent:
            say(f"{part.name}  unknown now: {part.unknown}", _STYLES["unknown"])
            continue
        said = _verdict(part) if each.blind else _count(part.findings)
        say(f"{part.name}  {said}{' (it answers again)' if each.back else ''}", "bold")
        _show_record(part)
        _show(part.findings)
        for finding in each.gone:
            say(f"  no more: {finding.kind}  {finding.subject}", "green")
    if told:
        say(f"reported {report.when}", "dim")


def _verdict(part: MachineDrift) -> str:
    if part.unknown:
        return f"unknown: {part.unknown}"
    if part.findings:
        return _count(part.findings)
    return "nothing changed, as far as is known" if part.blind else "nothing changed"


def _count(findings: tuple[Finding, ...]) -> str:
    expected = sum(finding.expected for finding in findings)
    count = len(findings) - expected
    sums = [f"{count} change{'s' * (count != 1)}"] if count or not expected else []
    return ", ".join([*sums, *([f"{expected} by unattended-upgrades"] if expected else [])])


def _show_record(part: MachineDrift) -> None:
    if part.applied:
        say(f"  last applied {part.applied}", "dim")
    if part.unfinished:
        say("  a run has begun since and did not end well; what it changed is told below", "yellow")
    if part.blind:
        say(f"  it could not say all of: {', '.join(part.blind)}", "yellow")
    if part.pending:
        say("  the fleet file or its roles want something else by now: mailwright plan", "yellow")


def _show(findings: Iterable[Finding]) -> None:
    findings = list(findings)
    width = max((len(finding.kind) for finding in findings), default=0)
    for finding in findings:
        change = f"  {finding.change}" if finding.change else ""
        role = f"  ({finding.role})" if finding.role else ""
        style = "dim" if finding.expected else "yellow"
        say(f"  {finding.kind.ljust(width)}  {finding.subject}{change}{role}", style)
        for line in finding.text:
            say(f"    {line}", {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]))

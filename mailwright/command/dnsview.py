"""How DNS plans and verdicts look on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from maildns.judging.check import State, Verdict
from maildns.planning.guards import Refusal
from maildns.planning.order import gained, lost
from maildns.planning.ownership import is_marker_name, marked_key
from maildns.planning.plan import ZonePlan
from maildns.provider import Change
from maildns.records import RRset
from mailwright.dnsplan import MANY, Plans

WIDEST_VALUE = 64
STYLES = {"+": "green", "~": "yellow", "-": "red", "=": "cyan"}
WORDS = {"add": "to add", "change": "to change", "delete": "to delete", "take_over": "to take over"}
"""In the order of `STYLES`."""
HINDRANCES = {"conflicts": "in conflict", "refusals": "refused", "unread": "unread"}
STATE_STYLES = {State.OK: "green", State.FAULT: "bold red", State.UNKNOWN: "yellow"}


class Line(NamedTuple):
    """One line of a plan: what happens to one value."""

    sign: str
    name: str
    type: str
    value: str
    reason: str


def show_plans(plans: Plans) -> None:
    """Print every zone's plan, what has to be published by hand, what stands in the way, and the sum.

    Of very many zones, those with nothing to do are only counted.
    """
    console = _console()
    many = len(plans.zones) > MANY
    shown = [p for p in plans.zones if p.changes or p.blocked or not many]
    for plan in shown:
        _show_zone(console, plan, plans.providers[plan.zone])
    if many and len(shown) < len(plans.zones):
        console.print(Text(f"{len(plans.zones) - len(shown)} other zones: nothing to do", style="bold"))
    if plans.by_hand:
        console.print(Text("publish by hand: no provider of the fleet holds these zones", style="bold"))
        _show_lines(console, [line for each in plans.by_hand for line in _wanted(each)])
    for unread in plans.unread:
        console.print(Text(unread.zone, style="bold"))
        _show_problem(console, "cannot be read", unread.sentence)
    for refusal in plans.refusals:
        _show_problem(console, "refused", _way_out(refusal))
    console.print(Text(_sum(plans), style="bold"))


def counts(plans: Plans) -> dict[str, int]:
    """How much a plan would do, value by value, and how much is in its way."""
    lines = Counter(line.sign for plan in plans.zones for line in plan_lines(plan))
    return {
        "zones": len(plans.zones) + len(plans.unread),
        "add": lines["+"],
        "change": lines["~"],
        "delete": lines["-"],
        "take_over": lines["="],
        "conflicts": sum(len(plan.conflicts) for plan in plans.zones),
        "refusals": sum(len(plan.refusals) for plan in plans.zones) + len(plans.refusals),
        "unread": len(plans.unread),
    }


def _sum(plans: Plans) -> str:
    count = counts(plans)
    todo = ", ".join(f"{count[key]} {word}" for key, word in WORDS.items() if count[key])
    hindered = [f"{count[key]} {word}" for key, word in HINDRANCES.items() if count[key]]
    blocked = f"; nothing will be done: {', '.join(hindered)}" if hindered else ""
    return f"{count['zones']} zone{'s' * (count['zones'] != 1)}: {todo or 'nothing to do'}{blocked}"


def show_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print one line a verdict, grouped by name; at the end again what needs somebody, and the sum."""
    console = _console()
    width = max((len(verdict.what) for verdict in verdicts), default=0)
    for subject in dict.fromkeys(verdict.subject for verdict in verdicts):
        console.print(Text(subject, style="bold"))
        for v in (v for v in verdicts if v.subject == subject):
            mark = (f"  {v.state.value:8}", STATE_STYLES[v.state])
            console.print(Text.assemble(mark, f"{v.what.ljust(width)}  ", (v.sentence, "dim")))
    for state in (State.FAULT, State.UNKNOWN):
        for v in (v for v in verdicts if v.state is state):
            _show_verdict(console, v)
    sums = (f"{sum(v.state is state for v in verdicts)} {state.value}" for state in State)
    console.print(Text(", ".join(sums), style="bold"))


def show_changes(verdicts: Iterable[Verdict], when: datetime) -> None:
    """Print verdicts that are not what they were."""
    console = _console()
    console.print(Text(when.isoformat(sep=" ", timespec="seconds"), style="bold"))
    for verdict in verdicts:
        _show_verdict(console, verdict)


def _show_verdict(console: Console, verdict: Verdict) -> None:
    mark = (f"{verdict.state.value:8}", STATE_STYLES[verdict.state])
    remedy = f"; to do: {verdict.remedy}" if verdict.remedy else ""
    console.print(Text.assemble(mark, f"{verdict.subject} {verdict.what}: {verdict.sentence}{remedy}"))


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _show_zone(console: Console, plan: ZonePlan, provider: str) -> None:
    lines = list(plan_lines(plan))
    count = {sign: sum(line.sign == sign for line in lines) for sign in STYLES}
    summary = ", ".join(f"{count[s]} {w}" for s, w in zip(STYLES, WORDS.values(), strict=True) if count[s])
    console.print(Text.assemble((plan.zone, "bold"), f"  {provider}: {summary or 'nothing to do'}"))
    _show_lines(console, lines)
    for conflict in plan.conflicts:
        name, type_ = conflict.key
        way_out = f"; to take it over: --adopt {name}/{type_}" if conflict.adoptable else ""
        _show_problem(console, "conflict", f"{name} {type_} {conflict.sentence}{way_out}")
    for refusal in plan.refusals:
        _show_problem(console, "refused", _way_out(refusal))


def plan_lines(plan: ZonePlan) -> Iterator[Line]:
    """A zone's changes value by value. Markers show only where nothing else happens to the record."""
    records = {c.key for c in plan.changes if not is_marker_name(c.key[0], plan.zone)}
    for change in plan.changes:
        if change.key in records:
            yield from _change_lines(change)
            continue
        marker = change.new or change.old
        marked = marked_key(marker) if marker else None
        if marked and marked not in records:
            what = "already right" if change.new else "already gone"
            yield Line("=", *marked, "", f"{what}; {change.reason}")


def _change_lines(change: Change) -> Iterator[Line]:
    why = dict(change.new.explained()) if change.new else {}
    out, into = sorted(lost(change)), sorted(gained(change))
    if not out and not into and change.new:
        yield Line("~", *change.key, ", ".join(map(_short, sorted(change.new.rdata))), change.reason)
    elif len(out) == 1 and len(into) == 1:
        value = f"{_short(out[0])} -> {_short(into[0])}"
        yield Line("~", *change.key, value, why.get(into[0]) or change.reason)
    else:
        for value in into:
            yield Line("+", *change.key, _short(value), why.get(value) or change.reason)
        for value in out:
            reason = "replaced" if change.new and into else change.reason
            yield Line("-", *change.key, _short(value), reason)


def _wanted(each: RRset) -> Iterator[Line]:
    for value, reason in each.explained():
        yield Line("+", each.name, each.type, value, reason)


def _show_lines(console: Console, lines: Iterable[Line]) -> None:
    lines = list(lines)
    widths = [max((len(line[i]) for line in lines), default=0) for i in (1, 2, 3)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line[1:4], widths, strict=True))
        text = Text.assemble((f"  {line.sign} {'  '.join(cells)}", STYLES[line.sign]))
        text.append(f"  # {line.reason}" if line.reason else "", style="dim")
        console.print(text)


def _way_out(refusal: Refusal) -> str:
    return f"{refusal.sentence}; if that is meant: --allow {refusal.flag}"


def _show_problem(console: Console, word: str, sentence: str) -> None:
    console.print(Text.assemble((f"  ! {word}: ", "bold red"), sentence))


def _short(value: str) -> str:
    """Fit for a line: keys are long and their ends differ; octets that no terminal shows are escaped."""
    plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in plain)
    return shown if len(shown) <= WIDEST_VALUE else f"{shown[: WIDEST_VALUE - 17]}...{shown[-14:]}"

"""Which snapshots go. Pure.

What counts is when the store got a snapshot, and not when the machine says it was made: who has taken a
machine over could otherwise date snapshots so that the good ones count as superseded
(https://restic.readthedocs.io/en/stable/060_forget.html#security-considerations-in-append-only-mode).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from mailwright_backup_keeper.memory import Snapshot
from mailwright_backup_keeper.wanted import Rules


def gone(snapshots: Mapping[str, Snapshot], rules: Mapping[str, Rules], now: float) -> set[str]:
    """The names of those that no rule of their class keeps. The newest of each class always stays."""
    return {
        name
        for kind, own in rules.items()
        for name in _gone({n: s.seen for n, s in snapshots.items() if s.kind == kind}, own, now)
    }


def _gone(seen: Mapping[str, float], rules: Rules, now: float) -> set[str]:
    newest_first = sorted(seen, key=lambda name: (seen[name], name), reverse=True)
    kept = set(newest_first[:1])
    kept |= {name for name in newest_first if seen[name] >= now - rules.within} if rules.within else set()
    for count, period in ((rules.daily, _day), (rules.weekly, _week), (rules.monthly, _month)):
        kept |= set(_last_of_each(((name, period(seen[name])) for name in newest_first), count))
    return set(seen) - kept


def _last_of_each(named: Iterable[tuple[str, str]], count: int) -> Iterable[str]:
    """Of the last `count` periods that have one, the newest of each."""
    periods: dict[str, str] = {}
    for name, period in named:
        periods.setdefault(period, name)
    return tuple(periods.values())[:count]


def _stamp(form: str) -> Callable[[float], str]:
    return lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime(form)


_day, _week, _month = _stamp("%Y-%m-%d"), _stamp("%G-W%V"), _stamp("%Y-%m")
